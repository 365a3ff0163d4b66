"""Doubly linked lists whose links lie in their elements: O(1) to join at either end and to leave from anywhere.

    links_t: first ---> link_t <---> link_t <---> link_t <--- last

An element has a link_t for each list that it may be on. Where the link is its first member a pointer to the one is a
pointer to the other. Nothing is allocated or freed here. A list of zeros is empty; the link of what is on no list says
nothing, so who must know whether an element is on one remembers that besides.
"""

cdef struct link_t:
    link_t* prev
    link_t* next

cdef struct links_t:
    link_t* first
    link_t* last

cdef inline void link_append(links_t* list, link_t* link) noexcept nogil:
    link.prev = list.last
    link.next = NULL
    if list.last != NULL:
        list.last.next = link
    else:
        list.first = link
    list.last = link

cdef inline void link_prepend(links_t* list, link_t* link) noexcept nogil:
    link.prev = NULL
    link.next = list.first
    if list.first != NULL:
        list.first.prev = link
    else:
        list.last = link
    list.first = link

cdef inline void link_remove(links_t* list, link_t* link) noexcept nogil:
    if link.prev != NULL:
        link.prev.next = link.next
    else:
        list.first = link.next
    if link.next != NULL:
        link.next.prev = link.prev
    else:
        list.last = link.prev

cdef inline bint links_are_right(const links_t* list) noexcept nogil:
    """Whether both directions agree, O(n)."""
    cdef const link_t* link = list.first
    cdef const link_t* before = NULL
    while link != NULL:
        if link.prev != before:
            return False
        before = link
        link = link.next
    return list.last == before

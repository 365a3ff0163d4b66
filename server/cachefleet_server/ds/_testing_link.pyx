"""Links of numbered elements for tests."""

cimport cython

from cachefleet_server.ds.link cimport link_append, link_prepend, link_remove, link_t, links_are_right, links_t

ELEMENTS = 6

cdef struct element_t:
    link_t link
    int number


@cython.final
cdef class Links:
    """See _testing_link.pyi."""

    cdef links_t links
    cdef element_t elements[6]

    def __cinit__(self):
        cdef int i
        for i in range(ELEMENTS):
            self.elements[i].number = i

    def append(self, int number):
        link_append(&self.links, &self.elements[number].link)

    def prepend(self, int number):
        link_prepend(&self.links, &self.elements[number].link)

    def remove(self, int number):
        link_remove(&self.links, &self.elements[number].link)

    def __iter__(self):
        cdef element_t* e = <element_t*>self.links.first
        numbers = []
        while e != NULL:
            numbers.append(e.number)
            e = <element_t*>e.link.next
        return iter(numbers)

    def tear(self, int number):
        """Makes the way back from this element a wrong one."""
        self.elements[number].link.prev = &self.elements[number].link

    @property
    def are_right(self):
        return links_are_right(&self.links)

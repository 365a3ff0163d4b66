"""An ordered index of records by 128-bit ids, shared by copy-on-write: a stream's blocks, what its groups have pending,
and what each consumer has of that.

    idtree_t: top | count                 inner: id, child | id, child | ...       up to 64 a node, in order
                                          leaf:  id, rest  | id, rest  | ...

A record is its id and `size` - 16 bytes of the user's, in the leaf itself: neither the user nor the tree allocates a
record. In an inner node an id is a lower bound of all that is below its child (the first one's does not count, since
whatever is less goes there, too), and greater than all below the child before. With `owns` the records of leaves are
an id and a pointer to something that counts its owners (ds/owners.pxd): the tree is one of them.

Why no other tree serves: ds/btree has pointers to elements that are changed in place, so it could not be frozen in
O(1), and an allocation an element would cost as much again; ds/seq_tree finds by number alone.

Sharing. The struct lies in its user's. `idt_share` makes it a second tree with the same nodes, in O(1). Each node
counts its owners, and whoever changes one that has several changes a copy; at most a node a level, once each. An owner
may let go on any thread with that thread's heap.

A node that is full and gets a new last record is left full, so ids that only grow make full nodes; else it is split in
halves. One with a quarter or less is joined with a neighbour if both fit half a node; an empty one goes.

Cost: all O(log n), a neighbour O(1). Memory in order of ids: size + 1 a record.
"""

from libc.stdint cimport uint8_t, uint16_t, uint64_t

from cachefleet_server.ds.intrin cimport cf_ref_add
from cachefleet_server.ds.zmalloc cimport heap_t

cdef enum:
    IDT_FANOUT = 64
    IDT_HEIGHT_MAX = 20

cdef struct sid_t:  # an id: of a stream's entry
    uint64_t ms
    uint64_t seq

cdef struct idt_node_t:
    size_t refs  # owners
    uint16_t n
    uint16_t cap
    uint16_t size  # of a record
    uint8_t level
    uint8_t owns  # a record is an id and a pointer whose target counts its owners
    char data[0]

cdef struct idtree_t:
    idt_node_t* top  # NULL: empty
    size_t count
    uint16_t size
    uint8_t owns

cdef struct idt_path_t:  # to a record; good until the tree changes
    int height
    int at[IDT_HEIGHT_MAX]  # from the top down
    idt_node_t* node[IDT_HEIGHT_MAX]

cdef inline int sid_compare(const sid_t* a, const sid_t* b) noexcept nogil:
    if a.ms != b.ms:
        return -1 if a.ms < b.ms else 1
    return (a.seq > b.seq) - (a.seq < b.seq)

cdef inline bint sid_less(const sid_t* a, const sid_t* b) noexcept nogil:
    return a.ms < b.ms or (a.ms == b.ms and a.seq < b.seq)

cdef inline void idt_init(idtree_t* t, size_t size, bint owns) noexcept nogil:
    t.top = NULL
    t.count = 0
    t.size = size
    t.owns = owns

cdef inline void idt_share(const idtree_t* t, idtree_t* out) noexcept nogil:
    """`out` becomes another tree of the same records."""
    out[0] = t[0]
    if t.top != NULL:
        cf_ref_add(&t.top.refs)

cdef void idt_release(heap_t* h, idtree_t* t) noexcept nogil  # gives all up; the tree is empty then

# Records are borrowed until the tree changes.
cdef void* idt_find(const idtree_t* t, const sid_t* id) noexcept nogil  # to read; NULL: there is none
cdef void* idt_put(heap_t* h, idtree_t* t, const sid_t* id, bint* is_new) noexcept nogil
    # To write: the record with this id, made if there was none; then all but the id is the caller's to set.
cdef void* idt_last_own(heap_t* h, idtree_t* t) noexcept nogil  # to write: the last one. NULL: there is none
cdef bint idt_remove(heap_t* h, idtree_t* t, const sid_t* id) noexcept nogil
    # False: there was none. What it owned is released.

# Walking, to read. False: there is no such record, and the path is of no use.
cdef bint idt_seek(const idtree_t* t, const sid_t* id, idt_path_t* path) noexcept nogil  # the first one from id on
cdef bint idt_seek_back(const idtree_t* t, const sid_t* id, idt_path_t* path) noexcept nogil  # the last one up to id
cdef bint idt_edge(const idtree_t* t, bint back, idt_path_t* path) noexcept nogil  # the first or last
cdef bint idt_step(idt_path_t* path, bint back) noexcept nogil  # the next or previous; else the path stays

cdef inline sid_t* idt_record(const idt_node_t* node, size_t i) noexcept nogil:
    return <sid_t*>(&node.data[0] + i * node.size)

cdef inline void** idt_link(const idt_node_t* node, size_t i) noexcept nogil:
    """Of a record that is an id and a pointer."""
    return <void**>(<char*>idt_record(node, i) + sizeof(sid_t))

cdef inline sid_t* idt_at(const idt_path_t* path) noexcept nogil:
    return idt_record(path.node[path.height - 1], path.at[path.height - 1])

cdef inline size_t idt_memory(const idtree_t* t) noexcept nogil:
    """About how many bytes the nodes have, O(1)."""
    return t.count * (t.size + 1) + (sizeof(idt_node_t) if t.count else 0)

cdef int idt_check(const idtree_t* t) noexcept nogil
    # 0, or the first that is not so. 1: owners, capacity, size; 2: levels; 3: no empty node; 4: order; 5: bounds;
    # 6: the count; 7: no top with one child.

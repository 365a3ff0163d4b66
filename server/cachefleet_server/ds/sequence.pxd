"""A long list: blocks of elements in a counted tree, changed in place, shared by copy-on-write.

    seq_t --- head block     first elements; LPUSH and LPOP touch this alone
          |-- top            tree of all blocks between (seq_tree.pxd): 64 a node
          |-- tail block     last elements

A block holds up to 8 KB of entries (listblock.pxd); a larger element is a block alone. An end's block that is full
moves into the tree, one that is empty is replaced from there. With one block there is no tail, with two no tree: a
list that has just outgrown a listpack is one block and 88 bytes. A push or pop counts in the header alone.

Owners. The header is the payload; its first word counts owners. `seq_share` is O(1): a snapshot, a COPY, a reply that
is sent over time. Who wants to write asks `seq_own` first; with several owners it makes a header of its own, which
owns the same blocks and top. From then on each write copies what it changes and others own: at most a node a level and
a block, once each; measured 1.8 us. What only one owns is changed in place. An owner may let go on any thread with
that thread's heap (seq_release; seq_drain in steps); counts are atomic. Readers change nothing: any thread may read
what it owns.

Elements are bytes; those that are an integer are stored, and read, as one (listpack.pxd), so an element equals
another if they would print alike.

Limits (list-max-listpack-size): -1 ... -5 = 4, 8, 16, 32, 64 KB a block with a listpack's head; n >= 0: n elements (0
counts as 1) and 8 KB. They are fixed when the list is made. An insertion into a full block goes to its neighbour's
end or splits it; neighbours that a removal has left with a quarter of the limit together are joined.

Compression (list-compress-depth): with depth d > 0 all blocks but the d at either end are compressed, as far as it
saves anything. Readers uncompress into a block of their own; writers compress again what they have changed.

Cost: ends amortised O(1), anything elsewhere O(log n) and one block, a range its blocks. seq_len, seq_bytes and
seq_memory are O(1), for the caller's decision between listpack and this. With 1e6 elements of 10 bytes
(tests/perf/bench_sequence.py), ns: push 24, pop 12, LINDEX 700, LRANGE of 100 1000, insert 950, remove 650, LSET 750;
12.1 bytes an element. collections.md: Valkey's LPUSH 1800, RPOP 1000, LRANGE of 100 8000 as whole commands, 12.1 bytes.
"""

from cachefleet_server.ds.intrin cimport cf_fetch, cf_prefetch, cf_ref_add
from cachefleet_server.ds.listblock cimport lb_begin, lblock_t
from cachefleet_server.ds.listpack cimport lp_item_t
from cachefleet_server.ds.seq_tree cimport seq_t
from cachefleet_server.ds.zmalloc cimport heap_t

cdef seq_t* seq_new(heap_t* h, int fill, int depth) noexcept nogil
cdef seq_t* seq_own(heap_t* h, seq_t* s) noexcept nogil  # the one to write to, instead of s
cdef void seq_release(heap_t* h, seq_t* s) noexcept nogil  # one owner less; the last one frees
cdef bint seq_drain(heap_t* h, seq_t* s, size_t budget) noexcept nogil
    # As seq_release, for a last owner: at most `budget` blocks and nodes; false: call again.

# Writing: to an only owner's.
cdef void seq_push(heap_t* h, seq_t* s, bint front, const char* p, size_t n) noexcept nogil
cdef void seq_insert(heap_t* h, seq_t* s, size_t i, bint after, const char* p, size_t n) noexcept nogil
# Before element i <= len; `after` says that it belongs to the one in front of it, where there is a choice of blocks.
cdef void seq_set(heap_t* h, seq_t* s, size_t i, const char* p, size_t n) noexcept nogil
cdef void seq_remove(heap_t* h, seq_t* s, size_t a, size_t b) noexcept nogil  # elements [a, b)
cdef void seq_pop(heap_t* h, seq_t* s, bint front) noexcept nogil  # one, that seq_peek has shown
cdef bint seq_append_listpack(heap_t* h, seq_t* s, const char* p, size_t n) noexcept nogil
    # The elements of untrusted bytes; false, and nothing is done, if they are no listpack; an empty one is one.
    # A "plain" node of a file is an element like any other: seq_push.

cdef void seq_peek(const seq_t* s, bint front, lp_item_t* e) noexcept nogil
    # The element at an end; its bytes are borrowed until the list changes.

cdef size_t seq_memory(const seq_t* s) noexcept nogil  # of all that it owns, alone or not; without unused room

cdef inline bint seq_prefetch(const seq_t* s, int step) noexcept nogil:
    """Brings in, step by step, what a push or pop at either end and a search touch first; false: that was all. The list
    is not empty."""
    cdef const lblock_t* last
    if step == 0:
        cf_fetch(s)
        cf_prefetch(<const char*>s + 64)
    elif step == 1:
        cf_prefetch(s.head)
        cf_prefetch(s.tail if s.tail != NULL else s.head)
        if s.top != NULL:
            cf_prefetch(s.top)
    else:
        last = s.tail if s.tail != NULL else s.head
        cf_prefetch(lb_begin(s.head))
        cf_prefetch(lb_begin(last) + last.bytes)
    return step < 2

cdef inline size_t seq_len(const seq_t* s) noexcept nogil:
    return s.len

cdef inline size_t seq_blocks(const seq_t* s) noexcept nogil:
    """Quicklist nodes; and the effort of freeing."""
    return s.blocks + (s.head != NULL) + (s.tail != NULL)

cdef inline size_t seq_bytes(const seq_t* s) noexcept nogil:
    """Of a listpack's entries, had they all been packed (but for the codes of plain elements)."""
    return s.bytes

cdef inline seq_t* seq_share(seq_t* s) noexcept nogil:
    """One more owner."""
    cf_ref_add(&s.refs)
    return s

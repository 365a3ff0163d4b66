"""Reading a sequence in either direction from any element on. It changes nothing: any thread may read what it owns."""

from cachefleet_server.ds.listblock cimport lblock_t
from cachefleet_server.ds.listpack cimport lp_item_t
from cachefleet_server.ds.seq_tree cimport seq_path_t, seq_t
from cachefleet_server.ds.zmalloc cimport heap_t

cdef enum:
    SEQ_AT_HEAD = 0
    SEQ_AT_TREE = 1
    SEQ_AT_TAIL = 2
    SEQ_AT_END = 3

cdef struct seq_iter_t:
    const seq_t* s  # must not change while the iterator is in use; another owner's copy may
    heap_t* heap  # of the thread that reads
    const lblock_t* block  # uncompressed; NULL at the end
    lblock_t* own  # what `block` is if it had to be uncompressed
    const char* at  # begin of the next entry, or end if backwards
    size_t left  # elements in this block
    int where  # SEQ_AT_*
    bint back
    seq_path_t path

cdef void seq_seek(seq_iter_t* it, heap_t* h, const seq_t* s, size_t i, bint back) noexcept nogil
    # Begins before element i, or at the end if there is none: the first seq_next is i. An iterator ends with seq_done.
cdef bint seq_next(seq_iter_t* it, lp_item_t* e) noexcept nogil
    # False at the end. The element is borrowed until the next call.
cdef bint seq_find(seq_iter_t* it, const lp_item_t* wanted, size_t most, size_t* passed) noexcept nogil
    # Goes behind the next element that equals it, looking at `most` at most; `passed` is how many it went over before
    # that one. False: there is none among them; the iterator is behind them.
cdef void seq_done(seq_iter_t* it) noexcept nogil

# Saving: the blocks from the first to the last, each uncompressed (lb_save, or its bytes if it is LB_PLAIN). An
# iterator that began with seq_seek(.., 0, False).
cdef const lblock_t* seq_block(seq_iter_t* it) noexcept nogil  # NULL at the end
cdef void seq_block_next(seq_iter_t* it) noexcept nogil

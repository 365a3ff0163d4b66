"""Arguments of stream commands that are read alike: ids, ends of ranges, and rules for trimming."""

from libc.stdint cimport int64_t, uint64_t

from cachefleet_server.core.engine cimport arg_t, client_t
from cachefleet_server.ds.idtree cimport sid_t
from cachefleet_server.ds.stream cimport stream_t, stream_trim_t

cdef bint chars_to_id(
    const char* p, size_t n, uint64_t missing_seq, bint strict, sid_t* id, bint* auto_seq) noexcept nogil
    # <ms>[-<seq>], and if not strict "-" and "+" for the least and the greatest. With auto_seq not NULL also <ms>-*,
    # where it becomes true. Numbers are what Valkey takes for such, C's strtoull included.
cdef bint arg_id(client_t* c, const arg_t* a, uint64_t missing_seq, bint strict, sid_t* id) noexcept nogil
    # False after replying that it is none.
cdef bint arg_start(client_t* c, const arg_t* a, sid_t* id) noexcept nogil
    # The beginning of a range: "(id" is the one behind it.
cdef bint arg_range(client_t* c, const arg_t* start, const arg_t* end, sid_t* from_, sid_t* to) noexcept nogil
    # The ends of a range, either of which may be exclusive: "(id".

cdef enum:
    IDMP_DIGEST = 16

cdef struct idmp_words_t:  # t_stream_idmp.pxd
    const arg_t* producer  # NULL: not given
    arg_t iid  # IDMPAUTO: text
    bint auto
    char text[IDMP_DIGEST]

cdef struct add_words_t:  # what stands in front of an entry's fields, or behind XTRIM's key
    stream_trim_t trim
    int threshold_at  # of the trim's threshold among the arguments
    bint no_create
    int policy  # REFS_*: what groups have pending (t_stream_refs.pxd)
    idmp_words_t idmp
    bint has_id
    bint auto_seq  # of an id that is given
    sid_t id
    int id_at

cdef bint add_words(client_t* c, bint xadd, add_words_t* out) noexcept nogil  # false after replying what is wrong

cdef void journal_added(client_t* c, const add_words_t* words, const stream_t* s, const sid_t* id) noexcept nogil
    # In the journal the id is told (NULL: there is none), and a trim that was not exact as what it left.

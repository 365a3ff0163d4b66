"""A stream: entries with rising ids, and groups of consumers that read them.

    stream_t: length, last, first, max_deleted, added | blocks: tree (idtree.pxd) of id, sblock_t* | groups, by name

Blocks are Valkey's listpacks (stream_block.pxd), under the id of their first entry when they were made, and are filled
to the same limits, so a trim by whole blocks removes the same entries, and files take their bytes as they are. Groups
are in stream_group.pxd, producers in stream_idmp.pxd.

Owners. The header is the payload; its first word counts owners. `stream_share` is O(1): a snapshot, a COPY. Who wants
to write asks `stream_own` first; with several owners it makes a header of its own for the same blocks and groups. From
then on each write copies what it changes and others own: a node a level and a block, or a group, once each.
An owner may let go on any thread with that thread's heap. Readers change nothing.

Deleted entries stay in their blocks, flagged, until a block has none that is not; then it goes. `first` is the first
entry's id (0-0 without entries), `last` the highest there was, `max_deleted` the highest that XDEL removed, `added` how
many there ever were: as Valkey keeps them, since XINFO shows them and a group's lag is reckoned from them.

Cost: append O(log blocks); find one O(log blocks) and a walk through its block; a range its entries.
An entry of a field and 10 bytes takes 21.5 bytes.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from cachefleet_server.ds.idtree cimport idt_path_t, idtree_t, sid_t
from cachefleet_server.ds.intrin cimport cf_ref_add
from cachefleet_server.ds.listpack cimport lp_item_t
from cachefleet_server.ds.number cimport uint64_to_chars
from cachefleet_server.ds.stream_block cimport sblock_t, sentry_t, shead_t
from cachefleet_server.ds.stream_group cimport sgroup_t
from cachefleet_server.ds.stream_idmp cimport sidmp_t
from cachefleet_server.ds.zmalloc cimport heap_t

cdef enum:
    STREAM_BYTES_MAX = 1 << 30  # of an entry's words; of a block
    STREAM_ID_CHARS = 44  # two uint64 and a dash, and one to spare

    TRIM_NONE = 0
    TRIM_MAXLEN = 1
    TRIM_MINID = 2

cdef struct stream_t:
    size_t refs  # owners
    uint64_t length
    sid_t last
    sid_t first
    sid_t max_deleted
    uint64_t added
    idtree_t blocks
    size_t bytes  # of all listpacks
    sgroup_t** groups  # by name
    uint32_t group_count
    uint32_t group_room
    sidmp_t* idmp  # what producers sent lately (stream_idmp.pxd); NULL: nobody asked for that

cdef struct stream_limits_t:  # of a block; 0: none
    size_t bytes
    int64_t entries

cdef struct stream_trim_t:
    int kind  # TRIM_*
    bint approximate  # whole blocks alone
    int64_t length  # TRIM_MAXLEN
    sid_t id  # TRIM_MINID
    int64_t limit  # entries to remove, at most; 0: any number

cdef stream_t* stream_new(heap_t* h) noexcept nogil
cdef stream_t* stream_own(heap_t* h, stream_t* s) noexcept nogil  # the one to write to, instead of s
cdef void stream_release(heap_t* h, stream_t* s) noexcept nogil  # one owner less; the last one frees

cdef inline stream_t* stream_share(stream_t* s) noexcept nogil:
    """One more owner."""
    cf_ref_add(&s.refs)
    return s

# Writing: to an only owner's.
cdef void stream_append(
    heap_t* h, stream_t* s, const sid_t* id, const char* args, size_t stride, size_t fields,
    const stream_limits_t* limits) noexcept nogil
    # An entry of an id above `last` with the words field, value, field, value ...: each a span_t, `stride` bytes apart,
    # less than STREAM_BYTES_MAX of them.
cdef bint stream_delete(heap_t* h, stream_t* s, const sid_t* id) noexcept nogil
    # False: there is none. `first` and `max_deleted` follow.
cdef int64_t stream_trim(heap_t* h, stream_t* s, const stream_trim_t* rule) noexcept nogil  # how many were removed
cdef void stream_set_last(heap_t* h, stream_t* s, const sid_t* id) noexcept nogil
    # The last id is this one, not below that of an entry. Deleted entries behind it leave their blocks, so that the ids
    # of those that come do not fall.
cdef bint stream_add_block(heap_t* h, stream_t* s, const sid_t* master, const char* p, size_t n) noexcept nogil
    # Untrusted bytes of a block behind those that are there; false: they are none. `length` counts them; all else is
    # the caller's.

# Reading.
cdef struct stream_iter_t:
    idt_path_t path
    sid_t start
    sid_t end
    bint back
    sblock_t* block  # of the entry; NULL: at the end
    sid_t master
    shead_t head
    const char* at  # forward: where the next entry is; backward: where the one before ends
    sentry_t entry
    const char* name
    const char* value
    size_t left  # fields of the entry that were not read

cdef bint stream_seek(
    stream_iter_t* it, const stream_t* s, const sid_t* start, const sid_t* end, bint back) noexcept nogil
    # Entries from start to end, both included; backwards from the end. False: there is no block with any.
cdef bint stream_next(stream_iter_t* it) noexcept nogil  # it.entry: the next that is not deleted; false at the end
cdef void stream_field(stream_iter_t* it, lp_item_t* name, lp_item_t* value) noexcept nogil
    # Of it.entry, as often as it has fields.
cdef bint stream_has(const stream_t* s, const sid_t* id) noexcept nogil
cdef bint stream_edge(const stream_t* s, bint back, sid_t* out) noexcept nogil
    # Id of the first or last entry that is not deleted; false, and 0-0: there is none.

cdef int64_t stream_read_count(const stream_t* s, const sid_t* id) noexcept nogil
    # How many entries there ever were up to this id, if that can be told; else GROUP_READ_UNKNOWN.
cdef bint stream_has_gap(const stream_t* s, const sid_t* from_) noexcept nogil
    # Was one deleted from this id on, as far as is known? Then who has read to it cannot count on as entries come.

cdef bint stream_lag(const stream_t* s, const sgroup_t* g, int64_t* lag) noexcept nogil
    # How many entries are behind what the group has read; false: that cannot be told.

# Groups.
cdef int64_t stream_group_find(const stream_t* s, const char* name, size_t n, uint32_t* place) noexcept nogil
    # Its place, or -1; and where it would be.
cdef sgroup_t* stream_group_own(heap_t* h, stream_t* s, uint32_t place) noexcept nogil  # to write
cdef void stream_group_add(heap_t* h, stream_t* s, uint32_t place, sgroup_t* g) noexcept nogil  # which is taken over
cdef void stream_group_remove(heap_t* h, stream_t* s, uint32_t place) noexcept nogil
cdef bint stream_is_needed(const stream_t* s, const sid_t* id) noexcept nogil
    # Has a group an entry pending, or is still to have it?
cdef bint stream_acknowledge(heap_t* h, stream_t* s, uint32_t place, const sid_t* id) noexcept nogil
    # In one group; false: it is not pending there, and nothing was copied.

cdef size_t stream_effort(const stream_t* s) noexcept nogil  # about how many allocations it has
cdef size_t stream_memory(const stream_t* s) noexcept nogil
cdef int stream_check(const stream_t* s) noexcept nogil
    # 0, or the first that is not so. 1: owners; 2: the tree of blocks; 3: a block; 4: ids rise from block to block;
    # 5: length; 6: bytes; 7: first; 8: last is the highest; 9: order of groups; 10 + n: group_check; 30 + n:
    # idmp_check

cdef inline bint sid_next(sid_t* id) noexcept nogil:
    """The id behind it; false, and the id stays: there is none."""
    if id.seq == <uint64_t>-1:
        if id.ms == <uint64_t>-1:
            return False
        id.ms += 1
        id.seq = 0
    else:
        id.seq += 1
    return True

cdef inline bint sid_previous(sid_t* id) noexcept nogil:
    if id.seq == 0:
        if id.ms == 0:
            return False
        id.ms -= 1
        id.seq = <uint64_t>-1
    else:
        id.seq -= 1
    return True

cdef inline size_t sid_to_chars(const sid_t* id, char between, char* out) noexcept nogil:
    """At most STREAM_ID_CHARS."""
    cdef size_t n = uint64_to_chars(out, id.ms)
    out[n] = between
    return n + 1 + uint64_to_chars(out + n + 1, id.seq)

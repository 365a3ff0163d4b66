"""What a snapshot puts into its stream: chains of the tables of keys, and large values after them.

A chain is delivered whole, in a step or inside the write that is about to change it (ds/hashtable.pxd), and serialised
at once: small values and strings, which lend what is long. A large collection is *held* instead: the snapshot becomes
one more owner of it, and its structure is told to keep what it is now (core/types.pxd), both O(1), whatever its size.

    chain --> small value --> snapshot.chunk --> writer
         '--> large value --> held_t --.  after the tables: one by one, since a record must lie in one piece
    write to a held value --> its own small chunks --'  behind its record's first step

What a write is about to change of a held value is serialised then, a chain of its elements at a time; it waits in
chunks of the value's own until the value's turn, which comes first for values that have any; where the target is a file
and more than ASIDE_MIN waits, the writer puts it aside on the disk (rdb_writer.pxd). As commands it need not wait. DEL,
SET, FLUSHALL, RENAME and expiry of a held value take one owner away; the snapshot frees what only it still has. Such a
value does not count against maxmemory meanwhile: evicting other keys would not free it.
"""

from libc.stdint cimport int64_t, uint64_t

from cachefleet_server.core.engine cimport engine_t, rdb_out_t, save_t
from cachefleet_server.core.entry cimport entry_t
from cachefleet_server.ds.hashtable cimport hashtable_t, ht_bucket_t
from cachefleet_server.ds.link cimport link_t, links_t
from cachefleet_server.ds.zmalloc cimport heap_t
from cachefleet_server.persistence.rdb_writer cimport rdb_chunk_t, rdb_writer_t

cdef enum:
    SNAPSHOT_IDLE = 0
    SNAPSHOT_RUNNING = 1  # tables and held values are frozen and being delivered
    SNAPSHOT_WRITER = 2  # everything was delivered; the writer thread works on
    SNAPSHOT_GIVEN_UP = 3  # held values are let go, slice by slice
    SNAPSHOT_OVER = 4

    ASIDE_MIN = 4194304  # bytes that wait in memory; from there on pieces of ...
    ASIDE_PIECE = 4096  # ... so many bytes go to the disk

cdef struct frozen_t:  # one database's table
    snapshot_t* snapshot
    hashtable_t* keys
    int dbid  # at the start
    bint adopted  # flushed meanwhile: ours to free
    bint done
    uint64_t position

cdef struct held_t:  # a large value, which is saved when the tables are done
    save_t save  # first, so that the type's save_out leads here
    link_t link  # snapshot.held; right behind it
    snapshot_t* snapshot
    entry_t* entry  # ours: key, expiry and a share of the value
    int dbid
    bint begun  # its record is being written
    rdb_chunk_t* first  # what writes serialised before that
    rdb_chunk_t* last
    size_t counted  # bytes of `last` that snapshot.waiting has
    int number  # under which more of it was put aside; 0: nothing was

cdef struct snapshot_t:
    engine_t* engine
    heap_t* heap  # of chunks; apart from the engine's, so that a snapshot causes no eviction
    rdb_writer_t* writer
    rdb_chunk_t* chunk  # being filled; NULL after the end
    frozen_t* tables
    int count
    int at  # table whose turn it is
    rdb_out_t like  # the settings of chunks
    bint commands  # instead of RDB records
    int selected  # database of the last record; -1 = none yet
    int state  # SNAPSHOT_*
    int64_t slice_us
    bint behind  # the queue reached its limit
    bint pushed  # a chunk was handed over since this was cleared
    size_t pressure  # bytes queued from which a tick waits
    size_t behind_max
    size_t largest_lent  # bytes
    links_t held  # held_t: those whose turn has not come; first the ones that have something waiting
    held_t* current  # its record is being written
    size_t waiting  # bytes in chunks of held values
    bint asides  # the target is a file
    int numbers  # given to values of which something was put aside
    size_t copied  # bytes put into chunks, but for `chunk`
    size_t slice_copied_max  # the most bytes that one slice put into chunks ...
    size_t step_copied_max  # ... and between two looks at the clock
    uint64_t keys_done
    uint64_t keys_total
    void* owner  # the Snapshot object, which holds a reference to itself while this runs

cdef void deliver_chain(void* ctx, hashtable_t* t, ht_bucket_t* head) noexcept nogil  # ht_freeze_fn; ctx: frozen_t
cdef bint deliver_value(snapshot_t* s) noexcept nogil
    # One step of saving held values, one after the other; false when none is left.
cdef bint drop_held(snapshot_t* s, uint64_t start, uint64_t budget) noexcept nogil
    # Lets go of held values that will not be saved, for so many cycles since `start`; true when none is left.
cdef size_t bytes_copied(const snapshot_t* s) noexcept nogil  # put into chunks so far

"""Point-in-time snapshots without fork: every key as it was when the snapshot began, while writes go on.

How: `start` freezes the `keys` table of each database (ds/hashtable.pxd). From then on a table delivers each of its
chains exactly once, in its state at the start: when an iteration step reaches it, or just before its first change.
A delivered chain is serialised into the current chunk, chunks go to the writer thread (rdb_writer.pxd). Nothing is
copied but those bytes, so memory grows by the queue alone. Strings of LEND_MIN and more are not even copied: the writer
thread gets a share of the value (ds/blob.pxd) and reads it where it lies, so a slice never holds the engine up for the
size of a value. If the key is written meanwhile, that command makes a copy.

    write to a chain not reached ---.
                                    v
    slices, 0.5 ms a tick ----> deliver --> chunk  --> queue --> writer thread --> target: a file, a socket

- Records of several databases mix, so SELECTDB is written whenever the database changes from one record to the next.
- SWAPDB changes which db holds a table; the snapshot goes on with the table and its number at the start.
- A flush detaches a table; if it is still being read, the snapshot adopts it and frees it when it is done.
- Large collections are saved after the tables, element by element, and may change meanwhile: persistence/deliver.pxd.
- Slices pause while the queue is full; a write cannot wait, so their chains may exceed it. From a 64th of the memory in
  use on, each tick waits for the writer, behind its replies, for PRESSURE_US and longer the further it is behind: that
  leaves it a core that the load would not, and slows down the load. Where that is not enough, at BEHIND_MIN or an
  eighth of the memory, besides the largest lent value, the disk is too slow for this load: the snapshot is given up.
- For a receiver that takes its time (target.pxd) the same holds, but no tick waits for it, which would not help. Tables
  and large values that are deleted meanwhile stay until they are saved: at most what there was at the start.
- The stream is of RDB records or, as the base of an AOF, of commands (aof_rewrite.pxd).
- LRU and LFU bits are not part of the point in time: they are as found when a chain is delivered.

One snapshot an engine at a time: BGSAVE and an AOF rewrite exclude each other. `engine_t.slice_fn` drives it from the
reactor and cron; `finish` drives it to its end at once (SAVE, shutdown).
"""

cimport cython
from libc.stdint cimport int64_t, uint64_t

from cachefleet_server.engine cimport Engine
from cachefleet_server.persistence.deliver cimport snapshot_t
from cachefleet_server.persistence.target cimport target_t

cdef enum:
    SLICE_US = 500  # how long a tick is held up
    LEND_MIN = 16384  # bytes; a step of STEP_CHAINS copies at most about 2 MB of smaller ones, which takes 0.3 ms
    PRESSURE_US = 1000  # how long a tick waits for a writer that writes have put behind ...
    PRESSURE_TIMES_MAX = 4  # ... at most so many times as long
    PRESSURE_MIN = 2097152  # bytes queued from which it does, besides the memory's share
    BEHIND_MIN = 67108864  # bytes queued by writes before a snapshot may be given up


@cython.final
cdef class Snapshot:
    cdef Engine engine
    cdef snapshot_t s
    cdef target_t target
    cdef bint checksum
    cdef object on_done
    cdef list aux
    cdef int64_t started_us
    cdef readonly object result

    cdef void _over(self, int state, int error, const char* what, uint64_t written)

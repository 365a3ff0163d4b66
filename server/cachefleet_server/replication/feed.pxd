"""What every byte of the stream passes: the backlog, the replicas that are fed from it, and what they confirm.

The feed is a consumer of the journal (keyspace/journal.pxd), whose bytes and offsets are the stream's. It puts each
tick's bytes once into the backlog, a list of blocks; replicas get pieces of those blocks into their output without a
copy: a block has owners (ds/blob.pxd), the backlog and each output that has not been sent as far yet.

    backlog   | block | block | block | block ... room |
               ^start        ^ B's output   ^ A's       ^ end of the journal
    replica A  out: a piece of the last block            PSYNC from an offset: pieces of all blocks from there on
    replica B  out: pieces of the third and the last

- *Size.* The oldest block goes once those behind it are `size` bytes, unless a replica still sends of it: while there
  is a slow one, more can be resumed from. What that is beyond `size` does not count against maxmemory; how much it can
  become, client-output-buffer-limit says, which counts a replica's pieces as its own.
- *Life.* Opened with the first replica, closed by whoever decides (primary.py). Opened, it is the journal's consumer.
- *A replica* is a client that gets no replies any more: what it may be sent is the stream, or a snapshot.

    add --> WAITING --begin--> SYNCING --sent--> LOADING --its first confirmation--> ONLINE <--resume (PSYNC)
             newline           the snapshot      what it waits     feeds it            stream
             each second       on a dup of its   to read
                               descriptor

  From `begin` on the stream is kept for it, beside its output, because another thread writes to the descriptor. It is
  let go with the first REPLCONF ACK: who looks for the mark at the end of a snapshot may read no byte beyond.
- *SELECT.* `begin` makes the next command say its database, since the receiver does not know which the stream is in.
- *Readable.* A replica says what it can read (core/rdb.pxd, the dialects in their order). Once the data hold what it
  cannot, it is disconnected in front of that tick's bytes: it would not know the commands either, and drop them.
- *Confirmations* arrive once a second, or when they were asked for (keyspace/replicas.pxd), and end waits.
"""

from libc.stdint cimport uint64_t

from cachefleet_server.core.engine cimport engine_t
from cachefleet_server.core.journal cimport journal_consumer_t
from cachefleet_server.ds.blob cimport blob_t
from cachefleet_server.engine cimport Engine
from cachefleet_server.keyspace.replicas cimport replica_t

cdef enum:
    BLOCKS = 16  # of a full backlog, about
    BLOCK_MIN = 16384  # bytes
    BLOCK_MAX = 1048576

cdef struct block_t:
    block_t* next
    blob_t* blob  # `len` grows up to `cap`; bytes that are there do not change
    size_t cap
    uint64_t offset  # of its first byte

cdef struct follower_t:
    replica_t r  # first: a replica_t* is one of these
    int readable  # RDB_DIALECT_*
    bint snapshot_only  # it wants no stream: redis-cli --rdb
    const char* reason  # why we disconnect it; NULL: we do not

cdef struct feed_t:
    engine_t* engine
    journal_consumer_t consumer
    bint opened
    size_t size
    block_t* first
    block_t* last
    bint tells  # Feed.on_confirmed is called
    size_t limited  # replicas that cannot read everything
    void* owner  # Feed

cdef class Feed:
    cdef Engine engine
    cdef feed_t f
    cdef public object on_gone
    cdef object on_confirmed

    cdef void _close(self) noexcept
    cdef follower_t* _of(self, uint64_t id) except NULL
    cdef follower_t* _new(self, uint64_t id, int readable) except NULL

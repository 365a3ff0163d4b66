"""The engine's data: every struct that commands, keyspace and reactor share. No functions.

    engine_t --- keyspace ------- dbs[i] db_t: keys, and those that expire; active expiry, eviction
       |-------- clients -------- client_t: input_t (requests), out_t (replies), transaction, watched keys
       |-------- commands ------- command_t rows, by name
       |-------- input ---------- what all connections share while requests are read and parsed
       |-------- journal -------- this tick's writes as RESP; AOF and replicas consume it
       |-------- held ----------- replies that wait until the journal is safe
       |-------- replicas ------- clients that follow the journal
       '-------- pause ---------- by purpose: until when, and for which commands

There are no module globals: whatever lives longer than a call hangs off an engine_t, so a process may hold several. It
is touched by the engine's thread only, unless a comment says otherwise. `*_fn` are hooks of higher layers.
"""

from libc.stdint cimport int8_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from cachefleet_server.core.entry cimport entry_t
from cachefleet_server.core.journal cimport journal_t
from cachefleet_server.core.params cimport params_t
from cachefleet_server.core.role cimport role_t
from cachefleet_server.core.stats cimport stats_t
from cachefleet_server.ds.blob cimport blob_t
from cachefleet_server.ds.buf cimport buf_t
from cachefleet_server.ds.hash cimport hash_seed_t
from cachefleet_server.ds.hashtable cimport hashtable_t
from cachefleet_server.ds.link cimport link_t, links_t
from cachefleet_server.ds.zmalloc cimport heap_t
from cachefleet_server.resp.input cimport arg_arena_t, arg_t, input_limits_t, input_t, request_t
from cachefleet_server.resp.writer cimport chunk_pool_t, iovec, out_t

cdef struct batched_t
cdef struct engine_t
cdef struct client_t
cdef struct command_t

# ---- command table -------------------------------------------------------------------------------

cdef enum:
    CMD_WRITE = 1 << 0
    CMD_READONLY = 1 << 1
    CMD_DENYOOM = 1 << 2
    CMD_MODULE = 1 << 3
    CMD_ADMIN = 1 << 4
    CMD_PUBSUB = 1 << 5
    CMD_NOSCRIPT = 1 << 6
    CMD_BLOCKING = 1 << 7
    CMD_LOADING = 1 << 8
    CMD_STALE = 1 << 9
    CMD_SKIP_MONITOR = 1 << 10
    CMD_SKIP_SLOWLOG = 1 << 11  # "skip_commandlog"
    CMD_ASKING = 1 << 12
    CMD_FAST = 1 << 13
    CMD_NO_AUTH = 1 << 14
    CMD_MAY_REPLICATE = 1 << 15
    CMD_NO_ASYNC_LOADING = 1 << 16
    CMD_NO_MULTI = 1 << 17
    CMD_MOVABLEKEYS = 1 << 18
    CMD_ALLOW_BUSY = 1 << 19
    CMD_NO_MANDATORY_KEYS = 1 << 20
    CMD_MAY_WAIT = 1 << 21  # a Python row that may return an awaitable
    CMD_CONTAINER = 1 << 22  # has subcommands; the dispatcher looks at argv[1]
    CMD_TRANSACTION = 1 << 23  # runs at once inside MULTI: EXEC, DISCARD, MULTI, WATCH, QUIT, RESET
    CMD_LISTENER = 1 << 24  # may be used in RESP2 by who listens to channels

    DURATION_BUCKETS = 32  # of a histogram of durations (core/latency.pxd)

ctypedef void (*command_fn)(client_t* c) noexcept nogil

cdef struct command_stats_t:
    uint64_t calls
    uint64_t cycles  # time spent, in ticks of cf_cycles()
    uint64_t rejected  # refused before running (arity, ACL, OOM ...)
    uint64_t failed  # replied an error while running
    uint64_t histogram[32]  # DURATION_BUCKETS; empty while latency-tracking is off

cdef struct key_spec_t:  # where keys are among the arguments (core/keys.pxd)
    uint32_t flags  # KEY_*
    int find  # KEYS_*
    int begin  # argument where keys begin, where their number is, or from where the keyword is searched
    char* keyword  # lower case; NULL: keys begin at an index
    int first  # KEYS_COUNTED: of the first key, behind the number
    int last  # KEYS_RANGE: relative to the first key, or from the end
    int step
    int limit  # with last -1, n > 1: the first n-th part of what is left

cdef struct key_range_t:  # a request's keys, where that is plain: what prefetching needs, at once
    int first, step
    int last  # negative counts from the end: -1 = last argument
    int count_at  # of the argument that says how many keys follow it, whatever `last` is; 0: none does

cdef struct element_range_t:  # the arguments that name elements of the value: fields, members
    int first
    int last  # from here down to `first`; negative counts from the end
    int step  # 0: none, or they may be anywhere

cdef struct option_t:  # an optional token of a row's syntax text (core/options.pxd)
    uint64_t head  # of the word: its first eight letters, in lower case ...
    uint64_t tail  # ... and, from eight letters on, its last
    uint8_t len
    uint8_t values  # arguments that belong to it
    uint8_t id  # OPT_*; OPT_NONE: an empty slot

cdef struct command_t:
    const char* name  # lower case; subcommands "config|get"
    uint16_t name_len
    int arity  # negative: at least -arity
    uint64_t flags  # CMD_*
    uint64_t acl_categories
    key_range_t keys  # step 0: none, or not a plain range
    bint on_collections  # its keys hold collections: prefetching goes on into the values
    element_range_t elements
    key_spec_t* key_specs
    int key_spec_count
    command_fn fn  # NULL: a Python row, run by engine.python_fn with the GIL held
    int id  # index in engine.commands
    command_t* parent  # container, for a subcommand
    command_t** subcommands
    int subcommand_count
    option_t* options  # OPTION_SLOTS of them, or NULL
    void* spec  # borrowed PyObject*: the Python CommandSpec (documentation, key specs), kept by the facade
    void* callback  # borrowed PyObject*: the Python function of a Python row
    command_stats_t stats

# ---- databases -----------------------------------------------------------------------------------

cdef struct timed_t:  # a payload with members that expire (keyspace/member_expiry.pxd)
    int64_t at_ms  # when the first of them does
    void* members  # members_t

cdef struct db_t:
    engine_t* engine
    int id
    hashtable_t* keys
    hashtable_t* expires  # the same entry_t* as in keys, those with E_EXPIRE
    hashtable_t* interest  # key -> who watches it or waits for it (keyspace/interest); NULL until the first does
    uint64_t expire_cursor  # active expiry's place in `expires`
    int64_t avg_ttl_ms  # running average, for INFO
    timed_t* timed  # binary heap by at_ms
    size_t timed_count
    size_t timed_own  # of which sets and sorted sets: no other server can read them with their times
    size_t timed_cap

# ---- clients -------------------------------------------------------------------------------------

cdef enum:
    CLIENT_MULTI = 1 << 0  # queueing commands
    CLIENT_DIRTY_CAS = 1 << 1  # a watched key changed: EXEC fails
    CLIENT_DIRTY_EXEC = 1 << 2  # an error while queueing: EXEC aborts
    CLIENT_CLOSE_AFTER_REPLY = 1 << 3  # once its replies so far are sent; it gets no more
    CLIENT_CLOSE_ASAP = 1 << 4  # freed at the end of the tick
    CLIENT_BLOCKED = 1 << 5  # input is not read until unblocked
    CLIENT_PENDING_WRITE = 1 << 6  # is on engine.pending_write
    CLIENT_WRITABLE_WAIT = 1 << 7  # EPOLLOUT registered
    CLIENT_REPLY_OFF = 1 << 8
    CLIENT_REPLY_SKIP_NEXT = 1 << 9
    CLIENT_REPLY_SKIP = 1 << 10
    CLIENT_MONITOR = 1 << 11
    CLIENT_AUTHENTICATED = 1 << 12
    CLIENT_NO_EVICT = 1 << 13
    CLIENT_NO_TOUCH = 1 << 14
    CLIENT_UNIX_SOCKET = 1 << 15
    CLIENT_DENY_BLOCKING = 1 << 16  # its role may not wait, or it is inside EXEC: what would block replies at once
    CLIENT_EXECUTING = 1 << 17  # inside EXEC
    CLIENT_FAILED = 1 << 18  # an error replied to a role for which errors are fatal
    CLIENT_PREVENT_PROPAGATE = 1 << 19  # this command did its own propagation, or wants none
    CLIENT_CLOSE_AFTER_COMMAND = 1 << 20  # the reply of the command that runs is its last
    CLIENT_RESUMED = 1 << 21  # unparsed input is left although the socket may be silent
    CLIENT_IMPORT_SOURCE = 1 << 22
    CLIENT_CAPA_REDIRECT = 1 << 23
    CLIENT_DEFERRED_REPLY_ERROR = 1 << 24  # the running command replied an error
    CLIENT_PYTHON_WAIT = 1 << 25  # a Python row returned an awaitable; blocked until it is done

    CLIENT_HOLD_DUE = 1 << 26  # changed data in this tick: what it was replied since may have to wait ...
    CLIENT_HELD = 1 << 27  # ... and has to (keyspace/held.pxd)
    # What its transport asks for (reactor/transport.pxd).
    CLIENT_READ_AT_WRITABLE = 1 << 28  # a read goes on when the socket is writable
    CLIENT_WRITE_AT_READABLE = 1 << 29  # a write goes on when it is readable: after a read
    CLIENT_READ_AGAIN = 1 << 30  # more has arrived than epoll knows: it is read when it is resumed

    COMMANDLOG_SLOW = 0
    COMMANDLOG_LARGE_REQUEST = 1
    COMMANDLOG_LARGE_REPLY = 2

    BLOCKED_NONE = 0
    BLOCKED_KEYS = 1
    BLOCKED_WAIT = 3
    BLOCKED_PYTHON = 8
    BLOCKED_PAUSE = 9

    CLASS_NORMAL = 0
    CLASS_REPLICA = 1
    CLASS_PUBSUB = 2
    CLASS_PRIMARY = 3  # the link of a replica

    DUE_WAITERS = 1 << 0  # engine.due: keys are ready that somebody waits for (keyspace/waiting)
    DUE_PUSHES = 1 << 1  # pushes wait for the end of their targets' replies (core/push)
    DUE_TRACKING = 1 << 2  # a client is to be told what its own command changed (keyspace/tracking)

cdef struct client_info_t:  # what few commands need; allocated on first use, all strings owned, may be NULL
    char* name
    char* lib_name
    char* lib_ver

cdef struct protocol_t:  # what a connection speaks; RESP is one of them
    const char* name
    # Parses the next request of c. Returns INPUT_OK, INPUT_MORE or INPUT_ERROR, as input_next.
    int (*next_fn)(client_t* c, request_t* out) noexcept nogil
    # Replies to a protocol error before the connection is closed.
    void (*error_fn)(client_t* c) noexcept nogil

cdef enum:  # what a transport returns when no byte was moved
    TRANSPORT_CLOSED = 0  # none will be
    TRANSPORT_WANT_READ = -1  # call again when the socket is readable
    TRANSPORT_WANT_WRITE = -2  # ... when it is writable
    TRANSPORT_ERROR = -3  # the connection is broken

cdef struct transport_t:  # how a connection's bytes pass its socket: a constant row; contract in reactor/transport.pxd
    const char* name
    ssize_t (*read_fn)(client_t* c, char* to, size_t n) noexcept nogil
    ssize_t (*write_fn)(client_t* c, const char* p, size_t n) noexcept nogil
    ssize_t (*writev_fn)(client_t* c, const iovec* iov, int count) noexcept nogil
    bint (*unread_fn)(const client_t* c) noexcept nogil  # NULL: never
    void (*close_fn)(client_t* c) noexcept nogil  # NULL: nothing to do
    void (*refuse_fn)(int fd, const char* text, size_t n) noexcept nogil  # NULL: without a word

cdef struct client_t:
    link_t link  # clients_t.all
    engine_t* engine
    db_t* db
    uint64_t flags  # CLIENT_*
    uint64_t id
    const role_t* role
    int fd  # -1: no socket
    uint8_t resp  # 2 or 3
    uint8_t cls  # CLASS_*
    uint8_t blocked  # BLOCKED_*
    uint8_t soft_limit_on
    # the command that runs
    command_t* cmd
    int argc
    arg_t* argv
    const char* raw  # canonical RESP bytes of the command, or NULL
    size_t raw_len
    # streams
    input_t input
    out_t out
    const protocol_t* protocol
    const transport_t* transport
    void* session  # the transport's own
    void* user  # user_t of acl; NULL = the default user
    void* transaction  # transaction_t: what was queued since MULTI (keyspace/transaction.pyx)
    void* watches  # watch_t: watched keys (keyspace/watch.pyx)
    client_info_t* info
    client_t* next_pending  # engine.pending_write
    client_t* next_resumed  # engine.resumed
    void* view  # borrowed PyObject*: its view (client_view.pyx), NULL while nobody holds one
    void* parked  # kept_request_t: what CLIENT PAUSE stopped (reactor/dispatch.pyx)
    # times and totals
    int64_t created_ms
    int64_t last_interaction_ms
    int64_t blocked_until_ms  # 0 = no deadline
    size_t deadline_index  # place in engine.deadlines + 1; 0 = none
    int64_t soft_limit_since_ms
    size_t accounted  # its part of engine.evictable_memory
    uint64_t net_in
    uint64_t net_out
    uint64_t commands
    command_t* last_cmd
    void (*unblock_fn)(client_t* c, bint timed_out) noexcept nogil  # how to reply when a wait ends
    void* held  # marks in its output (keyspace/held.pyx); NULL unless CLIENT_HELD
    void* pushes  # deferred_t: what is pushed to it while its own reply is written (core/push); NULL without
    void* waiter  # what it waits for: wait_t of keyspace/waiting, or of commands/wait; freed when the wait ends
    void* subscriptions  # subscriptions_t: what it listens to (keyspace/channels.pxd); NULL while that is nothing
    void* tracker  # tracker_t: how it is told what changed (keyspace/tracking.pxd); NULL if it never tracked
    void* replica  # replica_t (keyspace/replicas.pxd); NULL unless it follows the journal

# ---- types ---------------------------------------------------------------------------------------

cdef struct rdb_mark_t:  # a string of a rdb_out_t that is not simply written as it lies there
    size_t at  # where its length code begins in `buf` ...
    size_t head  # ... and how long that is
    size_t n  # bytes of the string
    blob_t* blob  # lent: the string is here, one owner more, and not behind the length code
    bint compress

cdef struct rdb_out_t:
    # Where serialised values go (core/rdb.pyx). Strings worth compressing are marked, not compressed:
    # the snapshot's writer thread does that. `dialect` decides type bytes and footers.
    buf_t buf
    buf_t marks  # rdb_mark_t, by rising place
    size_t lent  # bytes of the blobs in `marks`
    size_t lend_min  # strings from this size on are lent, not copied; 0 = none
    bint mark_strings  # false: compress in place if `compress`
    bint compress
    int dialect  # RDB_DIALECT_*
    int64_t delay_us  # rdb-key-save-delay of what is in `buf`, for the writer thread to wait

cdef struct rdb_in_t:  # what core/rdb.pyx reads from: a mapped file or a RESTORE payload
    const uint8_t* p
    const uint8_t* end
    const char* error  # NULL while all is well; static text
    const uint8_t* error_at  # where the first error was found
    heap_t* heap
    size_t string_max  # bytes; longer strings are an error
    int version  # RDB version of the file or footer
    bint valkey  # VALKEY magic, or footer 80: bytes 22 and 243 mean Valkey's
    int unsupported  # with RDB_ERROR_TYPE: the type byte that no registered type reads

cdef struct save_t:  # the saving of one value, as RDB bytes or as commands; contract in core/types.pxd
    engine_t* engine
    const entry_t* entry
    rdb_out_t* out  # asked for by save_out
    rdb_out_t* (*out_fn)(save_t* s) noexcept nogil  # NULL: always `out`
    bint commands
    bint held  # the value may change, or be deleted, between the steps
    int rdb_type  # of the record, chosen at the beginning; -1: there is none
    size_t written  # bytes since the step began; the type adds what it puts into save_out
    # the type's own; zeros at the beginning
    bint counted  # the record's count is written
    uint64_t count
    uint64_t place
    void* state

cdef struct type_ops_t:  # what a data type plugs in: one row of engine.types; contracts in core/types.pxd
    const char* name  # as TYPE says
    const char* encodings[16]  # as OBJECT ENCODING says, by ENC_*; NULL: this type has none of that number
    uint64_t rdb_bytes  # bit n: load_fn reads RDB type byte n, n < 64
    size_t newer  # atomic: values alive that only RDB_DIALECT_VALKEY can hold; the type's functions count them
    void (*free_fn)(type_ops_t* ops, heap_t* h, entry_t* entry) noexcept nogil
    size_t (*effort_fn)(const entry_t* entry) noexcept nogil
    entry_t* (*dup_fn)(engine_t* e, const entry_t* entry, const char* key, size_t nk) noexcept nogil
    size_t (*memory_fn)(engine_t* e, const entry_t* entry, size_t samples) noexcept nogil
    void (*digest_fn)(engine_t* e, const entry_t* entry, uint8_t* digest20) noexcept nogil
    int (*check_fn)(engine_t* e, const entry_t* entry) noexcept nogil
    entry_t* (*load_fn)(
        engine_t* e, rdb_in_t* in_, int type_byte, const char* key, size_t nk, int64_t expire_ms) noexcept nogil
    int (*dialect_fn)(const entry_t* entry) noexcept nogil
    int (*rdb_type_fn)(const entry_t* entry, int dialect) noexcept nogil
    size_t (*save_size_fn)(const entry_t* entry) noexcept nogil
    void (*save_begin_fn)(save_t* s) noexcept nogil
    bint (*save_step_fn)(save_t* s) noexcept nogil
    void (*save_end_fn)(save_t* s) noexcept nogil
    bint (*prefetch_fn)(engine_t* e, const entry_t* entry, const batched_t* p, int step) noexcept nogil

# ---- persistence state read on the hot path ---------------------------------------------------------

cdef enum:
    FSYNC_NO = 0
    FSYNC_ALWAYS = 1
    FSYNC_EVERYSEC = 2

cdef struct persist_t:
    # Flags, set by name through engine.set_persist in this order.
    bint loading  # replies -LOADING
    bint aof_enabled  # a restart would load the AOF
    bint aof_starting  # switched on, and the first base is not on disk yet
    bint bgsave_failed  # with stop_writes_on_bgsave_error and save points: MISCONF
    bint save_points  # at least one `save` parameter
    bint aof_write_failed  # MISCONF for writes
    bint rdb_uncompressed  # rdbcompression no: strings are stored plain in DUMP and snapshots
    bint flush_save  # set by FLUSHALL: with save points, the file on disk should be replaced soon
    int aof_errno
    # Counters, likewise.
    uint64_t dirty  # changes since the last save
    uint64_t load_total_bytes
    uint64_t load_done_bytes
    uint64_t load_keys
    uint64_t load_keys_expired
    uint64_t aof_written_offset  # up to here the AOF has it, if only in the kernel; 0 while the AOF is off
    uint64_t aof_fsynced_offset  # up to here the journal is on disk. After it grew: engine.confirmed_fn

# ---- expiry and eviction ------------------------------------------------------------------------------

cdef enum:
    EVICTION_POOL = 16

cdef struct expire_cycle_t:  # active expiry (keyspace/expire.pyx)
    int next_db  # place in keyspace.dbs where the next slice goes on
    bint behind  # the last slice ran out of time: another one is due at next_slice_us
    int64_t next_slice_us  # monotonic
    double stale  # running estimate: share of the keys with a TTL that are past it

cdef struct eviction_candidate_t:
    uint64_t rank  # how good a victim: idle time, rarity or nearness of its expiry
    uint64_t hash
    entry_t* entry  # never followed before the table confirmed that it still holds it
    int dbid

cdef struct eviction_t:  # keyspace/evict.pyx
    eviction_candidate_t pool[16]  # EVICTION_POOL; ascending rank
    int pool_len
    int pool_policy  # the policy that ranked the pool
    int next_db  # place in keyspace.dbs: they take turns
    bint spent  # this tick's time slice is used up: commands may only not raise memory above `ceiling`
    size_t ceiling  # bytes counted when it was
    size_t handed_bytes  # given to the helper thread to be freed ...
    size_t handed_at  # ... since heap.freed_remote was this
    int64_t exceeded_since_us  # monotonic; 0 while below the limit

# ---- errors ------------------------------------------------------------------------------------------

cdef enum:
    ERROR_PREFIXES_MAX = 128  # kinds of errors counted apart; what comes later counts as "ERRORSTATS_OVERFLOW"
    ERROR_PREFIX_MAX = 30  # bytes; a longer first word counts as "ERR"

cdef struct error_stat_t:  # replies whose text began with this word (INFO errorstats)
    char prefix[31]
    uint8_t len
    uint64_t count

# ---- the engine ------------------------------------------------------------------------------------

cdef enum:
    BATCH_MAX = 32  # commands parsed, prefetched and executed together
    EVENTS_MAX = 256  # ready connections taken from one epoll_wait
    READ_MAX = 65536  # bytes of one read into the shared buffer
    SHARED_INPUT = 1048576  # bytes of the shared input buffer

cdef struct batched_t:  # one parsed command waiting in the batch
    client_t* client
    command_t* cmd  # NULL: unknown; looked up while parsing
    request_t request

cdef struct keyspace_t:  # the data set; another one can be filled beside the engine's (keyspace/keyspace.pxd)
    engine_t* engine
    db_t** dbs  # those that somebody has used, by rising number; database 0 is always there
    int opened  # how many these are
    int count  # databases that clients may use
    size_t used_before  # bytes in use when it was made
    size_t content_bytes  # about what it holds, once it was exchanged
    expire_cycle_t expiry
    eviction_t eviction
    # who is interested in which keys (keyspace/interest)
    size_t interests  # keys that somebody is interested in, and one for all that are cached (keyspace/tracking)
    size_t watching  # clients that watch at least one key
    size_t watched_keys
    size_t blocking_keys  # keys that somebody waits for ...
    size_t blocking_keys_on_nokey  # ... also for their end
    links_t ready  # interest_t: keys that changed while somebody waits, in this order
    bint held_back  # a pause keeps somebody from being served

cdef struct commands_t:
    command_t** rows
    int count
    hashtable_t* names  # by lower-case name; containers hold their own subcommands
    uint64_t cache_keys[256]  # direct-mapped by the name's bytes; see core/command.pyx
    command_t* cache[256]
    command_t* exec  # rows that the dispatcher treats apart
    command_t* discard
    command_t* ping

cdef struct clients_t:
    links_t all  # client_t: the connections (core/clients.pxd), the latest first
    size_t count
    size_t class_count[4]
    uint64_t last_id
    size_t monitors
    size_t closing  # clients flagged CLIENT_CLOSE_ASAP
    client_t* pending_write
    client_t* pushed  # those with pushes that wait for the end of a command (core/push)
    client_t* resumed  # unblocked clients whose leftover input must be parsed without waiting for their sockets
    # blocked ones
    size_t blocked
    client_t* served  # whose kept request runs now that its key is ready
    client_t** deadlines  # those with a deadline: binary heap by blocked_until_ms (keyspace/blocked.pyx)
    size_t deadline_count
    size_t deadline_cap
    # what they hold
    size_t evictable_memory  # bytes of the clients that maxmemory-clients may close; 0 while it is off
    uint64_t earlier_largest_input  # maxima of the period before; INFO shows the larger ones
    uint64_t earlier_largest_output
    int64_t maxima_since_ms  # monotonic
    int64_t cron_ms  # monotonic time of the last pass over all clients

cdef struct input_room_t:  # input that all connections share during a tick (reactor/reactor.pyx)
    char* shared
    size_t used
    arg_arena_t arena
    client_t* holders[256]  # EVENTS_MAX: clients whose input lies in `shared`, until the batch is done
    int holder_count

cdef struct held_condition_t:  # what output may wait for; it lies in its owner, linked while it counts
    const char* name
    uint64_t confirmed  # up to here the journal is as safe as it asks for
    held_condition_t* next

cdef struct held_room_t:  # output that waits for the journal (keyspace/held.pxd)
    held_condition_t* conditions  # all of them must hold; NULL: no output waits, and no command looks further
    buf_t due  # clients that wrote in this tick
    client_t* waiting  # those with CLIENT_HELD

cdef struct replicas_t:  # who follows the journal (keyspace/replicas.pxd)
    void* first  # replica_t
    bint ask  # somebody waits for their confirmations: they are asked at the end of the tick
    size_t backlog_size  # bytes of the stream that are kept for those who come back ...
    size_t backlog_excess  # ... and what is held beyond that because of slow ones: not counted against maxmemory
    void (*gone_fn)(client_t* c) noexcept nogil  # its client goes away

cdef enum:
    PAUSE_PURPOSES = 3

cdef struct pause_t:  # core/pause.pxd
    int strength  # PAUSE_*: the strongest now; ask `paused`, which notices ends
    bint eased  # weaker than it was: a tick lets clients go
    int64_t next_end_ms  # unix time
    int64_t until_ms[3]  # PAUSE_PURPOSES; unix time, 0 = none
    int strengths[3]

cdef struct engine_t:
    heap_t* heap
    hash_seed_t seed
    uint64_t rng
    keyspace_t* keyspace
    commands_t commands
    clients_t clients
    input_room_t input
    journal_t journal
    held_room_t held
    replicas_t replicas
    pause_t pause
    type_ops_t types[16]  # OBJ_*; filled by type_register
    type_ops_t* rdb_readers[64]  # by RDB type byte; NULL: no type here reads it
    params_t params
    stats_t stats
    error_stat_t errors[128]  # ERROR_PREFIXES_MAX; filled by core/reply.pyx, cleared by setting error_kinds to 0
    int error_kinds
    uint64_t errors_overflow
    persist_t persist
    # time; refreshed once a tick and, inside commands, only by blocking ones
    int64_t now_ms  # unix time
    int64_t now_us
    int64_t clock_offset_us  # 0; tests move the unix time by it
    int64_t monotonic_ms
    uint32_t lru_clock  # seconds, 24 bits
    double cycles_per_us
    uint64_t ns_multiplier  # nanoseconds = cycles * ns_multiplier >> 20
    uint64_t last_cycles  # end of the previous command
    # time spent in commands
    uint64_t slow_ns  # commands that take as long are reported to commandlog_fn and latency_fn; ~0 = never
    uint64_t tick_histogram[32]  # DURATION_BUCKETS
    client_t* current  # whose command runs
    uint32_t due  # DUE_*: what waits for the end of the outermost command; 0 nearly always
    chunk_pool_t chunks
    batched_t batch[32]
    int batch_len
    int epoll_fd
    int wake_fd  # eventfd in the epoll set: makes a tick happen soon
    bint wake_pending
    int timer_fd  # timerfd in the epoll set: makes a tick happen at alarm_us
    int64_t alarm_us  # monotonic; 0 = not set
    # the rest
    int notify_flags  # NOTIFY_* (keyspace/db.pxd): which events are published
    void* lazyfree  # the helper thread's queue (keyspace/lazyfree.pyx)
    # hooks installed by higher layers
    void (*call_fn)(client_t* c) noexcept nogil  # reactor: runs c.cmd with statistics and propagation (EXEC uses it)
    void (*python_fn)(client_t* c) noexcept nogil  # facade: takes the GIL and runs a Python row
    void (*notify_fn)(engine_t* e, int event, const char* name, const char* key, size_t nk, int dbid) noexcept nogil
    bint (*slice_fn)(engine_t* e) noexcept nogil
        # a bounded slice of background work (snapshot); true = call again soon
    void (*confirmed_fn)(engine_t* e) noexcept nogil  # WAIT, WAITAOF: what they wait for may have come
    void (*closing_fn)(engine_t* e) noexcept nogil  # before the engine is freed: the snapshot ends and lets go of it
    void (*commandlog_fn)(client_t* c, int kind, uint64_t value) noexcept nogil
        # kind: COMMANDLOG_*; value: microseconds or bytes, over the kind's threshold
    void (*monitor_fn)(client_t* c) noexcept nogil
    void (*latency_fn)(engine_t* e, const char* event, int64_t ms) noexcept nogil
    void (*view_fn)(client_t* c) noexcept nogil  # facade: a client that Python has a view of goes away
    bint (*table_flushed_fn)(engine_t* e, int dbid, hashtable_t* keys) noexcept nogil
    # Snapshot, NULL without one. A flush has detached `keys` and would free it now. True: the snapshot still reads it
    # and frees it, entries included; the flush frees only the `expires` table, not its entries.
    void* snapshot_ctx
    void* following  # following_t: our primary (keyspace/following.pxd); NULL while we are one
    size_t snapshot_alone  # bytes of deleted values that a snapshot still has to save: not counted against maxmemory
    void* facade  # borrowed PyObject*: the Engine object
    void* channels  # channels_t: who listens to what (keyspace/channels.pxd)
    void* trackers  # trackers_t: who caches what (keyspace/tracking.pxd); NULL until somebody does
    int64_t tracking_max_keys  # tracking-table-max-keys; 0 = no limit

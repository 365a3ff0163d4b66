"""The engine as plain Python sees it: the one facade (everything above it imports only this).

An `Engine` owns one engine_t: databases, clients, command table, journal. It is driven by one thread: either an
event loop that calls `tick()` when `epoll_fd` is readable and `cron()` at `hz`, or a caller that uses `execute()`
in-process. Values of replies: see `cachefleet_server.replies`.
"""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final, Literal, NotRequired, TypedDict

from cachefleet_server.command_spec import CommandSpec
from cachefleet_server.replies import Reply

POLICIES: Final[dict[str, int]]  # maxmemory-policy: values of params_t.maxmemory_policy

class ClientFlag:
    """Bits of `Client.flags`; what they mean is said in core/engine.pxd."""

    MULTI: Final[int]
    DIRTY_CAS: Final[int]
    CLOSE_AFTER_REPLY: Final[int]
    CLOSE_ASAP: Final[int]
    BLOCKED: Final[int]
    WRITABLE_WAIT: Final[int]
    REPLY_OFF: Final[int]
    REPLY_SKIP_NEXT: Final[int]
    REPLY_SKIP: Final[int]
    MONITOR: Final[int]
    AUTHENTICATED: Final[int]
    NO_EVICT: Final[int]
    NO_TOUCH: Final[int]
    UNIX_SOCKET: Final[int]
    EXECUTING: Final[int]
    FAILED: Final[int]
    IMPORT_SOURCE: Final[int]
    CAPA_REDIRECT: Final[int]

class Track:
    """Bits of `Client.tracking`; what they mean is said in keyspace/tracking.pxd."""

    ON: Final[int]
    BCAST: Final[int]
    OPTIN: Final[int]
    OPTOUT: Final[int]
    NOLOOP: Final[int]
    CACHING: Final[int]
    BROKEN: Final[int]

class TableStats(TypedDict):
    """Of a hash table; see ds/ht_stats.pxd."""

    room: int
    used: int
    rehash_index: int
    buckets: NotRequired[int]  # these where chains were asked for
    children: NotRequired[int]
    longest: NotRequired[int]
    chains: NotRequired[list[int]]

class Client:
    """A connected client, as Python rows see it. Once it has gone, everything but `gone` raises `errors.ClientGone`."""

    gone: bool
    id: int
    fd: int
    resp: int
    db: int
    flags: int  # ClientFlag
    name: bytes
    lib_name: bytes
    lib_ver: bytes
    authenticated: bool
    user: str
    in_multi: bool
    created_ms: int
    last_interaction_ms: int
    blocked: int
    last_command: str
    query_buffer: int  # unparsed bytes
    output_bytes: int  # pending
    memory: int  # bytes owned by the connection
    net_in: int
    net_out: int
    commands: int
    multi_queued: int  # -1 when not in MULTI
    multi_memory: int
    argument_bytes: int  # of the command that runs now
    subscriptions: tuple[int, int, int]  # channels, patterns, shard channels
    watched: int
    tracking: tuple[int, int, list[bytes]] | None  # Track bits, id of who is told or 0, prefixes
    def track(self, modes: int, target: Client | None, prefixes: list[bytes]) -> None: ...
    def track_no_more(self) -> None: ...
    def set_caching(self) -> None: ...  # of a client that tracks
    cls: int
    age_ms: int
    idle_ms: int
    def set_flag(self, flag: int, on: bool) -> None: ...
    def close(self) -> None: ...  # at the end of the tick; nothing more is sent
    def close_after_reply(self) -> None: ...
    def peer(self) -> str: ...  # "ip:port" or the unix path
    def local(self) -> str: ...

PausePurpose = Literal["client", "shutdown", "failover"]

PythonRow = Callable[[Client, list[bytes]], Reply | Awaitable[Reply]]
"""A command in Python: gets argv with the name first, returns a reply (exceptions of `errors.CommandError` become error
replies). An awaitable blocks the client, not the engine, until it is done."""

def glob_matches(pattern: bytes, text: bytes, nocase: bool = False) -> bool: ...

class Keyspace:
    """A data set beside an engine's own. What was not taken is freed with the object, or by `drop`."""

    def drop(self) -> None: ...

class Engine:
    def __init__(self, *, databases: int = 16, hash_seed: bytes | None = None) -> None: ...
    def close(self) -> None: ...
    # -- parameters and counters
    def set_param(self, name: str, value: int) -> None: ...
    # a field of params_t, "output_limit_hard.0" and the like, "notify_flags" or "tracking_max_keys"
    def get_param(self, name: str) -> int: ...
    def set_persist(self, name: str, value: int) -> None: ...  # a field of persist_t
    def check(self) -> list[str]: ...  # broken invariants of everything that it holds; looks at all of it
    def counters(self) -> dict[str, int]: ...  # stats_t, and its times in microseconds: tick_us, command_us, expire_us
    def stats(self) -> dict[str, int]: ...  # counters, persist_t and gauges: used_memory, clients, blocked, keys ...
    def clients_memory(self) -> int: ...  # bytes of all connections; looks at each
    def count(self, name: str, n: int = 1) -> None: ...  # adds to a field of stats_t: events that Python sees
    def reset_stats(self) -> None: ...
    def command_stats(self) -> list[tuple[str, int, int, int, int, list[int]]]: ...
    # (full name, calls, microseconds, rejected, failed, histogram) of commands that were called; bucket i of the
    # histogram counts calls below 2**i * 1.024 us
    def tick_histogram(self) -> list[int]: ...  # ticks by duration, in buckets as command_stats has
    def error_stats(self) -> dict[str, int]: ...  # prefix -> count
    # (db, keys, expires, avg ttl ms, keys with members that expire), non-empty ones
    def keyspace(self) -> list[tuple[int, int, int, int, int]]: ...
    def allocator_stats(self) -> dict[str, Any]: ...  # allocator_allocated, allocator_active (bytes), mem_allocator
    def memory_usage(self, db: int, key: bytes, samples: int) -> int | None: ...  # bytes; None: no such key
    def table_memory(self) -> list[tuple[int, int, int]]: ...  # (db, bytes of keys' table, of expires'), non-empty ones
    def digest(self) -> bytes: ...  # DEBUG DIGEST: 20 bytes, equal to Valkey's for equal data
    def value_facts(
        self, db: int, key: bytes
    ) -> tuple[str, int, int, tuple[int, int, int, int, int] | None] | None: ...
    # Encoding, bytes in a file, seconds idle; None for a key that is not there. An expired one is.
    def table_stats(self, db: int, chains: bool) -> tuple[list[TableStats], list[TableStats]]: ...
    # Of keys, of keys that expire: the table, and the one that it is resized into.
    def member_table_stats(self, db: int, key: bytes, chains: bool) -> list[TableStats] | None: ...
    # [] for a value without a table, None for a key that is not there.
    def stream_facts(self, db: int, key: bytes) -> tuple[int, list[tuple[bytes, int, int, int | None]]] | None: ...
    # Entries, and of each group name, consumers, pending entries and lag, if that can be told; None: no stream.
    def value_digest(self, db: int, key: bytes) -> bytes: ...  # of one value; zeros for a key that is not there
    def new_keyspace(self) -> Keyspace: ...  # empty, beside the engine's own, to be loaded
    def take_keyspace(self, other: Keyspace) -> None: ...
    # Its content is the engine's from now on, without a trace in the journal; the old one is freed by another thread.
    # -- commands
    def register(self, spec: CommandSpec, row: PythonRow | None = None, *, may_wait: bool = False) -> None: ...
    # None: a container, never run. may_wait: the row may return an awaitable; it must be no_multi and noscript.
    def specs(self) -> Iterator[CommandSpec]: ...  # the whole table, C rows too
    def spec(self, name: str) -> CommandSpec | None: ...
    def command_keys(self, argv: list[bytes]) -> list[tuple[int, tuple[str, ...]]]: ...
    # (argument, flags in COMMAND's words) of a whole command's keys. Raises CommandError.
    def execute(self, *args: bytes, db: int = 0, resp: int = 2) -> Any: ...  # in-process; errors as replies.Error
    def execute_own(self, *args: bytes, db: int = 0) -> Any: ...  # the server's own work: no gate applies (core/role)
    # -- connections
    epoll_fd: int
    client_count: int  # connected ones
    following: bool  # it is a replica
    def add_client(self, fd: int, *, unix: bool = False) -> int: ...  # takes the fd; its client id; nonblocking already
    def accept(self, listener: int, limit: int, *, unix: bool = False, denied: bytes | None = None) -> int: ...
    # At most `limit` waiting connections become clients; above maxclients they are refused, and with `denied` those not
    # from loopback get that text. Returns 0, or the errno of an accept that failed for want of resources.
    def clients(self) -> list[Client]: ...
    def client(self, id: int) -> Client | None: ...
    def pause(self, purpose: PausePurpose, ms: int, *, everything: bool) -> None: ...  # else only what may write
    def unpause(self, purpose: PausePurpose) -> None: ...  # the pauses of other purposes go on
    def set_monitor(self, id: int) -> None: ...
    def feed_monitors(self, reply: Reply) -> None: ...  # one more line for each
    def unblock(self, id: int, error: bool) -> bool: ...
    # -- running
    def tick(self) -> None: ...
    def cron(self) -> None: ...
    def wake(self) -> None: ...  # makes a tick happen soon
    # -- hooks: Python callables, called with the GIL from the engine's thread
    on_commandlog: Callable[[int, Client, list[bytes], int], None] | None
    # kind (0 slow, 1 large request, 2 large reply), client, argv (trimmed), microseconds or bytes
    on_monitor: Callable[[Client, list[bytes]], None] | None
    on_latency: Callable[[str, int], None] | None  # event, ms
    on_row_failed: Callable[[Client | None, list[bytes], BaseException], None] | None  # a Python row raised

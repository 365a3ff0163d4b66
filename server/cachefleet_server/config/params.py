"""Every parameter: one row each.

    Param(name, kind, default, ...)

    alias       a second name, listed by CONFIG GET beside the first
    engine      field of params_t (core/engine.pxd) that follows the value
    immutable   CONFIG SET refuses it
    protected   CONFIG SET refuses it unless `enable-protected-configs` allows
    secret      its value may come from `<name>-file` and is never logged
    hidden      CONFIG GET shows it only when named exactly
    needs       what is not built yet: only the default is accepted, so that existing files start
    not_while   states of the server in which it cannot change, for people or for SIGHUP; see STATES
    unused      why nothing comes of it: any value is accepted, and one that is not the default is told in the log

Parameters without `engine` are read by the subsystem they belong to (`Config.flag/number/text/...`), which
subscribes to changes if it must act on them. Names, defaults, limits and texts are Valkey 9.1's.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cachefleet_parameters.kinds import (
    INT_MAX,
    INT_MIN,
    LONG_MAX,
    UINT_MAX,
    ULONG_MAX,
    Binary,
    Bool,
    Enum,
    Filename,
    Flags,
    Integer,
    IpAddress,
    KeyspaceEvents,
    Kind,
    Memory,
    Octal,
    OomScores,
    OutputLimits,
    ParameterError,
    Percentiles,
    Primary,
    SavePoints,
    Text,
    Words,
)
from cachefleet_server.config.engine_fields import POLICY_BITS

# States of a server, and what a change that is refused then is told. Clients may be paused, or the AOF rewritten, and
# every parameter may change: both are begun anew or hold what they have. While the server stops, none may.
LOADING, SAVING, STOPPING = "loading", "saving", "stopping"
STATES = {
    LOADING: "the dataset is being loaded",  # to clients as -LOADING
    SAVING: "a snapshot is being written; try again when it is done",
    STOPPING: "the server is shutting down",
}


@dataclass(frozen=True, slots=True)
class Folder(Text):
    """A folder that exists, kept as an absolute path; "" is the present one. Only a server knows which it has."""

    def parse(self, words: Sequence[str], old: Any) -> str:
        path = os.path.realpath(words[0] or ".")
        try:
            os.scandir(path).close()
        except OSError as error:
            raise ParameterError(error.strerror) from None
        return path


@dataclass(frozen=True, slots=True)
class Param:
    name: str
    kind: Kind
    default: str
    alias: str = ""
    engine: str = ""
    immutable: bool = False
    protected: bool = False
    secret: bool = False
    hidden: bool = False
    needs: str = ""
    unused: str = ""
    not_while: tuple[str, ...] = ()

    def refused_while(self, states: Collection[str]) -> str:
        """The first of these states in which it cannot change; "" when it can."""
        return next((state for state in states if state == STOPPING or state in self.not_while), "")

    @property
    def feature(self) -> str:
        """What it is for, when that is not built."""
        return self.needs or _FEATURES.get(self.unused, "")

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, self.alias) if self.alias else (self.name,)


_FEATURES: dict[str, str] = {}  # texts of `unused` -> the feature that is not built


def _without(feature: str, verb: str = "is") -> str:
    text = f"{feature} {verb} not supported by this version of the server"
    _FEATURES[text] = feature
    return text


_NO_ACL = _without("ACL rules", "are")
_NO_CLUSTER = _without("cluster mode")
_NO_DEFRAG = _without("active defragmentation")
_NO_MODULES = "modules are not supported by this server"
_NO_PINNING = "threads run where server-cpulist says"
_NO_RDMA = _without("RDMA")
_NO_REPL_DELAY = "a replica's snapshot begins at once"
_NO_SCRIPTS = _without("scripts", "are")
_NO_TLS = _without("TLS")
_NO_TYPE = _without("this data type")


def _unused(why: str, *rows: Param) -> tuple[Param, ...]:
    """The rows, marked where they say nothing else."""
    return tuple(row if row.engine or row.needs or row.unused else replace(row, unused=why) for row in rows)


_LONG = Integer(0, LONG_MAX)
_INT = Integer(0, INT_MAX)
_PORT = Integer(0, 65535)
_MEMORY = Memory()
_PROTECTION = Enum(("no", "yes", "local"))
_SHUTDOWN = Flags(
    ("save", "nosave", "now", "force", "safe", "failover"),
    "default",
    ("save", "nosave"),
    "shutdown options SAVE and NOSAVE can't be used simultaneously",
)
_NODE_NAME = r"[-A-Za-z0-9._:/\x80-\U0010ffff]+"
_TITLE = r"(?! *$)([^{]|\{(title|listen-addr|server-mode|port|tls-port|unixsocket|config-file)\})+"

_GENERAL = (
    Param("always-show-logo", Bool(), "no", immutable=True, unused="there is no logo"),
    Param("crash-log-enabled", Bool(), "yes"),
    Param("crash-memcheck-enabled", Bool(), "yes", unused="a crash report tests no memory"),
    Param("daemonize", Bool(), "no", immutable=True),
    Param("databases", Integer(1), "16", immutable=True),
    Param("disable-thp", Bool(), "yes", immutable=True),
    Param("enable-debug-command", _PROTECTION, "no", immutable=True),
    Param("enable-module-command", _PROTECTION, "no", immutable=True, unused=_NO_MODULES),
    Param("enable-protected-configs", _PROTECTION, "no", immutable=True),
    Param("extended-redis-compatibility", Bool(), "no", engine="extended_redis_compatibility"),
    Param("hash-seed", Text(), "", immutable=True, secret=True),
    Param("hz", Integer(0, INT_MAX, 1, 500), "10", engine="hz"),
    Param("ignore-warnings", Text(), "", unused="no warning stops the start"),
    Param("availability-zone", Binary(), ""),
    Param("locale-collate", Text(), ""),
    Param("pidfile", Text(), "", immutable=True),
    Param("proc-title-template", Text(_TITLE, "template format is invalid or contains unknown variables", empty=False),
          "{title} {listen-addr} {server-mode}"),
    Param("set-proc-title", Bool(), "yes", immutable=True),
    Param("supervised", Enum(("upstart", "systemd", "auto", "no")), "no", immutable=True),
    Param("server-cpulist", Text(), "", alias="server_cpulist", immutable=True),
    Param("bio-cpulist", Text(), "", alias="bio_cpulist", immutable=True, unused=_NO_PINNING),
    Param("bgsave-cpulist", Text(), "", alias="bgsave_cpulist", immutable=True, unused=_NO_PINNING),
    Param("aof-rewrite-cpulist", Text(), "", alias="aof_rewrite_cpulist", immutable=True, unused=_NO_PINNING),
    Param("io-threads", Integer(1, 256), "1", unused="one thread serves all connections"),
    Param("prefetch-batch-max-size", Integer(0, 128), "16", unused="the size of a batch is fixed"),
    Param("oom-score-adj", Enum(("no", "yes", "relative", "absolute")), "no"),
    Param("oom-score-adj-values", OomScores(), "0 200 800"),
    Param("shutdown-timeout", _INT, "10"),
    Param("shutdown-on-sigint", _SHUTDOWN, "default"),
    Param("shutdown-on-sigterm", _SHUTDOWN, "default"),
    Param("jemalloc-bg-thread", Bool(), "yes", unused="the server does not use jemalloc"),
    Param("import-mode", Bool(), "no", engine="import_mode"),
    Param("busy-reply-threshold", _LONG, "5000", alias="lua-time-limit", unused=_NO_SCRIPTS),
)

_LOGGING = (
    Param("loglevel", Enum(("debug", "verbose", "notice", "warning", "nothing")), "notice"),
    Param("logfile", Text(), "", immutable=True),
    Param("log-format", Enum(("legacy", "logfmt", "json")), "legacy"),
    Param("log-timestamp-format", Enum(("legacy", "iso8601", "milliseconds")), "legacy"),
    Param("hide-user-data-from-log", Bool(), "yes"),
    Param("syslog-enabled", Bool(), "no", immutable=True),
    Param("syslog-ident", Text(), "valkey", immutable=True),
    Param("syslog-facility", Enum(("user", *(f"local{i}" for i in range(8)))), "local0", immutable=True),
    Param("slowlog-log-slower-than", Integer(-1, LONG_MAX), "10000", alias="commandlog-execution-slower-than",
          engine="slowlog_log_slower_than"),
    Param("slowlog-max-len", _LONG, "128", alias="commandlog-slow-execution-max-len"),
    Param("commandlog-request-larger-than", Integer(-1, LONG_MAX), "1048576", engine="commandlog_request_larger_than"),
    Param("commandlog-large-request-max-len", _LONG, "128"),
    Param("commandlog-reply-larger-than", Integer(-1, LONG_MAX), "1048576", engine="commandlog_reply_larger_than"),
    Param("commandlog-large-reply-max-len", _LONG, "128"),
    Param("latency-monitor-threshold", _LONG, "0", engine="latency_monitor_threshold"),
    Param("latency-tracking", Bool(), "yes", engine="latency_tracking"),
    Param("latency-tracking-info-percentiles", Percentiles(), "50 99 99.9"),
)

_NETWORK = (
    Param("bind", Words(16, "Too many bind addresses specified."), "* -::*"),
    Param("bind-source-addr", Text(), ""),
    Param("port", _PORT, "6379"),
    Param("protected-mode", Bool(), "yes"),
    Param("maxclients", Integer(1, UINT_MAX), "10000", engine="maxclients"),
    Param("max-new-connections-per-cycle", Integer(1, 1000), "10"),
    Param("max-new-tls-connections-per-cycle", Integer(1, 1000), "1", unused=_NO_TLS),
    Param("mptcp", Bool(), "no", immutable=True),
    Param("socket-mark-id", Integer(0, UINT_MAX), "0", immutable=True),
    Param("tcp-backlog", _INT, "511", immutable=True),
    Param("tcp-keepalive", _INT, "300", engine="tcp_keepalive"),
    Param("timeout", _INT, "0", engine="timeout"),
    Param("unixsocket", Text(), "", immutable=True),
    Param("unixsocketgroup", Text(), "", immutable=True),
    Param("unixsocketperm", Octal(0, 0o777), "0", immutable=True),
    Param("client-output-buffer-limit", OutputLimits(),
          "normal 0 0 0 replica 256mb 64mb 60 pubsub 32mb 8mb 60", engine="output_limit"),
    Param("client-query-buffer-limit", Memory(1 << 20), "1gb", engine="client_query_buffer_limit"),
    Param("proto-max-bulk-len", Memory(1 << 20), "512mb", engine="proto_max_bulk_len"),
    Param("maxmemory-clients", Memory(percent=True), "0"),
    Param("tracking-table-max-keys", _LONG, "1000000", engine="tracking_max_keys"),
)

_ACCESS = (
    Param("acl-pubsub-default", Enum(("allchannels", "resetchannels")), "resetchannels", unused=_NO_ACL),
    Param("aclfile", Text(), "", immutable=True, needs="ACL files"),
    Param("acllog-max-len", _LONG, "128", unused=_NO_ACL),
    Param("requirepass", Binary(), "", secret=True),
)

_MEMORY_USE = (
    Param("maxmemory", Memory(high=ULONG_MAX), "0", engine="maxmemory"),
    Param("maxmemory-policy", Enum(tuple(POLICY_BITS)), "noeviction", engine="maxmemory_policy"),
    Param("maxmemory-samples", Integer(1, 64), "5", engine="maxmemory_samples"),
    Param("maxmemory-eviction-tenacity", Integer(0, 100), "10", engine="maxmemory_eviction_tenacity"),
    Param("lfu-decay-time", _INT, "1", engine="lfu_decay_time"),
    Param("lfu-log-factor", _INT, "10", engine="lfu_log_factor"),
    Param("lazyfree-lazy-eviction", Bool(), "yes", engine="lazyfree_lazy_eviction"),
    Param("lazyfree-lazy-expire", Bool(), "yes", engine="lazyfree_lazy_expire"),
    Param("lazyfree-lazy-server-del", Bool(), "yes", engine="lazyfree_lazy_server_del"),
    Param("lazyfree-lazy-user-del", Bool(), "yes", engine="lazyfree_lazy_user_del"),
    Param("lazyfree-lazy-user-flush", Bool(), "yes", engine="lazyfree_lazy_user_flush"),
    Param("active-expire-effort", Integer(1, 10), "1", engine="active_expire_effort"),
    Param("activerehashing", Bool(), "yes", engine="activerehashing"),
    Param("activedefrag", Bool(), "no", needs="active defragmentation"),
    Param("active-defrag-cycle-max", Integer(1, 99), "25", unused=_NO_DEFRAG),
    Param("active-defrag-cycle-min", Integer(1, 99), "1", unused=_NO_DEFRAG),
    Param("active-defrag-cycle-us", Integer(0, 100000), "500", unused=_NO_DEFRAG),
    Param("active-defrag-ignore-bytes", Memory(1), "100mb", unused=_NO_DEFRAG),
    Param("active-defrag-max-scan-fields", Integer(1, LONG_MAX), "1000", unused=_NO_DEFRAG),
    Param("active-defrag-threshold-lower", Integer(0, 1000), "10", unused=_NO_DEFRAG),
    Param("active-defrag-threshold-upper", Integer(0, 1000), "100", unused=_NO_DEFRAG),
)

_TYPES = _unused(
    _NO_TYPE,
    Param(
        "hash-max-listpack-entries", _LONG, "512", alias="hash-max-ziplist-entries",
        engine="hash_max_listpack_entries",
    ),
    Param(
        "hash-max-listpack-value", _MEMORY, "64", alias="hash-max-ziplist-value",
        engine="hash_max_listpack_value",
    ),
    Param(
        "list-max-listpack-size", Integer(INT_MIN), "-2", alias="list-max-ziplist-size",
        engine="list_max_listpack_size",
    ),
    Param("list-compress-depth", _INT, "0", engine="list_compress_depth"),
    Param("set-max-intset-entries", _LONG, "512", engine="set_max_intset_entries"),
    Param("set-max-listpack-entries", _LONG, "128", engine="set_max_listpack_entries"),
    Param("set-max-listpack-value", _LONG, "64", engine="set_max_listpack_value"),
    Param(
        "zset-max-listpack-entries", _LONG, "128", alias="zset-max-ziplist-entries",
        engine="zset_max_listpack_entries",
    ),
    Param(
        "zset-max-listpack-value", _MEMORY, "64", alias="zset-max-ziplist-value",
        engine="zset_max_listpack_value",
    ),
    Param("hll-sparse-max-bytes", _MEMORY, "3000", engine="hll_sparse_max_bytes"),
    Param("stream-node-max-bytes", _MEMORY, "4096", engine="stream_node_max_bytes"),
    Param("stream-node-max-entries", _LONG, "100", engine="stream_node_max_entries"),
    Param("notify-keyspace-events", KeyspaceEvents(), "", engine="notify_flags"),
)

_PERSISTENCE = (
    Param("dir", Folder(), "", protected=True, not_while=(LOADING, SAVING)),
    Param("dbfilename", Filename(complaint="dbfilename can't be a path, just a filename"), "dump.rdb", protected=True),
    Param("save", SavePoints(), "3600 1 300 100 60 10000"),
    Param("rdbcompression", Bool(), "yes"),
    Param("rdbchecksum", Bool(), "yes", immutable=True),
    Param("rdb-version-check", Enum(("strict", "relaxed")), "strict",
          unused="files of versions that are not known are always refused"),
    Param("rdb-del-sync-files", Bool(), "no", unused="a file that a snapshot came in is kept as the data, or removed"),
    Param("rdb-save-incremental-fsync", Bool(), "yes"),
    Param("rdb-key-save-delay", Integer(INT_MIN), "0", hidden=True, engine="rdb_key_save_delay"),
    Param("key-load-delay", Integer(INT_MIN), "0", hidden=True, engine="key_load_delay"),
    Param("loading-process-events-interval-bytes", Integer(1024, INT_MAX), "2097152", hidden=True,
          unused="clients are served after each slice of some milliseconds"),
    Param("stop-writes-on-bgsave-error", Bool(), "yes", engine="stop_writes_on_bgsave_error"),
    Param("appendonly", Bool(), "no", not_while=(LOADING,)),
    Param("appendfilename", Filename(complaint="appendfilename can't be a path, just a filename"),
          "appendonly.aof", immutable=True),
    Param("appenddirname", Filename(complaint="appenddirname can't be a path, just a dirname"),
          "appendonlydir", immutable=True),
    Param("appendfsync", Enum(("everysec", "always", "no")), "everysec"),
    Param("no-appendfsync-on-rewrite", Bool(), "no"),
    Param("auto-aof-rewrite-percentage", _INT, "100"),
    Param("auto-aof-rewrite-min-size", _MEMORY, "64mb"),
    Param("aof-load-truncated", Bool(), "yes"),
    Param("aof-use-rdb-preamble", Bool(), "yes"),
    Param("aof-timestamp-enabled", Bool(), "no"),
    Param("aof-rewrite-incremental-fsync", Bool(), "yes"),
)

_PRIMARY = (
    Param("min-replicas-max-lag", _INT, "10", alias="min-slaves-max-lag", engine="min_replicas_max_lag"),
    Param("min-replicas-to-write", _INT, "0", alias="min-slaves-to-write", engine="min_replicas_to_write"),
    Param("repl-backlog-size", Memory(1, clamp_low=16384), "10mb"),
    Param("repl-backlog-ttl", _LONG, "3600"),
    Param("repl-ping-replica-period", Integer(1), "10", alias="repl-ping-slave-period"),
    Param("repl-timeout", Integer(1), "60"),
)

_REPLICA = (
    Param("replicaof", Primary(), "", alias="slaveof", immutable=True),
    Param("primaryauth", Binary(), "", alias="masterauth", secret=True),
    Param("primaryuser", Text(), "", alias="masteruser"),
    Param("propagation-error-behavior", Enum(("ignore", "panic", "panic-on-replicas")), "ignore",
          unused="a replica that cannot execute its primary's command asks for all data anew"),
    Param("repl-disable-tcp-nodelay", Bool(), "no", unused="replicas get what they are sent at once"),
    Param("repl-diskless-load", Enum(("disabled", "on-empty-db", "swapdb", "flush-before-load")), "disabled",
          not_while=(LOADING,), unused="a snapshot goes to a file, and is loaded beside the data that are served"),
    Param("repl-diskless-sync", Bool(), "yes", unused="snapshots for replicas never go through a file"),
    Param("repl-diskless-sync-delay", _INT, "5", unused=_NO_REPL_DELAY),
    Param("repl-diskless-sync-max-replicas", _INT, "0", unused=_NO_REPL_DELAY),
    Param("repl-mptcp", Bool(), "no", immutable=True, unused=_without("multipath TCP")),
    Param("replica-announce-ip", Text(), "", alias="slave-announce-ip"),
    Param("replica-announce-port", _PORT, "0", alias="slave-announce-port"),
    Param("replica-announced", Bool(), "yes"),
    Param("replica-ignore-disk-write-errors", Bool(), "no",
          unused="a replica executes its primary's stream all the same"),
    Param("replica-ignore-maxmemory", Bool(), "yes", alias="slave-ignore-maxmemory",
          unused="a replica evicts nothing by itself"),
    Param("replica-lazy-flush", Bool(), "yes", alias="slave-lazy-flush",
          unused="a thread frees what a snapshot has replaced"),
    Param("replica-priority", _INT, "100", alias="slave-priority"),
    Param("replica-read-only", Bool(), "yes", alias="slave-read-only"),
    Param("replica-serve-stale-data", Bool(), "yes", alias="slave-serve-stale-data"),
    Param("dual-channel-replication-enabled", Bool(), "no", unused=_without("synchronising over two connections")),
)

_CLUSTER = _unused(
    _NO_CLUSTER,
    Param("cluster-enabled", Bool(), "no", immutable=True, needs="cluster mode"),
    Param("cluster-allow-pubsubshard-when-down", Bool(), "yes"),
    Param("cluster-allow-reads-when-down", Bool(), "no"),
    Param("cluster-allow-replica-migration", Bool(), "yes"),
    Param("cluster-announce-bus-port", _PORT, "0"),
    Param("cluster-announce-client-ipv4", IpAddress(4), ""),
    Param("cluster-announce-client-ipv6", IpAddress(6), ""),
    Param("cluster-announce-client-port", _PORT, "0"),
    Param("cluster-announce-client-tls-port", _PORT, "0"),
    Param("cluster-announce-hostname",
          Text(r"[-A-Za-z0-9.]+", "Hostnames may only contain alphanumeric characters, hyphens or dots",
               bytes_max=255, too_long="Hostnames must be less than 256 characters"), ""),
    Param("cluster-announce-human-nodename",
          Binary(_NODE_NAME, "Announced human node name contained invalid character"), ""),
    Param("cluster-announce-ip",
          Binary(_NODE_NAME, "cluster-announce-ip contains invalid character",
                 bytes_max=45, too_long="cluster-announce-ip is too long"), ""),
    Param("cluster-announce-port", _PORT, "0"),
    Param("cluster-announce-tls-port", _PORT, "0"),
    Param("cluster-blacklist-ttl", Integer(-LONG_MAX - 1, LONG_MAX), "60"),
    Param("cluster-config-file", Text(), "nodes.conf", immutable=True),
    Param("cluster-config-save-behavior", Enum(("sync", "best-effort")), "sync"),
    Param("cluster-databases", Integer(1), "1", immutable=True),
    Param("cluster-link-sendbuf-limit", Memory(high=ULONG_MAX), "0"),
    Param("cluster-manual-failover-timeout", Integer(1), "5000"),
    Param("cluster-migration-barrier", _INT, "1"),
    Param("cluster-node-timeout", _LONG, "15000"),
    Param("cluster-port", _PORT, "0", immutable=True),
    Param("cluster-preferred-endpoint-type", Enum(("ip", "hostname", "unknown-endpoint")), "ip"),
    Param("cluster-replica-no-failover", Bool(), "no", alias="cluster-slave-no-failover"),
    Param("cluster-replica-validity-factor", _INT, "10", alias="cluster-slave-validity-factor"),
    Param("cluster-require-full-coverage", Bool(), "yes"),
    Param("cluster-slot-migration-log-max-len", _LONG, "1000"),
    Param("cluster-slot-stats-enabled", Bool(), "no"),
    Param("slot-migration-max-failover-repl-bytes", Memory(-1), "0"),
)

_TLS = _unused(
    _NO_TLS,
    Param("tls-port", _PORT, "0", needs="TLS"),
    Param("tls-cluster", Bool(), "no", needs="TLS"),
    Param("tls-replication", Bool(), "no", needs="TLS"),
    Param("tls-auth-clients", Enum(("no", "yes", "optional")), "yes"),
    Param("tls-auth-clients-user", Enum(("CN", "URI", "off")), "off"),
    Param("tls-auto-reload-interval", _INT, "0"),
    *(Param(f"tls-{name}", Text(), "") for name in (
        "ca-cert-dir", "ca-cert-file", "cert-file", "ciphers", "ciphersuites", "client-cert-file", "client-key-file",
        "dh-params-file", "key-file", "protocols",
    )),
    Param("tls-client-key-file-pass", Text(), "", secret=True),
    Param("tls-key-file-pass", Text(), "", secret=True),
    Param("tls-prefer-server-ciphers", Bool(), "no"),
    Param("tls-session-cache-size", _INT, "20480"),
    Param("tls-session-cache-timeout", _INT, "300"),
    Param("tls-session-caching", Bool(), "yes"),
    Param("rdma-bind", Words(16), "", needs="RDMA"),
    Param("rdma-completion-vector", Integer(-1, 1024), "-1", immutable=True, unused=_NO_RDMA),
    Param("rdma-port", _PORT, "0", needs="RDMA"),
    Param("rdma-rx-size", Integer(65536, 16777216), "1048576", immutable=True, unused=_NO_RDMA),
)

# Parameters that Valkey does not have.
OURS: tuple[Param, ...] = (
    Param("cdc-retention-bytes", _MEMORY, "0"),
    Param("cdc-retention-seconds", _LONG, "0"),
    Param("durability-timeout", Integer(0), "10000", engine="durability_timeout"),
    Param("managed", Bool(), "no", immutable=True),
    Param("metrics-bind", Text(), "", immutable=True),
    Param("metrics-port", _PORT, "0", immutable=True),
    Param("metrics-streams", Words(64), ""),  # keys, of database n as "dbn=key"
)

PARAMS: tuple[Param, ...] = (
    *OURS,
    *_GENERAL, *_LOGGING, *_NETWORK, *_ACCESS, *_MEMORY_USE, *_TYPES,
    *_PERSISTENCE, *_PRIMARY, *_REPLICA, *_CLUSTER, *_TLS,
)

# Accepted in files and on the command line and not acted upon: parameters of older or other servers.
IGNORED = frozenset((
    "list-max-ziplist-entries", "list-max-ziplist-value", "lua-replicate-commands", "dynamic-hz",
    "io-threads-do-reads", "sanitize-dump-payload", "aof-disable-auto-gc", "cluster-compatibility-sample-ratio",
    "replica-full-sync-buffer-limit",
))

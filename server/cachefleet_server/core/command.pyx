"""The command table: registration of rows and lookup by name; see command.pxd.

A row owns its name, its subcommand array and one reference each to its `CommandSpec` and, for Python rows, to the
callable. Rows live as long as the engine.

Lookup is on the hot path: names of up to 8 letters (all the frequent ones) go through a direct-mapped cache of 256
slots, keyed by the name's bytes folded to lower case with one OR. Folding is exact for letters only, so other names
take the hash table.
"""

from cpython.ref cimport Py_INCREF, Py_XDECREF, PyObject
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from cachefleet_server.core.engine cimport (
    CMD_ADMIN, CMD_ALLOW_BUSY, CMD_ASKING, CMD_BLOCKING, CMD_CONTAINER, CMD_DENYOOM, CMD_FAST, CMD_LISTENER,
    CMD_LOADING, CMD_MAY_REPLICATE, CMD_MAY_WAIT, CMD_MODULE, CMD_MOVABLEKEYS, CMD_NO_ASYNC_LOADING, CMD_NO_AUTH,
    CMD_NO_MANDATORY_KEYS, CMD_NO_MULTI, CMD_NOSCRIPT, CMD_PUBSUB, CMD_READONLY, CMD_SKIP_MONITOR, CMD_SKIP_SLOWLOG,
    CMD_STALE, CMD_TRANSACTION, CMD_WRITE)
from cachefleet_server.core.keys cimport keys_compile, keys_free
from cachefleet_server.core.options cimport options_compile
from cachefleet_server.ds.hash cimport hash_bytes
from cachefleet_server.ds.hashtable cimport ht_find, ht_insert, ht_new
from cachefleet_server.ds.intrin cimport cf_load32

from cachefleet_server import command_keys, command_spec, command_syntax

cdef enum:
    NAME_MAX = 64  # bytes; longer names are no commands

FLAG_BITS = {
    "write": CMD_WRITE, "readonly": CMD_READONLY, "denyoom": CMD_DENYOOM, "module": CMD_MODULE, "admin": CMD_ADMIN,
    "pubsub": CMD_PUBSUB, "noscript": CMD_NOSCRIPT, "blocking": CMD_BLOCKING, "loading": CMD_LOADING,
    "stale": CMD_STALE, "skip_monitor": CMD_SKIP_MONITOR, "skip_commandlog": CMD_SKIP_SLOWLOG, "asking": CMD_ASKING,
    "fast": CMD_FAST, "no_auth": CMD_NO_AUTH, "may_replicate": CMD_MAY_REPLICATE,
    "no_async_loading": CMD_NO_ASYNC_LOADING, "no_multi": CMD_NO_MULTI, "movablekeys": CMD_MOVABLEKEYS,
    "allow_busy": CMD_ALLOW_BUSY, "no_mandatory_keys": CMD_NO_MANDATORY_KEYS, "container": CMD_CONTAINER,
}

COLLECTIONS = frozenset(("hash", "list", "set", "sortedset", "geo", "stream"))  # ACL categories

RUN_INSIDE_MULTI = frozenset((b"exec", b"discard", b"multi", b"watch", b"quit", b"reset"))
OF_LISTENERS = frozenset((
    b"subscribe", b"unsubscribe", b"psubscribe", b"punsubscribe", b"ssubscribe", b"sunsubscribe", b"ping", b"quit",
    b"reset"))

cdef const char* name_of(const void* element, size_t* n) noexcept nogil:
    n[0] = (<command_t*>element).name_len
    return (<command_t*>element).name


cdef command_t* command_row(
    engine_t* e, command_fn fn, str name, int arity, str flags, str acl, str keys, str about, str summary, str syntax,
) except NULL:
    spec = command_spec.row(name, arity, flags, acl, keys, about, summary, syntax)
    return _add(e, fn, None, spec)


cdef command_t* command_python_row(engine_t* e, object callback, object spec, bint may_wait) except NULL:
    cdef command_t* row
    if may_wait and not spec.flags >= {"no_multi", "noscript"}:
        raise ValueError(f"command {spec.name!r} may wait, so it must be no_multi and noscript")
    row = _add(e, NULL, callback, spec)
    if may_wait:
        row.flags |= CMD_MAY_WAIT
    return row


cdef command_t* _add(engine_t* e, command_fn fn, object callback, object spec) except NULL:
    cdef bytes name = spec.name.encode("ascii")
    cdef command_t* parent = NULL
    cdef command_t* row
    if len(name) > NAME_MAX or _find_exact(e, name) != NULL:
        raise ValueError(f"command {spec.name!r} is registered already, or its name is too long")
    if b"|" in name:
        container = name.split(b"|")[0]
        parent = _find_exact(e, container)
        if parent == NULL or not parent.flags & CMD_CONTAINER:
            raise ValueError(f"command {spec.name!r} has no container row before it")
    row = <command_t*>calloc(1, sizeof(command_t))
    if row == NULL:
        raise MemoryError
    row.name = _copy_name(name)
    row.name_len = <unsigned short>len(name)
    row.arity = spec.arity
    for flag in spec.flags:
        row.flags |= <uint64_t>FLAG_BITS[flag]
    if name in RUN_INSIDE_MULTI:
        row.flags |= CMD_TRANSACTION
    if name in OF_LISTENERS:
        row.flags |= CMD_LISTENER
    row.acl_categories = command_spec.category_bits(spec)
    row.keys.first, row.keys.last, row.keys.step, row.keys.count_at = command_keys.fetched_ahead(spec)
    row.on_collections = not spec.acl.isdisjoint(COLLECTIONS)
    if row.on_collections:
        row.elements.first, row.elements.last, row.elements.step = command_syntax.element_range(spec.syntax)
    keys_compile(row, spec)
    row.fn = fn
    if fn != NULL:
        options_compile(row, spec.syntax)
    row.parent = parent
    Py_INCREF(spec)
    row.spec = <PyObject*>spec
    if callback is not None:
        Py_INCREF(callback)
        row.callback = <PyObject*>callback
    if name == b"exec":
        e.commands.exec = row
    elif name == b"discard":
        e.commands.discard = row
    elif name == b"ping":
        e.commands.ping = row
    row.id = e.commands.count
    e.commands.rows = <command_t**>realloc(e.commands.rows, (e.commands.count + 1) * sizeof(command_t*))
    e.commands.rows[e.commands.count] = row
    e.commands.count += 1
    if parent != NULL:
        parent.subcommands = <command_t**>realloc(
            parent.subcommands, (parent.subcommand_count + 1) * sizeof(command_t*))
        parent.subcommands[parent.subcommand_count] = row
        parent.subcommand_count += 1
    if e.commands.names == NULL:
        e.commands.names = ht_new(e.heap, name_of, &e.seed)
    ht_insert(e.commands.names, row, hash_bytes(row.name, row.name_len, &e.seed))
    return row


cdef char* _copy_name(bytes name) except NULL:
    cdef char* p = <char*>malloc(len(name) + 1)
    if p == NULL:
        raise MemoryError
    memcpy(p, <const char*>name, len(name) + 1)
    return p


cdef command_t* _find_exact(engine_t* e, bytes name) noexcept:
    if e.commands.names == NULL:
        return NULL
    return <command_t*>ht_find(e.commands.names, name, len(name), hash_bytes(name, len(name), &e.seed))


cdef inline bint _cache_key(const char* p, size_t n, uint64_t* key) noexcept nogil:
    """The folded bytes of a name of 1 to 8 bytes: equal keys and lengths mean equal names, for letters."""
    if n >= 4:
        if n > 8:
            return False
        key[0] = cf_load32(p) | (<uint64_t>cf_load32(p + n - 4) << 32)
    elif n > 0:
        key[0] = <unsigned char>p[0] | (<uint64_t>(<unsigned char>p[n >> 1]) << 8) \
            | (<uint64_t>(<unsigned char>p[n - 1]) << 16)
    else:
        return False
    key[0] = (key[0] | <uint64_t>0x2020202020202020) ^ (<uint64_t>n << 61)
    return True


cdef bint _all_letters(const char* p, size_t n) noexcept nogil:
    cdef size_t i
    for i in range(n):
        if not (b"a"[0] <= (p[i] | 0x20) <= b"z"[0]):
            return False
    return True


cdef command_t* command_find(engine_t* e, const char* name, size_t n) noexcept nogil:
    cdef uint64_t key = 0
    cdef unsigned int slot = 0
    cdef bint cacheable = _cache_key(name, n, &key)
    cdef char lower[NAME_MAX]
    cdef size_t i
    cdef command_t* row
    if cacheable:
        slot = <unsigned int>((key * <uint64_t>0x9E3779B97F4A7C15) >> 56)
        row = e.commands.cache[slot]
        if row != NULL and e.commands.cache_keys[slot] == key and row.name_len == n:
            return row
    if n > NAME_MAX or n == 0:
        return NULL
    for i in range(n):
        lower[i] = name[i] | 0x20 if b"A"[0] <= name[i] <= b"Z"[0] else name[i]
        if lower[i] == b"|"[0]:
            return NULL  # subcommands are found through their container
    row = <command_t*>ht_find(e.commands.names, lower, n, hash_bytes(lower, n, &e.seed))
    if row != NULL and cacheable and _all_letters(name, n):
        e.commands.cache_keys[slot] = key
        e.commands.cache[slot] = row
    return row


cdef command_t* command_find_sub(command_t* container, const char* name, size_t n) noexcept nogil:
    cdef int i
    cdef size_t k
    cdef size_t prefix = container.name_len + 1
    cdef command_t* row
    cdef char ch
    for i in range(container.subcommand_count):
        row = container.subcommands[i]
        if row.name_len != prefix + n:
            continue
        for k in range(n):
            ch = name[k] | 0x20 if b"A"[0] <= name[k] <= b"Z"[0] else name[k]
            if ch != row.name[prefix + k]:
                break
        else:
            return row
    return NULL


cdef void commands_free(engine_t* e) noexcept:
    cdef int i
    cdef command_t* row
    for i in range(e.commands.count):
        row = e.commands.rows[i]
        Py_XDECREF(<PyObject*>row.spec)
        Py_XDECREF(<PyObject*>row.callback)
        keys_free(row)
        free(<void*>row.name)
        free(row.subcommands)
        free(row.options)
        free(row)
    free(e.commands.rows)
    e.commands.rows = NULL
    e.commands.count = 0

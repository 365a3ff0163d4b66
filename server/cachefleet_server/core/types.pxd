"""Data types: a type is one file that ends with one row, `type_ops_t`; TYPE, OBJECT ENCODING, SCAN TYPE, DUMP, RDB
files, AOF bases, COPY, DEBUG DIGEST, MEMORY USAGE, lazy freeing and checking follow from it.

    cdef int register_thing(engine_t* e) except -1:
        cdef type_ops_t* row = type_row(e, OBJ_THING)
        row.name = b"thing"
        ...
        type_register(e, OBJ_THING)
        command_row(...)

A value lies in its entry (E_EMBED), or it is a *payload*: what the entry's pointer leads to. A payload's first word
counts its owners (a blob's does, too): the entry, and a snapshot that still has to save it. So DEL, SET, FLUSHALL,
RENAME and expiry of a value that is being saved cost what they always do, and whoever lets go last frees it.

Contracts of the row (NULL only where said):

- free_fn(ops, h, entry)    frees the payload, of which this was the last owner, on heap `h` alone, which may be that of
                            a job of the helper thread: no engine is at hand. The entry's own bytes are the caller's.
- effort_fn(entry)          how many allocations freeing it would free, O(1). Above LAZYFREE_EFFORT the helper does it.
- dup_fn(e, entry, key)     a copy under another key, without expiry (COPY).
- memory_fn(e, entry, n)    bytes of the payload, estimated from n elements (0: all).
- digest_fn(e, entry, d)    mixes the value into a digest as Valkey does (core/digest.pxd).
- check_fn(e, entry)        0, or the number of the first broken invariant. May be NULL.
- load_fn(e, in, byte, key) an entry from one of the type's RDB type bytes; the bytes are untrusted. NULL after an
                            error, for which in.error is set (RDB_ERROR_SHORT if not).
- dialect_fn(entry)         the oldest dialect that can hold all of it (core/rdb.pxd). NULL: RDB_DIALECT_REDIS70.
                            `newer` counts values that need RDB_DIALECT_VALKEY, so that a file's dialect is known before
                            its first record: load_fn, dup_fn and commands add to it, free_fn subtracts (cf_atomic_add:
                            free_fn may be on the helper). Members that expire are counted by keyspace/member_expiry.
- rdb_type_fn(entry, d)     the type byte in this dialect.
- save_size_fn(entry)       about how many bytes its record has, O(1). Above SAVE_AT_ONCE a snapshot does not save it
                            at once but holds it. NULL: never.

Saving is one walk for all purposes, in three parts:

- save_begin_fn(s)          O(1), writes nothing. The record will have the type byte s.rdb_type, which rdb_type_fn gave
                            just now, whatever becomes of the value. If `s.held`, the value must stay what it is now
                            *for s*, while commands go on changing it: from here to the end, whatever is about to change
                            an element first writes it to save_out(s) (a table does so by ht_freeze_begin, chain by
                            chain), or leaves the old nodes to s and changes copies (nodes with a count of owners).
                            Commands need no call of their own: the structure knows that it is frozen, as the table of
                            keys does.
- save_step_fn(s)           writes about SAVE_STEP bytes at most, besides one element, to save_out(s), looking at a
                            bounded number of places; true while more is left. The first step of an RDB record begins
                            with the count of elements *at the beginning*. What the structure wrote by itself before
                            that is put behind the first step, so its order must not matter. As commands
                            (`s.commands`), each write to save_out is of whole commands (resp/command.pxd).
- save_end_fn(s)            after the last step, or early. Thaws. The entry is freed by the caller.
save_begin_fn and save_end_fn may be NULL.

Prefetching. Before a batch of requests is executed, the entries of its keys are fetched; then, for commands on
collections, what they will touch behind those:

- prefetch_fn(e, entry, p, step)  step 0: the entry is in the cache; what its value begins with is asked for
                            (cf_prefetch, cf_fetch), nothing of it read. Step n + 1: what step n asked for may be read,
                            to ask for what it leads to. False: that was the last step. All requests of the batch take
                            a step before any takes the next. The entry may be another one than the request's, of the
                            same tag, and any command may come: arguments are looked at as far as `p.cmd.elements` says
                            that they name elements (prefetch_last). Nothing is changed but an argument's hash (the
                            engine's seed), which the command finds computed. NULL: nothing lies behind an entry.
"""

from cachefleet_server.core.engine cimport arg_t, batched_t, engine_t, rdb_out_t, save_t, type_ops_t
from cachefleet_server.core.entry cimport E_EMBED, OBJ_STRING, entry_payload, entry_t, entry_type
from cachefleet_server.ds.intrin cimport cf_ref_add, cf_ref_drop, cf_ref_get
from cachefleet_server.ds.zmalloc cimport heap_t

cdef enum:
    SAVE_STEP = 16384  # bytes that one step of saving writes, besides one element
    SAVE_AT_ONCE = 16384  # bytes of a record up to which a snapshot saves a value with its chain

cdef void types_init(engine_t* e) noexcept nogil
    # Strings, and the names of the field's other types: SCAN TYPE knows them before they exist here.
cdef inline type_ops_t* type_row(engine_t* e, int type) noexcept nogil:
    """The row to fill in; then type_register."""
    return &e.types[type]
cdef void type_register(engine_t* e, int type) noexcept nogil  # aborts when the row lacks something
cdef int type_named(engine_t* e, const char* name, size_t n) noexcept nogil  # OBJ_*, in any case; -1: unknown
cdef const char* entry_encoding_name(engine_t* e, const entry_t* entry) noexcept nogil

cdef inline type_ops_t* entry_ops(engine_t* e, const entry_t* entry) noexcept nogil:
    return &e.types[entry_type(entry)]

cdef inline size_t* _owners(const entry_t* entry) noexcept nogil:
    return <size_t*>entry_payload(entry)[0]

cdef inline bint value_is_shared(const entry_t* entry) noexcept nogil:
    """Has a collection another owner, a snapshot? False for strings, whose payload may be a number."""
    return not entry.flags & E_EMBED and entry_type(entry) != OBJ_STRING and cf_ref_get(_owners(entry)) > 1

cdef inline void value_release(type_ops_t* ops, heap_t* h, entry_t* entry) noexcept nogil:
    """A collection's entry lets go of its value, on any thread with that thread's heap; its shell is left."""
    if not entry.flags & E_EMBED and cf_ref_drop(_owners(entry)):
        ops.free_fn(ops, h, entry)

cdef inline size_t value_effort(const type_ops_t* ops, const entry_t* entry) noexcept nogil:
    """Allocations that freeing the entry's value would free now."""
    if entry.flags & E_EMBED or value_is_shared(entry):
        return 1
    return ops.effort_fn(entry)

cdef entry_t* entry_share(engine_t* e, const entry_t* entry) noexcept nogil
    # Another entry for the same payload of a collection, with the same key, expiry and LRU bits: one owner more.

# Saving.
cdef void save_init(
    save_t* s, engine_t* e, const entry_t* entry, rdb_out_t* out, bint commands) noexcept nogil
cdef void save_begin(save_t* s) noexcept nogil
cdef bint save_step(save_t* s) noexcept nogil  # true while more is left
cdef void save_end(save_t* s) noexcept nogil
cdef void save_whole(engine_t* e, const entry_t* entry, rdb_out_t* out, bint commands) noexcept nogil  # at once

cdef inline arg_t* prefetch_last(const batched_t* p) noexcept nogil:
    """The last argument that names an element, for prefetch_fn; NULL: none does. Those before it are
    p.cmd.elements.step apart, down to p.request.argv + p.cmd.elements.first."""
    cdef int at = p.cmd.elements.last + (p.request.argc if p.cmd.elements.last < 0 else 0)
    if p.cmd.elements.step == 0 or at < p.cmd.elements.first or at >= p.request.argc:
        return NULL
    return &p.request.argv[at]

cdef inline rdb_out_t* save_out(save_t* s) noexcept nogil:
    """Where the next group of elements goes; asked for anew for each. NULL: nothing is wanted any more."""
    return s.out if s.out_fn == NULL else s.out_fn(s)

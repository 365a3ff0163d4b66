"""Tables of members, their saving, and small collections in entries, as Python classes; not part of wheels."""

from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memmove

from cachefleet_server.core.bytes_value cimport (
    bytes_close, bytes_data, bytes_dup, bytes_from_pointer, bytes_memory, bytes_new, bytes_open, bytes_to_pointer,
    bytes_view)
from cachefleet_server.core.engine cimport engine_t, rdb_in_t, rdb_out_t, save_t
from cachefleet_server.core.entry cimport (
    E_EMBED, ENC_HASHTABLE, ENC_LISTPACK, OBJ_HASH, OBJ_SET, OBJ_ZSET, entry_check, entry_encoding, entry_free_shell,
    entry_key, entry_new_pointer, entry_payload, entry_t)
from cachefleet_server.core.members cimport *
from cachefleet_server.core.members_saving cimport (
    members_put_t, members_save_begin, members_save_end, members_save_step)
from cachefleet_server.core.members_walk cimport members_pick, members_random, members_walk, members_walk_all, seen_t
from cachefleet_server.core.rdb cimport (
    RDB_DIALECT_REDIS, rdb_get_length, rdb_get_string, rdb_in_init, rdb_out_free, rdb_out_init, rdb_put_string)
from cachefleet_server.core.types cimport save_init
from cachefleet_server.ds.blob cimport blob_t
from cachefleet_server.ds.buf cimport buf_t
from cachefleet_server.ds.bucket cimport slot_get
from cachefleet_server.ds.member cimport (
    MEMBER_HASH, MEMBER_TTL, MEMBER_ZSET, member_expiry, member_key, member_memory, member_new, member_score,
    member_set_expiry, member_set_form, member_set_score, member_set_value, member_value)
from cachefleet_server.ds.owners cimport owner_add, owner_drop
from cachefleet_server.ds.zmalloc cimport heap_free, heap_new, heap_t, heap_used, zfree
from cachefleet_server.resp.command cimport command_word


cdef class _Engine:
    """An engine_t that is a heap and a seed."""

    cdef engine_t* e

    def __cinit__(self, *_, **__):
        self.e = <engine_t*>calloc(1, sizeof(engine_t))
        self.e.heap = heap_new()
        self.e.seed.a = 7
        self.e.seed.b = 9

    def __dealloc__(self):
        heap_free(self.e.heap)
        free(self.e)

    @property
    def used(self): return heap_used(self.e.heap)


# ---- a table of members ------------------------------------------------------------------------------

cdef tuple _item(members_t* m, const void* word):
    """(key, value or score or b"", expiry or None)"""
    cdef int form = word_form(word, m.form)
    cdef const void* member = word_member(word)
    cdef size_t n
    cdef const char* p = member_key(member, form, &n)
    key = p[:n]
    value = b""
    if form & MEMBER_HASH:
        p = member_value(member, form, &n)
        value = p[:n]
    elif form & MEMBER_ZSET:
        value = member_score(member, form)
    return key, value, member_expiry(member) if form & MEMBER_TTL else None


cdef struct collecting_t:
    members_t* members
    void* found  # list


cdef void _collect(void* ctx, void* word) noexcept with gil:
    cdef collecting_t* collecting = <collecting_t*>ctx
    (<list>collecting.found).append(_item(collecting.members, word))


cdef struct seeing_t:
    int form
    void* found  # list


cdef tuple _seen(int form, const seen_t* seen):
    """(key, value or score or b"")"""
    key = seen.key.str[:seen.key.len]
    if form == MEMBER_HASH:
        return key, seen.value.str[:seen.value.len]
    return key, seen.score if form == MEMBER_ZSET else b""


cdef void _see(void* ctx, const seen_t* seen) noexcept with gil:
    cdef seeing_t* seeing = <seeing_t*>ctx
    (<list>seeing.found).append(_seen(seeing.form, seen))


cdef void _put(rdb_out_t* out, const members_t* m, const void* word) noexcept nogil:
    cdef size_t n
    cdef const char* p = member_key(word_member(word), word_form(word, m.form), &n)
    rdb_put_string(out, p, n)


cdef void _put_words(buf_t* buf, const members_t* m, const void* word) noexcept nogil:
    cdef size_t n
    cdef const char* p = member_key(word_member(word), word_form(word, m.form), &n)
    command_word(buf, p, n)


cdef void _put_more(save_t* s, rdb_out_t* out, const members_t* m, void** words, int n) noexcept nogil:
    command_word(&out.buf, b"MORE", 4)


cdef members_put_t _PUT
_PUT.command = b"ADD"
_PUT.words = 1
_PUT.put_fn = _put
_PUT.put_words_fn = _put_words
_PUT.put_more_fn = NULL
cdef members_put_t _PUT_MORE = _PUT
_PUT_MORE.put_more_fn = _put_more


cdef class Members(_Engine):
    """One entry with a table of members. Every change is one that a command may make."""

    cdef members_t* m
    cdef entry_t* entry
    cdef save_t saving
    cdef rdb_out_t out
    cdef bint is_saving

    def __init__(self, int form, size_t room=0):
        self.m = members_new(self.e, form, room)
        self.e.rng = 1
        type = OBJ_HASH if form == MEMBER_HASH else OBJ_ZSET if form == MEMBER_ZSET else OBJ_SET
        self.entry = entry_new_pointer(self.e.heap, b"key", 3, type, ENC_HASHTABLE, self.m, -1)

    def close(self, bint remote=False):
        """Frees all; bytes that are left."""
        cdef heap_t own
        if self.m != NULL:
            own.used = own.freed_remote = 0
            own.slab = NULL
            members_free(&own if remote else self.e.heap, self.m)
            self.e.heap.used += own.used
            entry_free_shell(self.e.heap, self.entry)
            self.m = NULL
        return self.used

    def __len__(self): return members_len(self.m)

    cdef uint64_t _hash(self, bytes key):
        return members_hash(self.m, key, len(key))

    cdef int _form(self, expiry):
        return self.m.form | (0 if expiry is None else MEMBER_TTL)

    def insert(self, bytes key, value=b"", expiry=None):
        cdef int form = self._form(expiry)
        cdef bytes text = value if form & MEMBER_HASH else b""
        cdef void* member = member_new(self.e.heap, form, key, len(key), text, len(text))
        if form & MEMBER_ZSET:
            member_set_score(member, form, value)
        if form & MEMBER_TTL:
            member_set_expiry(member, expiry)
        members_insert(self.m, member, form, self._hash(key))

    def find(self, bytes key):
        cdef void* word = members_find(self.m, key, len(key), self._hash(key))
        return None if word == NULL else _item(self.m, word)

    def remove(self, bytes key):
        cdef void* word = members_take(self.m, key, len(key), self._hash(key))
        if word == NULL:
            return None
        item = _item(self.m, word)
        members_drop(self.e.heap, self.m, word)
        return item

    cdef ht_slot_t _slot(self, bytes key) except 0:
        cdef uint64_t hash = self._hash(key)
        members_announce(self.m, hash)
        return members_find_slot(self.m, key, len(key), hash)

    def set_value(self, bytes key, bytes value):
        """Of a hash."""
        cdef ht_slot_t slot = self._slot(key)
        cdef void* word = slot_get(slot)
        cdef int form = word_form(word, self.m.form)
        cdef size_t before = member_memory(word_member(word), form)
        members_untime(self.m, word)
        members_store(
            self.m, slot, before, member_set_value(self.e.heap, word_member(word), form, value, len(value)), form)

    def set_expiry(self, bytes key, expiry):
        cdef ht_slot_t slot = self._slot(key)
        cdef void* word = slot_get(slot)
        cdef void* member = word_member(word)
        cdef int form = word_form(word, self.m.form)
        cdef int wanted = self._form(expiry)
        cdef size_t before = member_memory(member, form)
        members_untime(self.m, word)
        if form != wanted:
            member = member_set_form(self.e.heap, member, form, wanted)
        if expiry is not None:
            member_set_expiry(member, expiry)
        members_store(self.m, slot, before, member, wanted)

    def items(self):
        cdef collecting_t collecting
        found = []
        collecting.members = self.m
        collecting.found = <void*>found
        members_each(self.m, _collect, &collecting)
        return found

    def replace_by_copy(self):
        cdef members_t* copy = members_dup(self.e, self.m)
        members_free(self.e.heap, self.m)
        self.m = copy
        entry_payload(self.entry)[0] = copy

    @property
    def memory(self): return members_memory(self.m)

    def check(self):
        cdef int wrong = members_check(self.m)
        assert wrong == 0 or (wrong == 2 and len(self) == 0), f"broken invariant {wrong}"

    # -- walks and random members, without those whose time is up

    def walk(self, int64_t now_ms):
        cdef seeing_t seeing
        found = []
        seeing.form = self.m.form
        seeing.found = <void*>found
        members_walk_all(self.entry, now_ms, _see, &seeing)
        return found

    def walk_step(self, uint64_t cursor):
        cdef seeing_t seeing
        found = []
        seeing.form = self.m.form
        seeing.found = <void*>found
        return members_walk(self.entry, cursor, -1, _see, &seeing), found

    def pick(self, size_t n, int64_t now_ms=-1):
        cdef seeing_t seeing
        found = []
        seeing.form = self.m.form
        seeing.found = <void*>found
        members_pick(self.e, self.entry, n, now_ms, _see, &seeing)
        return found

    def random(self, int64_t now_ms=-1):
        cdef seen_t seen
        if members_random(self.entry, &self.e.rng, now_ms, &seen):
            return _seen(self.m.form, &seen)
        return None

    # -- saving

    def save_begin(self, bint held, bint commands, bint more=False):
        rdb_out_init(&self.out, self.e.heap, RDB_DIALECT_REDIS)
        save_init(&self.saving, self.e, self.entry, &self.out, commands)
        self.saving.held = held
        members_save_begin(&self.saving, &_PUT_MORE if more else &_PUT)
        self.is_saving = True

    def save_step(self):
        """(whether there is more, bytes that it wrote)"""
        cdef size_t before = self.out.buf.len
        self.saving.written = 0
        more = members_save_step(&self.saving)
        return bool(more), self.out.buf.len - before

    def save_end(self):
        """What was written."""
        members_save_end(&self.saving)
        data = (<char*>self.out.buf.data)[:self.out.buf.len]
        rdb_out_free(&self.out)
        self.is_saving = False
        return data


def read_strings(bytes data, size_t skip):
    """Of an RDB record: the length code that stands `skip` bytes from its begin, and the strings around it."""
    cdef rdb_in_t source
    cdef heap_t* heap = heap_new()
    cdef const char* begin = data
    cdef size_t n
    cdef char* p
    cdef uint64_t count = 0
    found = []
    rdb_in_init(&source, heap, begin, len(data))
    while source.p < source.end and source.error == NULL:
        if source.p == <const unsigned char*>begin + skip:
            count = rdb_get_length(&source, NULL)
            continue
        p = rdb_get_string(&source, &n)
        if p != NULL:
            found.append(p[:n])
            zfree(heap, p)
    assert source.error == NULL, source.error
    heap_free(heap)
    return count, found


# ---- small collections -------------------------------------------------------------------------------

cdef class Bytes(_Engine):
    """One entry whose value is a run of bytes."""

    cdef entry_t* entry
    cdef blob_t* shared

    def __init__(self, bytes key, bytes value, int64_t expire_ms=-1):
        self.entry = bytes_new(
            self.e, key, len(key), OBJ_SET, ENC_LISTPACK, value, len(value), expire_ms)

    def close(self):
        if self.entry != NULL:
            self.release()
            if not self.entry.flags & E_EMBED:
                owner_drop(self.e.heap, entry_payload(self.entry)[0])
            entry_free_shell(self.e.heap, self.entry)
            self.entry = NULL
        return self.used

    def splice(self, size_t at, size_t cut, bytes put):
        cdef size_t n
        cdef size_t grown
        cdef char* p
        bytes_view(self.entry, &n)
        grown = n - cut + len(put)
        self.entry = bytes_open(self.e, self.entry, max(n, grown))
        p = bytes_data(self.entry)
        memmove(p + at + len(put), p + at + cut, n - at - cut)
        memcpy(p + at, <const char*>put, len(put))
        self.entry = bytes_close(self.e, self.entry, grown)

    @property
    def value(self):
        cdef size_t n
        cdef const char* p = bytes_view(self.entry, &n)
        return p[:n]

    @property
    def key(self):
        cdef size_t n
        cdef const char* p = entry_key(self.entry, &n)
        return p[:n]

    @property
    def embedded(self): return bool(self.entry.flags & E_EMBED)

    @property
    def memory(self): return bytes_memory(self.entry)

    def share(self):
        """As a snapshot does: the value, from now on."""
        self.release()
        if not self.entry.flags & E_EMBED:
            self.shared = <blob_t*>entry_payload(self.entry)[0]
            owner_add(self.shared)

    @property
    def shared_value(self):
        return None if self.shared == NULL else (&self.shared.data[0])[:self.shared.len]

    def release(self):
        owner_drop(self.e.heap, self.shared)
        self.shared = NULL

    def replace_by_copy(self, bytes key):
        cdef entry_t* copy = bytes_dup(self.e, self.entry, key, len(key))
        if not self.entry.flags & E_EMBED:
            owner_drop(self.e.heap, entry_payload(self.entry)[0])
        entry_free_shell(self.e.heap, self.entry)
        self.entry = copy

    def to_pointer_and_back(self):
        """Into a table, which stays empty."""
        cdef bytes value = self.value
        cdef members_t* m = members_new(self.e, 0, 0)
        self.entry = bytes_to_pointer(self.e, self.entry, ENC_HASHTABLE, m)
        self.check()
        assert entry_encoding(self.entry) == ENC_HASHTABLE
        assert members_of(self.entry) == m
        self.entry = bytes_from_pointer(self.e, self.entry, ENC_LISTPACK, value, len(value))
        members_free(self.e.heap, m)

    def check(self):
        cdef int wrong = entry_check(self.entry)
        assert wrong == 0, f"broken invariant {wrong}"

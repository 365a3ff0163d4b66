"""A hash's value in both of its forms.

    ENC_LISTPACK     a pack (ds/pack.pxd) of fields, in the entry or in a blob (core/bytes_value.pxd)
    ENC_HASHTABLE    a table of members (core/members.pxd)

A pack becomes a table where Valkey's listpack becomes one: before fields are added if they alone are more than
`hash-max-listpack-entries`, or one word is longer than `hash-max-listpack-value`; after one was added if there are more
than that. A table never becomes a pack again.

Fields that expire are members of a table (core/members_expiry.pxd): a pack becomes one for them. Those whose time is
before `now_ms` are hidden: not found, not removed, and new when they are written. -1 hides none.

Entries move: what changes a hash returns the entry's address, or leaves it in `hash_write_t.entry`, and the caller
stores it (db_replace). Bytes that are written must not be the hash's own. Nothing here looks at the keyspace; an empty
hash is deleted by the command.

Writing several fields is one change: hash_write_begin, hash_write for each, hash_write_end. Between them the entry is
open and belongs to the writer.
"""

from libc.stdint cimport int64_t

from cachefleet_server.core.engine cimport arg_t, engine_t
from cachefleet_server.core.entry cimport ENC_HASHTABLE, entry_bytes, entry_encoding, entry_t
from cachefleet_server.core.members cimport members_len, members_of, members_t
from cachefleet_server.ds.listpack cimport lp_item_t
from cachefleet_server.ds.pack cimport pack_len

cdef enum:  # in place of a time
    HASH_FOREVER = -1
    HASH_KEEP = -2  # the time that the field has

cdef struct hash_field_t:  # borrowed until the hash changes
    lp_item_t value
    int64_t expire_ms  # -1: never

cdef struct hash_write_t:
    engine_t* engine
    entry_t* entry
    int64_t now_ms
    int64_t expire_ms  # of the fields that are written
    size_t renewed  # hidden fields that were written
    members_t* members  # NULL: a pack, which has
    size_t len  # so many bytes
    size_t room  # and room for so many

cdef inline bint hash_is_table(const entry_t* entry) noexcept nogil:
    return entry_encoding(entry) == ENC_HASHTABLE

cdef inline size_t hash_len(const entry_t* entry) noexcept nogil:
    cdef size_t n
    return members_len(members_of(entry)) if hash_is_table(entry) else pack_len(entry_bytes(entry, &n))

# Reading.
cdef bint hash_find(
    const entry_t* entry, const char* name, size_t n, int64_t now_ms, hash_field_t* field) noexcept nogil
    # Value and time of a field. False: there is no such field.

# Changing.
cdef entry_t* hash_new(engine_t* e, const char* key, size_t nk) noexcept nogil  # empty
cdef void hash_write_begin(
    hash_write_t* w, engine_t* e, entry_t* entry, const arg_t* words, int pairs, int64_t now_ms,
    int64_t expire_ms) noexcept nogil
    # Names and values that will be written, in turn, and when they expire.
cdef bint hash_write(hash_write_t* w, const char* name, size_t n, const char* value, size_t vn) noexcept nogil
    # True: a new field; else its value is another now.
cdef entry_t* hash_write_end(hash_write_t* w) noexcept nogil
cdef entry_t* hash_remove(
    engine_t* e, entry_t* entry, const char* name, size_t n, int64_t now_ms, bint* removed) noexcept nogil
cdef entry_t* hash_expire(engine_t* e, entry_t* entry, const char* name, size_t n, int64_t expire_ms) noexcept nogil
    # Gives another time to a field that exists, or HASH_FOREVER.

# Loading.
cdef entry_t* hash_of_pack(
    engine_t* e, const char* key, size_t nk, const char* data, size_t len, int64_t expire_ms) noexcept nogil
    # A copy of the pack, or a table if it is longer than a listpack may be.
cdef entry_t* hash_of_members(
    engine_t* e, const char* key, size_t nk, members_t* m, int64_t expire_ms) noexcept nogil  # takes the table over
cdef void hash_put_pack(engine_t* e, members_t* m, const char* data, size_t len) noexcept nogil
    # All fields of a pack into a table that has none of them.

cdef int hash_check(engine_t* e, const entry_t* entry) noexcept nogil
    # 0; 1 name; 2 empty; 10 + n: pack_check; 20: not a hash's pack; 30 + n: members_check

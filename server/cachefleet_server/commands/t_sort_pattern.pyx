"""Patterns of SORT; see t_sort_pattern.pxd."""

from libc.string cimport memchr

from cachefleet_server.commands.t_members cimport members_clock, reply_member
from cachefleet_server.commands.t_string cimport reply_string_part
from cachefleet_server.core.entry cimport (
    ENC_INT, OBJ_HASH, OBJ_STRING, entry_bytes, entry_encoding, entry_int, entry_type)
from cachefleet_server.core.hash_value cimport hash_field_t, hash_find
from cachefleet_server.ds.buf cimport buf_free, buf_init, buf_put, buf_reserve
from cachefleet_server.ds.listpack cimport lp_text
from cachefleet_server.ds.number cimport INT64_CHARS_MAX
from cachefleet_server.keyspace.db cimport db_find, lookup_read
from cachefleet_server.keyspace.journal cimport journal_arg

cdef extern from "<string.h>" nogil:
    size_t strnlen(const char* p, size_t n)


cdef const char* _find_arrow(const char* p, const char* end) noexcept nogil:
    while p + 1 < end:
        if p[0] == c"-" and p[1] == c">":
            return p
        p += 1
    return NULL


cdef void pattern_read(pattern_t* p, const arg_t* word) noexcept nogil:
    """Star and arrow are in front of the word's first NUL, as in Valkey; names and fields go on to the word's end."""
    cdef size_t n = strnlen(word.ptr, word.len)
    cdef const char* arrow = NULL
    p.whole = n == 1 and word.ptr[0] == c"#"
    p.star = <const char*>memchr(word.ptr, c"*", n) if n else NULL
    p.begin = word.ptr
    p.end = word.ptr + word.len
    p.field = NULL
    p.field_end = p.end
    if p.star != NULL:
        arrow = _find_arrow(p.star + 1, word.ptr + n)
    if arrow != NULL and arrow + 2 < word.ptr + n:
        p.end = arrow
        p.field = arrow + 2


cdef void finder_begin(finder_t* f, client_t* c) noexcept nogil:
    f.client = c
    f.clock = members_clock(c)
    f.stores = f.met_hidden = False
    buf_init(&f.name, c.engine.heap)


cdef void finder_end(finder_t* f) noexcept nogil:
    buf_free(&f.name)


cdef const entry_t* find_key(finder_t* f, arg_t* key) noexcept nogil:
    cdef const entry_t* entry = lookup_read(f.client, key)
    if entry == NULL and f.stores and db_find(f.client.db, key.ptr, key.len, key.hash) != NULL:
        f.met_hidden = True  # nobody may end it now
    return entry


cdef bint _string(const entry_t* entry, value_t* out) noexcept nogil:
    if entry_type(entry) != OBJ_STRING:
        return False
    out.string = entry
    if entry_encoding(entry) == ENC_INT:
        out.item.str = NULL
        out.item.num = entry_int(entry)
    else:
        out.item.str = entry_bytes(entry, &out.item.len)
    return True


cdef bint _field(finder_t* f, const entry_t* entry, const pattern_t* p, value_t* out) noexcept nogil:
    cdef size_t n = p.field_end - p.field
    cdef hash_field_t field
    if entry_type(entry) != OBJ_HASH:
        return False
    if hash_find(entry, p.field, n, f.clock, &field):
        out.item = field.value
        return True
    if f.stores and f.clock != -1 and hash_find(entry, p.field, n, -1, &field):
        f.met_hidden = True
    return False


cdef bint find_value(finder_t* f, const pattern_t* p, const lp_item_t* element, value_t* out) noexcept nogil:
    cdef char digits[INT64_CHARS_MAX]
    cdef const entry_t* entry
    cdef const char* text
    cdef arg_t key
    cdef size_t n
    out.string = NULL
    if p.whole:
        out.item = element[0]
        return True
    if p.star == NULL:
        return False
    text = lp_text(element, &digits[0], &n)
    f.name.len = 0
    buf_reserve(&f.name, 1)  # an empty name has an address, too
    buf_put(&f.name, p.begin, p.star - p.begin)
    buf_put(&f.name, text, n)
    buf_put(&f.name, p.star + 1, p.end - p.star - 1)
    key = journal_arg(f.name.data, f.name.len)
    entry = find_key(f, &key)
    if entry == NULL:
        return False
    return _string(entry, out) if p.field == NULL else _field(f, entry, p, out)


cdef void reply_value(client_t* c, const value_t* value) noexcept nogil:
    if value.string != NULL and value.item.str != NULL:
        reply_string_part(c, value.string, value.item.str, value.item.len)
    else:
        reply_member(c, &value.item)

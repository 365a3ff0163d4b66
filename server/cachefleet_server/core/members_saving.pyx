"""Tables of members, written out; see members_saving.pxd."""

from libc.string cimport strlen

from cachefleet_server.core.entry cimport entry_key
from cachefleet_server.core.members cimport members_len, members_of, word_form, word_member
from cachefleet_server.core.members_expiry cimport word_expiry
from cachefleet_server.core.rdb cimport rdb_put_length
from cachefleet_server.core.types cimport SAVE_STEP, save_out
from cachefleet_server.ds.bucket cimport ht_bucket_each, ht_bucket_t
from cachefleet_server.ds.hashtable cimport hashtable_t, ht_scan
from cachefleet_server.ds.ht_freezing cimport ht_freeze_begin, ht_freeze_end, ht_freeze_step
from cachefleet_server.ds.member cimport member_key
from cachefleet_server.resp.command cimport command_header, command_number, command_word

cdef enum:
    STEP_CHAINS = 64  # chains that one step delivers at most

cdef struct group_t:  # members that are written together
    save_t* save
    int n
    void* words[MEMBERS_GROUP]


cdef void put_times(
    save_t* s, rdb_out_t* out, const char* command, const char* clause, int form, void** words, int n
) noexcept nogil:
    cdef buf_t* buf = &out.buf
    cdef size_t nk
    cdef const char* key = entry_key(s.entry, &nk)
    cdef const char* name
    cdef size_t size
    cdef int i
    for i in range(n):
        if word_expiry(words[i]) < 0:
            continue
        name = member_key(word_member(words[i]), word_form(words[i], form), &size)
        command_header(buf, c"*", 6)
        command_word(buf, command, strlen(command))
        command_word(buf, key, nk)
        command_number(buf, word_expiry(words[i]))
        command_word(buf, clause, strlen(clause))
        command_word(buf, b"1", 1)
        command_word(buf, name, size)


cdef inline const members_put_t* _put_of(const save_t* s) noexcept nogil:
    return <const members_put_t*>s.state


cdef void _write_commands(save_t* s, rdb_out_t* out, members_t* m, void** words, int n) noexcept nogil:
    cdef const members_put_t* put = _put_of(s)
    cdef size_t nk
    cdef const char* key = entry_key(s.entry, &nk)
    cdef int i
    command_header(&out.buf, c"*", 2 + <size_t>n * put.words)
    command_word(&out.buf, put.command, strlen(put.command))
    command_word(&out.buf, key, nk)
    for i in range(n):
        put.put_words_fn(&out.buf, m, words[i])
    if put.put_more_fn != NULL:
        put.put_more_fn(s, out, m, words, n)


cdef void _write(group_t* group) noexcept nogil:
    cdef save_t* s = group.save
    cdef members_t* m = members_of(s.entry)
    cdef int n = group.n
    cdef rdb_out_t* out = save_out(s) if n else NULL
    cdef size_t before
    cdef int i
    group.n = 0
    if out == NULL:
        return
    before = out.buf.len
    if s.commands:
        _write_commands(s, out, m, &group.words[0], n)
    else:
        for i in range(n):
            _put_of(s).put_fn(out, m, group.words[i])
    s.written += out.buf.len - before


cdef void _gather(void* ctx, void* word) noexcept nogil:
    cdef group_t* group = <group_t*>ctx
    group.words[group.n] = word
    group.n += 1
    if group.n == MEMBERS_GROUP:
        _write(group)


cdef void _save_chain(void* ctx, hashtable_t* t, ht_bucket_t* head) noexcept nogil:
    """Of a frozen table: in a step, or before the write that changes this chain."""
    cdef group_t group
    group.save = <save_t*>ctx
    group.n = 0
    ht_bucket_each(head, _gather, &group)
    _write(&group)


cdef void members_save_begin(save_t* s, const members_put_t* put) noexcept nogil:
    cdef members_t* m = members_of(s.entry)
    s.state = <void*>put
    s.count = members_len(m)
    if s.held:
        ht_freeze_begin(&m.table, _save_chain, s)


cdef bint members_save_step(save_t* s) noexcept nogil:
    cdef members_t* m = members_of(s.entry)
    cdef int chains = STEP_CHAINS
    cdef rdb_out_t* out
    cdef group_t group
    if not s.counted:
        s.counted = True
        out = NULL if s.commands else save_out(s)
        if out != NULL:
            if _put_of(s).put_head_fn != NULL:
                _put_of(s).put_head_fn(out)
            rdb_put_length(out, s.count)
    if not s.held:
        group.save = s
        group.n = 0
        while chains and s.written < SAVE_STEP:
            chains -= 1
            s.place = ht_scan(&m.table, s.place, _gather, &group)
            if s.place == 0:
                break
        _write(&group)
        return s.place != 0
    while chains and s.written < SAVE_STEP:
        chains -= 1
        if not ht_freeze_step(&m.table, &s.place, 1):
            return False
    return True


cdef void members_save_end(save_t* s) noexcept nogil:
    if s.held:
        ht_freeze_end(&members_of(s.entry).table)

"""Elements of lists that are found by their place or value; a value is an element that prints the same."""

from libc.stdint cimport INT64_MAX

from cachefleet_server.commands.t_list cimport *
from cachefleet_server.core.command cimport command_row
from cachefleet_server.core.list_value cimport (
    list_done, list_find, list_insert, list_next, list_prepare, list_remove, list_seek, list_set)
from cachefleet_server.core.options cimport (
    OPT_COUNT, OPT_MAXLEN, OPT_RANK, option_walk_t, options_begin, options_end, options_next)
from cachefleet_server.core.reply cimport (
    arg_int64, arg_int64_from, arg_is, mark_t, reply_array, reply_insert, reply_int, reply_mark, reply_null, reply_ok,
    reply_syntax_error)
from cachefleet_server.core.errors cimport ERR_NO_KEY, ERR_OUT_OF_RANGE
from cachefleet_server.ds.intrin cimport cf_unlikely
from cachefleet_server.ds.listpack cimport lp_item
from cachefleet_server.ds.number cimport INT64_CHARS_MAX, int64_to_chars
from cachefleet_server.keyspace.journal cimport journal_arg, journal_rewrite

cdef extern from *:
    """
    #define ERR_NOT_IN_RANGE "ERR value is out of range, " \
        "value must between -9223372036854775807 and 9223372036854775807"
    #define ERR_RANK "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... " \
        "or use negative to start from the end of the list"
    """
    const char* ERR_NOT_IN_RANGE
    const char* ERR_RANK

cdef struct search_t:  # LPOS
    int64_t rank
    int64_t count  # -1: one, not an array; 0: all
    int64_t most  # places to look at; 0: all


cdef bint _signed_or_reply(client_t* c, const arg_t* a, int64_t* out) noexcept nogil:
    """A number that may be negated."""
    return arg_int64(c, a, out) and arg_int64_from(c, a, -INT64_MAX, out, ERR_NOT_IN_RANGE)


cdef inline bint _place(const entry_t* entry, int64_t* index) noexcept nogil:
    """Makes an index a place; false: outside of the list."""
    cdef int64_t n = <int64_t>list_len(entry)
    if index[0] < 0:
        index[0] += n
    return 0 <= index[0] < n

# ---- by place ----------------------------------------------------------------------------------------

cdef void lindex_command(client_t* c) noexcept nogil:
    cdef entry_t* entry = lookup_read(c, &c.argv[1])
    cdef list_iter_t it
    cdef lp_item_t item
    cdef int64_t index
    if entry == NULL:
        reply_null(c)
        return
    if not type_or_reply(c, entry, OBJ_LIST) or not arg_int64(c, &c.argv[2], &index):
        return
    if not _place(entry, &index):
        reply_null(c)
        return
    list_seek(&it, c.engine.heap, entry, index, False)
    if list_next(&it, &item):
        reply_item(c, &item, list_block(&it))
    list_done(&it)


cdef void _journal_place(client_t* c, int64_t place) noexcept nogil:
    """LSET with an index that every server understands the same."""
    cdef char digits[INT64_CHARS_MAX]
    cdef arg_t[4] argv
    argv[0] = journal_arg(b"LSET", 4)
    argv[1] = c.argv[1]
    argv[2] = journal_arg(&digits[0], int64_to_chars(&digits[0], place))
    argv[3] = c.argv[3]
    journal_rewrite(c, 4, &argv[0])


cdef void lset_command(client_t* c) noexcept nogil:
    cdef engine_t* e = c.engine
    cdef arg_t* key = &c.argv[1]
    cdef arg_t* value = &c.argv[3]
    cdef entry_t* old = lookup_write(c, key)
    cdef entry_t* entry
    cdef int64_t asked, index
    cdef bint there
    if old == NULL:
        reply_error(c, ERR_NO_KEY)
        return
    if not type_or_reply(c, old, OBJ_LIST) or not arg_int64(c, &c.argv[2], &asked):
        return
    index = <int>asked  # Valkey 9.1 keeps 32 bits of it here, and here alone; Redis 7.0 keeps all
    there = _place(old, &index)
    entry = list_prepare(e, old, value.len, 1)  # Valkey does that before it looks at the index
    if there:
        entry = list_settle(e, list_set(e, entry, index, value.ptr, value.len))
    db_replace(c.db, old, entry, key.hash)
    if not there:
        reply_error(c, ERR_OUT_OF_RANGE)
        return
    list_changed(c, b"lset", key, 1)
    if cf_unlikely(asked != <int>asked):
        _journal_place(c, index)
    reply_ok(c)

# ---- by value ----------------------------------------------------------------------------------------

cdef bint _find(client_t* c, const entry_t* entry, const arg_t* value, size_t* place) noexcept nogil:
    """The first element that equals the value."""
    cdef list_iter_t it
    cdef lp_item_t item
    cdef bint found
    lp_item(value.ptr, value.len, &item)
    list_seek(&it, c.engine.heap, entry, 0, False)
    found = list_find(&it, &item, list_len(entry), place)
    list_done(&it)
    return found


cdef void linsert_command(client_t* c) noexcept nogil:
    cdef engine_t* e = c.engine
    cdef arg_t* key = &c.argv[1]
    cdef arg_t* value = &c.argv[4]
    cdef bint after = arg_is(&c.argv[2], b"after")
    cdef entry_t* old
    cdef entry_t* entry
    cdef size_t place
    cdef bint found
    if not after and not arg_is(&c.argv[2], b"before"):
        reply_syntax_error(c)
        return
    old = lookup_write(c, key)
    if not type_or_reply(c, old, OBJ_LIST):
        return
    if old == NULL:
        reply_int(c, 0)
        return
    entry = list_prepare(e, old, value.len, 1)  # as Valkey, whether the pivot is found or not
    found = _find(c, entry, &c.argv[3], &place)
    if found:
        entry = list_insert(e, entry, place, after, value.ptr, value.len)
    db_replace(c.db, old, entry, key.hash)
    if found:
        list_changed(c, b"linsert", key, 1)
    reply_int(c, <int64_t>list_len(entry) if found else -1)


cdef size_t _run(list_iter_t* it, const lp_item_t* wanted, size_t most) noexcept nogil:
    """How many of the next elements equal it, up to that many."""
    cdef size_t n = 0
    cdef size_t passed
    while n < most and list_find(it, wanted, 1, &passed):
        n += 1
    return n


cdef entry_t* _remove_equal(
    client_t* c, entry_t* entry, const lp_item_t* wanted, bint back, size_t most, size_t* removed
) noexcept nogil:
    """Removes up to `most` elements that equal it, neighbours at once; each search begins where the last ended."""
    cdef size_t seen = 0  # elements passed, from the end that the search began at, and still there
    cdef size_t n, passed, run, first
    cdef bint found
    cdef list_iter_t it
    while removed[0] < most:
        n = list_len(entry)
        if seen >= n:
            break
        list_seek(&it, c.engine.heap, entry, n - 1 - seen if back else seen, back)
        found = list_find(&it, wanted, n - seen, &passed)
        run = 1 + _run(&it, wanted, most - removed[0] - 1) if found else 0
        list_done(&it)
        if not found:
            break
        seen += passed
        first = n - seen - run if back else seen
        entry = list_remove(c.engine, entry, first, first + run)
        removed[0] += run
    return entry


cdef void lrem_command(client_t* c) noexcept nogil:
    cdef arg_t* key = &c.argv[1]
    cdef int64_t count
    cdef entry_t* old
    cdef entry_t* entry
    cdef lp_item_t wanted
    cdef size_t removed = 0
    cdef size_t most
    if not _signed_or_reply(c, &c.argv[2], &count):
        return
    old = lookup_write(c, key)
    if not type_or_reply(c, old, OBJ_LIST):
        return
    if old != NULL:
        lp_item(c.argv[3].ptr, c.argv[3].len, &wanted)
        most = <size_t>-1 if count == 0 else <size_t>(-count if count < 0 else count)
        entry = _remove_equal(c, old, &wanted, count < 0, most, &removed)
        if removed:
            list_removed(c, b"lrem", key, old, entry, removed)
    reply_int(c, removed)

# ---- LPOS --------------------------------------------------------------------------------------------

cdef bint _search_options(client_t* c, search_t* s) noexcept nogil:
    cdef option_walk_t w
    s.rank = 1
    s.count = -1
    s.most = 0
    options_begin(&w, c, 3)
    while options_next(&w):
        if w.option == OPT_RANK:
            if not _signed_or_reply(c, w.value, &s.rank):
                return False
            if s.rank == 0:
                reply_error(c, ERR_RANK)
                return False
        elif w.option == OPT_COUNT:
            if not arg_int64_from(c, w.value, 0, &s.count, b"ERR COUNT can't be negative"):
                return False
        elif w.option == OPT_MAXLEN:
            if not arg_int64_from(c, w.value, 0, &s.most, b"ERR MAXLEN can't be negative"):
                return False
    return options_end(&w)


cdef size_t _reply_places(client_t* c, const entry_t* entry, const search_t* s) noexcept nogil:
    """The places of what is wanted; how many."""
    cdef size_t n = list_len(entry)
    cdef size_t left = n if s.most == 0 else min(n, <size_t>s.most)
    cdef size_t wanted = <size_t>-1 if s.count == 0 else <size_t>max(s.count, <int64_t>1)
    cdef size_t found = 0
    cdef size_t at = 0
    cdef size_t passed
    cdef int64_t rank = -s.rank if s.rank < 0 else s.rank
    cdef bint back = s.rank < 0
    cdef list_iter_t it
    cdef lp_item_t item
    lp_item(c.argv[2].ptr, c.argv[2].len, &item)
    list_seek(&it, c.engine.heap, entry, n - 1 if back else 0, back)
    while found < wanted and list_find(&it, &item, left, &passed):
        at += passed
        left -= passed + 1
        rank -= 1
        if rank <= 0:
            reply_int(c, n - 1 - at if back else at)
            found += 1
        at += 1
    list_done(&it)
    return found


cdef void lpos_command(client_t* c) noexcept nogil:
    cdef search_t s
    cdef entry_t* entry
    cdef mark_t mark
    cdef size_t found
    if not _search_options(c, &s):
        return
    entry = lookup_read(c, &c.argv[1])
    if not type_or_reply(c, entry, OBJ_LIST):
        return
    if s.count == -1:
        if entry == NULL or _reply_places(c, entry, &s) == 0:
            reply_null(c)
        return
    if entry == NULL:
        reply_array(c, 0)
        return
    mark = reply_mark(c)
    found = _reply_places(c, entry, &s)
    reply_insert(c, mark, c"*", found)

# ---- rows --------------------------------------------------------------------------------------------

cdef int register_list_inner(engine_t* e) except -1:
    """Adds this family's rows to the engine's command table."""
    command_row(e, lindex_command, "lindex", 3, "readonly", "list", "1 RO access",
                "list 1.0.0 O(N) where N is the number of elements to traverse to get to the element at index. This"
                " makes asking for the first or the last element of the list O(1).",
                "Returns the element at a place.", "key:key index:integer")
    command_row(e, lset_command, "lset", 4, "write denyoom", "list", "1 RW update",
                "list 1.0.0 O(N) where N is the length of the list. Setting either the first or the last element of"
                " the list is O(1).",
                "Puts another element in a place.", "key:key index:integer element:string")
    command_row(e, linsert_command, "linsert", 5, "write denyoom", "list", "1 RW insert",
                "list 2.2.0 O(N) where N is the number of elements to traverse before seeing the value pivot. This"
                " means that inserting somewhere on the left end on the list (head) can be considered O(1) and"
                " inserting somewhere on the right end (tail) is O(N).",
                "Puts an element beside another one.", "key:key where(BEFORE | AFTER) pivot:string element:string")
    command_row(e, lrem_command, "lrem", 4, "write", "list", "1 RW delete",
                "list 1.0.0 O(N+M) where N is the length of the list and M is the number of elements removed.",
                "Removes elements of a value.", "key:key count:integer element:string")
    command_row(e, lpos_command, "lpos", -3, "readonly", "list", "1 RO access",
                "list 6.0.6 O(N) where N is the number of elements in the list, for the average case. When searching"
                " for elements near the head or the tail of the list, or when the MAXLEN option is provided, the"
                " command may run in constant time.",
                "Returns the places of a value in a list.",
                "key:key element:string [RANK rank:integer] [COUNT num-matches:integer] [MAXLEN len:integer]")
    return 0

"""SINTER, SUNION, SDIFF, their STORE forms, and SINTERCARD.

An intersection takes the smallest set's members and looks each up in the others, smallest first. A union is collected
in a set of its own; one of intsets is merged. A difference takes the first set's members and looks each up in the
others, largest first; or, if that would be more work, collects the first set and takes the others' members out of it.

Members whose time is over are passed over. What a STORE form writes has no times: it removes such members of its
sources first, so that it means the same where it is executed again.

What a STORE form writes has the encoding that Valkey's would have: it begins as an intset, or an intersection as a
listpack that becomes an intset in the end if all members are integers.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint64_t
from libc.stdlib cimport qsort

from cachefleet_server.commands.t_members cimport members_clock, members_purged, reply_member
from cachefleet_server.commands.t_set cimport reply_whole_set
from cachefleet_server.core.bytes_value cimport bytes_view
from cachefleet_server.core.command cimport command_row
from cachefleet_server.core.engine cimport arg_t, client_t
from cachefleet_server.core.entry cimport ENC_INTSET, OBJ_SET, entry_encoding, entry_t
from cachefleet_server.core.members_walk cimport members_walk, seen_fn, seen_t
from cachefleet_server.core.options cimport option_walk_t, options_begin, options_end, options_next
from cachefleet_server.core.reply cimport (
    arg_int64_from, mark_t, reply_error, reply_insert, reply_int, reply_mark, reply_set)
from cachefleet_server.core.set_value cimport (
    set_add, set_has, set_len, set_member, set_new, set_new_integers, set_new_intset, set_new_table, set_remove,
    set_to_intset)
from cachefleet_server.ds.intset cimport integers_merge, intset_count, intset_read
from cachefleet_server.ds.listpack cimport lp_item_t
from cachefleet_server.ds.number cimport chars_to_int64
from cachefleet_server.ds.zmalloc cimport zfree, zmalloc
from cachefleet_server.keyspace.db cimport NOTIFY_SET, key_stored, lookup_read, type_or_reply
from cachefleet_server.keyspace.lazyfree cimport lazyfree_entry

cdef struct algebra_t:
    client_t* client
    entry_t** sets  # by key; NULL: there is none
    int count
    int missing  # how many are NULL
    # What becomes of a member that was found: it is counted, and replied, or put into `result`.
    entry_t* result
    bint replies
    size_t found
    size_t limit  # no more than so many are wanted
    int64_t now_ms  # for who is hidden
    bint integers  # all that were found
    int64_t* merged  # integers that were found, ascending, instead of `result`; NULL: they are not gathered so
    size_t merged_len  # of a union


cdef void _close(algebra_t* a) noexcept nogil:
    zfree(a.client.engine.heap, a.sets)
    zfree(a.client.engine.heap, a.merged)
    if a.result != NULL:
        lazyfree_entry(a.client.engine, a.result)


cdef bint _open(algebra_t* a, client_t* c, arg_t* keys, int count, bint stores) noexcept nogil:
    """The sets of these keys. False: one is of another type, which has been replied."""
    cdef int i
    a.client = c
    a.sets = <entry_t**>zmalloc(c.engine.heap, count * sizeof(entry_t*))
    a.count = count
    a.missing = 0
    a.result = NULL
    a.replies = False
    a.found = 0
    a.limit = <size_t>INT64_MAX
    a.now_ms = members_clock(c)
    a.integers = True
    a.merged = NULL
    for i in range(count):
        a.sets[i] = lookup_read(c, &keys[i])
        if not type_or_reply(c, a.sets[i], OBJ_SET):
            _close(a)
            return False
        if stores:
            a.sets[i] = members_purged(c, &keys[i], a.sets[i])
        a.missing += a.sets[i] == NULL
    return True

# ---- members that were found -------------------------------------------------------------------------

cdef bint _is_int(const lp_item_t* member) noexcept nogil:
    cdef int64_t v
    return member.str == NULL or chars_to_int64(member.str, member.len, &v)


cdef void _found(algebra_t* a, const lp_item_t* member) noexcept nogil:
    cdef bint added = True
    if a.merged != NULL:
        a.merged[a.found] = member.num
    elif a.result != NULL:
        a.integers = a.integers and _is_int(member)
        a.result = set_add(a.client.engine, a.result, member, &added)
    if added and a.replies:
        reply_member(a.client, member)
    a.found += added


cdef void _walk(algebra_t* a, const entry_t* entry, seen_fn fn) noexcept nogil:
    """Over one of the sets, until enough is found."""
    cdef uint64_t cursor = members_walk(entry, 0, a.now_ms, fn, a)
    while cursor and a.found < a.limit:
        cursor = members_walk(entry, cursor, a.now_ms, fn, a)


cdef void _begin_replies(algebra_t* a, mark_t* mark) noexcept nogil:
    a.replies = True
    mark[0] = reply_mark(a.client)


cdef void _end_replies(algebra_t* a, mark_t mark) noexcept nogil:
    reply_insert(a.client, mark, c"~" if a.client.resp > 2 else c"*", a.found)


cdef bint _are_intsets(const algebra_t* a) noexcept nogil:
    cdef int i
    for i in range(a.count):
        if a.sets[i] != NULL and entry_encoding(a.sets[i]) != ENC_INTSET:
            return False
    return True


cdef entry_t* _collector(const algebra_t* a) noexcept nogil:
    """For members of these sets, which are replied and not stored: what finds them fastest."""
    if _are_intsets(a):
        return set_new_intset(a.client.engine, b"", 0, -1)
    return set_new_table(a.client.engine, b"", 0, 0, -1)


cdef void _store(algebra_t* a, const char* event) noexcept nogil:
    """The result at argv[1], instead of whatever is there, and how many members it has. NULL: an empty one."""
    cdef client_t* c = a.client
    cdef size_t n = set_len(a.result) if a.result != NULL else 0
    key_stored(c, &c.argv[1], NOTIFY_SET, event, a.result if n else NULL)
    if n:
        a.result = NULL  # the database's now
    reply_int(c, n)


cdef bint _gather(algebra_t* a, const entry_t* entry) noexcept nogil:
    """Of an intset, whose members come in order: those that are found will be stored at once. False: it is none."""
    if entry_encoding(entry) != ENC_INTSET:
        return False
    a.merged = <int64_t*>zmalloc(a.client.engine.heap, (set_len(entry) + 1) * sizeof(int64_t))
    return True


cdef void _store_gathered(algebra_t* a) noexcept nogil:
    cdef const arg_t* key = &a.client.argv[1]
    if a.found:
        a.result = set_new_integers(a.client.engine, key.ptr, key.len, a.merged, a.found)

# ---- intersections -----------------------------------------------------------------------------------

cdef int _by_size(const void* a, const void* b) noexcept nogil:
    cdef size_t x = set_len((<entry_t**>a)[0])
    cdef size_t y = set_len((<entry_t**>b)[0])
    return (x > y) - (x < y)


cdef void _intersect_one(void* ctx, const seen_t* seen) noexcept nogil:
    cdef algebra_t* a = <algebra_t*>ctx
    cdef int i
    if a.found >= a.limit:
        return
    for i in range(1, a.count):
        if a.sets[i] != a.sets[0] and not set_has(a.sets[i], &seen.key, a.now_ms):
            return
    _found(a, &seen.key)


cdef void _intersect(algebra_t* a) noexcept nogil:
    if a.missing == 0:
        qsort(a.sets, a.count, sizeof(entry_t*), _by_size)
        _walk(a, a.sets[0], _intersect_one)


cdef void sinter_command(client_t* c) noexcept nogil:
    cdef algebra_t a
    cdef mark_t mark
    if not _open(&a, c, &c.argv[1], c.argc - 1, False):
        return
    _begin_replies(&a, &mark)
    _intersect(&a)
    _end_replies(&a, mark)
    _close(&a)


cdef void sintercard_command(client_t* c) noexcept nogil:
    cdef algebra_t a
    cdef option_walk_t w
    cdef int64_t count
    cdef int64_t limit = 0
    if not arg_int64_from(c, &c.argv[1], 1, &count, b"ERR numkeys should be greater than 0"):
        return
    if count > c.argc - 2:
        reply_error(c, b"ERR Number of keys can't be greater than number of args")
        return
    options_begin(&w, c, 2 + <int>count)
    while options_next(&w):
        if not arg_int64_from(c, w.value, 0, &limit, b"ERR LIMIT can't be negative"):
            return
    if not options_end(&w) or not _open(&a, c, &c.argv[2], <int>count, False):
        return
    if limit:
        a.limit = limit
    _intersect(&a)
    reply_int(c, a.found)
    _close(&a)


cdef void sinterstore_command(client_t* c) noexcept nogil:
    cdef arg_t* key = &c.argv[1]
    cdef algebra_t a
    cdef lp_item_t text
    if not _open(&a, c, &c.argv[2], c.argc - 2, True):
        return
    if a.missing == 0:
        qsort(a.sets, a.count, sizeof(entry_t*), _by_size)
        if _gather(&a, a.sets[0]):
            _walk(&a, a.sets[0], _intersect_one)
            _store_gathered(&a)
        else:
            set_member(&text, b"", 0)
            a.result = set_new(c.engine, key.ptr, key.len, &text, 0)
            _walk(&a, a.sets[0], _intersect_one)
            if a.integers and a.found:
                a.result = set_to_intset(c.engine, a.result)
    _store(&a, b"sinterstore")
    _close(&a)

# ---- unions ------------------------------------------------------------------------------------------

cdef void _add_one(void* ctx, const seen_t* seen) noexcept nogil:
    _found(<algebra_t*>ctx, &seen.key)


cdef void _unite(algebra_t* a) noexcept nogil:
    cdef int i
    for i in range(a.count):
        if a.sets[i] != NULL:
            _walk(a, a.sets[i], _add_one)


cdef size_t _merged(entry_t** sets, int count, int64_t* out, int64_t* scratch) noexcept nogil:
    """What so many intsets have, and how many integers that is. Both arrays have room for all of each."""
    cdef size_t n, m
    cdef const char* data
    if count == 1:
        data = bytes_view(sets[0], &n)
        intset_read(data, out)
        return intset_count(data)
    n = _merged(sets, count // 2, scratch, out)
    m = _merged(sets + count // 2, count - count // 2, scratch + n, out + n)
    return integers_merge(scratch, n, scratch + n, m, out)


cdef bint _merge(algebra_t* a) noexcept nogil:
    """False: not all of them are intsets, or there is none."""
    cdef size_t total = 0
    cdef int count = 0
    cdef int i
    if a.missing == a.count or not _are_intsets(a):
        return False
    for i in range(a.count):
        if a.sets[i] != NULL:
            total += set_len(a.sets[i])
            a.sets[count] = a.sets[i]
            count += 1
    a.merged = <int64_t*>zmalloc(a.client.engine.heap, 2 * total * sizeof(int64_t))
    a.merged_len = _merged(a.sets, count, a.merged, a.merged + total)
    return True


cdef void _reply_merged(algebra_t* a) noexcept nogil:
    cdef lp_item_t member
    cdef size_t i
    reply_set(a.client, a.merged_len)
    member.str = NULL
    for i in range(a.merged_len):
        member.num = a.merged[i]
        reply_member(a.client, &member)


cdef void sunion_command(client_t* c) noexcept nogil:
    cdef algebra_t a
    cdef mark_t mark
    if not _open(&a, c, &c.argv[1], c.argc - 1, False):
        return
    if a.count == 1:
        reply_whole_set(c, a.sets[0])
    elif _merge(&a):
        _reply_merged(&a)
    else:
        a.result = _collector(&a)
        _begin_replies(&a, &mark)
        _unite(&a)
        _end_replies(&a, mark)
    _close(&a)


cdef void sunionstore_command(client_t* c) noexcept nogil:
    cdef arg_t* key = &c.argv[1]
    cdef algebra_t a
    if not _open(&a, c, &c.argv[2], c.argc - 2, True):
        return
    if _merge(&a):
        a.result = set_new_integers(c.engine, key.ptr, key.len, a.merged, a.merged_len)
    else:
        a.result = set_new_intset(c.engine, key.ptr, key.len, -1)
        _unite(&a)
    _store(&a, b"sunionstore")
    _close(&a)

# ---- differences -------------------------------------------------------------------------------------

cdef int _by_size_down(const void* a, const void* b) noexcept nogil:
    """Those that do not exist are empty."""
    cdef entry_t* x = (<entry_t**>a)[0]
    cdef entry_t* y = (<entry_t**>b)[0]
    cdef size_t n = set_len(x) if x != NULL else 0
    cdef size_t m = set_len(y) if y != NULL else 0
    return (n < m) - (n > m)


cdef void _keep_one(void* ctx, const seen_t* seen) noexcept nogil:
    cdef algebra_t* a = <algebra_t*>ctx
    cdef int i
    for i in range(1, a.count):
        if a.sets[i] != NULL and set_has(a.sets[i], &seen.key, a.now_ms):
            return
    _found(a, &seen.key)


cdef void _remove_one(void* ctx, const seen_t* seen) noexcept nogil:
    cdef algebra_t* a = <algebra_t*>ctx
    cdef bint removed
    a.result = set_remove(a.client.engine, a.result, &seen.key, &removed)


cdef bint _is_nothing(const algebra_t* a) noexcept nogil:
    """The first set is not there, or is also one of those that are taken away."""
    cdef int i
    if a.sets[0] == NULL:
        return True
    for i in range(1, a.count):
        if a.sets[i] == a.sets[0]:
            return True
    return False


cdef bint _looking_up_pays(const algebra_t* a) noexcept nogil:
    """Valkey's estimate: what is stored depends on it, since members that are taken out leave their encoding behind."""
    cdef size_t lookups = 0
    cdef size_t members = 0
    cdef int i
    for i in range(a.count):
        if a.sets[i] != NULL:
            lookups += set_len(a.sets[0])
            members += set_len(a.sets[i])
    return lookups // 2 <= members


cdef void _subtract(algebra_t* a) noexcept nogil:
    """Members are replied or put into the result by looking each up, or else are what is left of the result."""
    cdef int i
    if _looking_up_pays(a):
        qsort(a.sets + 1, a.count - 1, sizeof(entry_t*), _by_size_down)
        _walk(a, a.sets[0], _keep_one)
        return
    _walk(a, a.sets[0], _add_one)
    for i in range(1, a.count):
        if a.sets[i] != NULL and set_len(a.result):
            _walk(a, a.sets[i], _remove_one)


cdef void sdiff_command(client_t* c) noexcept nogil:
    cdef algebra_t a
    cdef mark_t mark
    if not _open(&a, c, &c.argv[1], c.argc - 1, False):
        return
    if _is_nothing(&a):
        reply_set(c, 0)
    elif _looking_up_pays(&a):
        _begin_replies(&a, &mark)
        _subtract(&a)
        _end_replies(&a, mark)
    else:
        a.result = _collector(&a)
        _subtract(&a)
        reply_whole_set(c, a.result)
    _close(&a)


cdef void sdiffstore_command(client_t* c) noexcept nogil:
    cdef arg_t* key = &c.argv[1]
    cdef algebra_t a
    if not _open(&a, c, &c.argv[2], c.argc - 2, True):
        return
    if not _is_nothing(&a):
        if _looking_up_pays(&a) and _gather(&a, a.sets[0]):
            _subtract(&a)
            _store_gathered(&a)
        else:
            a.result = set_new_intset(c.engine, key.ptr, key.len, -1)
            _subtract(&a)
    _store(&a, b"sdiffstore")
    _close(&a)

# ---- rows --------------------------------------------------------------------------------------------

cdef int _register_intersections(engine_t* e) except -1:
    cdef str about = ("set {} O(N*M) worst case where N is the cardinality of the smallest set and M is the number of"
                      " sets.")
    command_row(e, sinter_command, "sinter", -2, "readonly", "set", "1:-1 RO access",
                about.format("1.0.0") + "; tips nondeterministic_output_order",
                "Returns the members that all of several sets have.", "key:key...")
    command_row(e, sintercard_command, "sintercard", -3, "readonly movablekeys", "set", "numkeys:1 RO access",
                about.format("7.0.0"), "Returns how many members all of several sets have.",
                "numkeys:integer key:key... [LIMIT limit:integer]")
    command_row(e, sinterstore_command, "sinterstore", -3, "write denyoom", "set", "1 OW update;2:-1 RO access",
                about.format("1.0.0"), "Stores the members that all of several sets have.",
                "destination:key key:key...")
    return 0


cdef int register_set_algebra(engine_t* e) except -1:
    """Adds this family's rows to the engine's command table."""
    cdef str about = "set 1.0.0 O(N) where N is the total number of elements in all given sets."
    cdef str unordered = about + "; tips nondeterministic_output_order"
    _register_intersections(e)
    command_row(e, sunion_command, "sunion", -2, "readonly", "set", "1:-1 RO access", unordered,
                "Returns the members that any of several sets has.", "key:key...")
    command_row(e, sunionstore_command, "sunionstore", -3, "write denyoom", "set", "1 OW update;2:-1 RO access", about,
                "Stores the members that any of several sets has.", "destination:key key:key...")
    command_row(e, sdiff_command, "sdiff", -2, "readonly", "set", "1:-1 RO access", unordered,
                "Returns the members of the first set that no other has.", "key:key...")
    command_row(e, sdiffstore_command, "sdiffstore", -3, "write denyoom", "set", "1 OW update;2:-1 RO access", about,
                "Stores the members of the first set that no other has.", "destination:key key:key...")
    return 0

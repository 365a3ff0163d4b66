"""Elements at the ends of lists, and ranges of them."""

from cachefleet_server.commands.popping cimport ERR_MUST_BE_POSITIVE
from cachefleet_server.commands.t_list_inner cimport register_list_inner
from cachefleet_server.commands.t_list_move cimport register_list_move
from cachefleet_server.core.command cimport command_row
from cachefleet_server.core.list_value cimport (
    list_done, list_new, list_next, list_prepare, list_push, list_remove, list_seek)
from cachefleet_server.core.reply cimport (
    arg_int64, arg_int64_from, reply_array, reply_int, reply_null, reply_null_array, reply_ok, reply_wrong_arity)


cdef void list_removed(
    client_t* c, const char* event, arg_t* key, entry_t* old, entry_t* entry, size_t changes
) noexcept nogil:
    cdef size_t left = list_len(entry)
    if left:
        entry = list_settle(c.engine, entry)
    db_replace(c.db, old, entry, key.hash)
    notify(c.engine, NOTIFY_LIST, event, key.ptr, key.len, c.db.id)
    delete_if_empty(c, key, left)
    if changes:  # an LTRIM that removes nothing is an event, and no change for those who watch the key
        signal_modified(c, c.db, key.ptr, key.len, key.hash)
    c.engine.persist.dirty += changes

# ---- adding ------------------------------------------------------------------------------------------

cdef void _push(client_t* c, const char* event, bint front, bint must_exist) noexcept nogil:
    cdef engine_t* e = c.engine
    cdef arg_t* key = &c.argv[1]
    cdef entry_t* old = lookup_write(c, key)
    cdef entry_t* entry = old
    cdef size_t bytes = 0
    cdef int i
    if not type_or_reply(c, old, OBJ_LIST):
        return
    if old == NULL:
        if must_exist:
            reply_int(c, 0)
            return
        entry = list_new(e, key.ptr, key.len)
    for i in range(2, c.argc):
        bytes += c.argv[i].len
    entry = list_prepare(e, entry, bytes, c.argc - 2)
    for i in range(2, c.argc):
        entry = list_push(e, entry, front, c.argv[i].ptr, c.argv[i].len)
    if old == NULL:
        db_insert(c.db, entry, key.hash)
    else:
        db_replace(c.db, old, entry, key.hash)
    list_changed(c, event, key, c.argc - 2)
    reply_int(c, list_len(entry))


cdef void lpush_command(client_t* c) noexcept nogil:
    _push(c, b"lpush", True, False)


cdef void rpush_command(client_t* c) noexcept nogil:
    _push(c, b"rpush", False, False)


cdef void lpushx_command(client_t* c) noexcept nogil:
    _push(c, b"lpush", True, True)


cdef void rpushx_command(client_t* c) noexcept nogil:
    _push(c, b"rpush", False, True)

# ---- reading -----------------------------------------------------------------------------------------

cdef void _reply_range(client_t* c, const entry_t* entry, size_t first, size_t count, bint back) noexcept nogil:
    """So many elements from `first` on, backwards if `back`."""
    cdef list_iter_t it
    cdef lp_item_t item
    reply_array(c, count)
    list_seek(&it, c.engine.heap, entry, first, back)
    while count and list_next(&it, &item):
        reply_item(c, &item, list_block(&it))
        count -= 1
    list_done(&it)


cdef void llen_command(client_t* c) noexcept nogil:
    cdef entry_t* entry = lookup_read(c, &c.argv[1])
    if type_or_reply(c, entry, OBJ_LIST):
        reply_int(c, list_len(entry) if entry != NULL else 0)


cdef size_t _clamp(size_t n, int64_t* start, int64_t* stop) noexcept nogil:
    """Makes indexes, of which negative ones count from the end, places among n elements; how many these are."""
    cdef int64_t length = <int64_t>n
    if start[0] < 0:
        start[0] = max(start[0] + length, <int64_t>0)
    if stop[0] < 0:
        stop[0] += length
    if start[0] > stop[0] or start[0] >= length:
        return 0
    stop[0] = min(stop[0], length - 1)
    return stop[0] - start[0] + 1


cdef void lrange_command(client_t* c) noexcept nogil:
    cdef int64_t start, stop
    cdef entry_t* entry
    cdef size_t count
    if not arg_int64(c, &c.argv[2], &start) or not arg_int64(c, &c.argv[3], &stop):
        return
    entry = lookup_read(c, &c.argv[1])
    if not type_or_reply(c, entry, OBJ_LIST):
        return
    count = _clamp(list_len(entry), &start, &stop) if entry != NULL else 0
    if count:
        _reply_range(c, entry, start, count, False)
    else:
        reply_array(c, 0)

# ---- removing ----------------------------------------------------------------------------------------

cdef void _remove_end(client_t* c, arg_t* key, entry_t* old, bint front, size_t count) noexcept nogil:
    cdef size_t n = list_len(old)
    cdef entry_t* entry = list_remove(c.engine, old, 0 if front else n - count, count if front else n)
    list_removed(c, b"lpop" if front else b"rpop", key, old, entry, count)


cdef void pop_one_and_reply(client_t* c, arg_t* key, entry_t* entry, bint front) noexcept nogil:
    cdef list_iter_t it
    cdef lp_item_t item
    list_seek(&it, c.engine.heap, entry, 0 if front else list_len(entry) - 1, False)
    if list_next(&it, &item):
        reply_item(c, &item, list_block(&it))
    list_done(&it)
    _remove_end(c, key, entry, front, 1)


cdef void pop_and_reply(client_t* c, arg_t* key, entry_t* entry, bint front, size_t count) noexcept nogil:
    _reply_range(c, entry, 0 if front else list_len(entry) - 1, count, not front)
    _remove_end(c, key, entry, front, count)


cdef void _pop(client_t* c, bint front) noexcept nogil:
    cdef arg_t* key = &c.argv[1]
    cdef int64_t count = 1
    cdef entry_t* entry
    if c.argc > 3:
        reply_wrong_arity(c)
        return
    if c.argc == 3 and not arg_int64_from(c, &c.argv[2], 0, &count, ERR_MUST_BE_POSITIVE):
        return
    entry = lookup_write(c, key)
    if not type_or_reply(c, entry, OBJ_LIST):
        return
    if entry == NULL:
        if c.argc == 3:
            reply_null_array(c)
        else:
            reply_null(c)
    elif count == 0:
        reply_array(c, 0)
    elif c.argc == 3:
        pop_and_reply(c, key, entry, front, min(<size_t>count, list_len(entry)))
    else:
        pop_one_and_reply(c, key, entry, front)


cdef void lpop_command(client_t* c) noexcept nogil:
    _pop(c, True)


cdef void rpop_command(client_t* c) noexcept nogil:
    _pop(c, False)


cdef void ltrim_command(client_t* c) noexcept nogil:
    cdef engine_t* e = c.engine
    cdef arg_t* key = &c.argv[1]
    cdef int64_t start, stop
    cdef entry_t* old
    cdef entry_t* entry
    cdef size_t n, left
    if not arg_int64(c, &c.argv[2], &start) or not arg_int64(c, &c.argv[3], &stop):
        return
    old = lookup_write(c, key)
    if not type_or_reply(c, old, OBJ_LIST):
        return
    if old != NULL:
        n = list_len(old)
        left = _clamp(n, &start, &stop)
        if left:
            entry = list_remove(e, old, <size_t>stop + 1, n)
            entry = list_remove(e, entry, 0, start)
        else:
            entry = list_remove(e, old, 0, n)
        list_removed(c, b"ltrim", key, old, entry, n - left)
    reply_ok(c)

# ---- rows --------------------------------------------------------------------------------------------

cdef int _register_pushes(engine_t* e) except -1:
    cdef str flags = "write denyoom fast"
    cdef str adds = ("list {} O(1) for each element added, so O(N) to add N elements when the command is called with"
                     " multiple arguments.; history {} Accepts multiple `element` arguments.")
    cdef str syntax = "key:key element:string..."
    command_row(e, lpush_command, "lpush", -3, flags, "list", "1 RW insert", adds.format("1.0.0", "2.4.0"),
                "Puts elements in front of a list, which is created if need be.", syntax)
    command_row(e, rpush_command, "rpush", -3, flags, "list", "1 RW insert", adds.format("1.0.0", "2.4.0"),
                "Puts elements behind a list, which is created if need be.", syntax)
    command_row(e, lpushx_command, "lpushx", -3, flags, "list", "1 RW insert", adds.format("2.2.0", "4.0.0"),
                "Puts elements in front of a list if there is one.", syntax)
    command_row(e, rpushx_command, "rpushx", -3, flags, "list", "1 RW insert", adds.format("2.2.0", "4.0.0"),
                "Puts elements behind a list if there is one.", syntax)
    return 0


cdef int register_list(engine_t* e) except -1:
    """Adds this family's rows to the engine's command table."""
    cdef str pops = ("list 1.0.0 O(N) where N is the number of elements returned; history 6.2.0 Added the `count`"
                     " argument.")
    _register_pushes(e)
    command_row(e, lpop_command, "lpop", -2, "write fast", "list", "1 RW access delete", pops,
                "Takes elements from the front of a list.", "key:key [count:integer@6.2.0]")
    command_row(e, rpop_command, "rpop", -2, "write fast", "list", "1 RW access delete", pops,
                "Takes elements from the end of a list.", "key:key [count:integer@6.2.0]")
    command_row(e, llen_command, "llen", 2, "readonly fast", "list", "1 RO", "list 1.0.0 O(1)",
                "Returns how many elements a list has.", "key:key")
    command_row(e, lrange_command, "lrange", 4, "readonly", "list", "1 RO access",
                "list 1.0.0 O(S+N) where S is the distance of start offset from HEAD for small lists, from nearest end"
                " (HEAD or TAIL) for large lists; and N is the number of elements in the specified range.",
                "Returns elements of a list by their places.", "key:key start:integer stop:integer")
    command_row(e, ltrim_command, "ltrim", 4, "write", "list", "1 RW delete",
                "list 1.0.0 O(N) where N is the number of elements to be removed by the operation.",
                "Removes all elements but those of a range.", "key:key start:integer stop:integer")
    register_list_inner(e)
    return register_list_move(e)

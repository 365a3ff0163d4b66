"""Elements that go from one list to another, several lists, and clients that wait for elements.

What waits, and what several keys mean: popping.pxd.
"""

from libc.string cimport memcpy

from cachefleet_server.commands.popping cimport (
    blocking_multi_pop, blocking_pop, multi_pop, nothing_came, popped_t, timeout_or_reply)
from cachefleet_server.commands.t_list cimport *
from cachefleet_server.core.command cimport command_row
from cachefleet_server.core.list_value cimport (
    list_done, list_new, list_next, list_prepare, list_push, list_remove, list_seek)
from cachefleet_server.core.reply cimport (
    arg_is, reply_null, reply_syntax_error)
from cachefleet_server.ds.zmalloc cimport zfree, zmalloc
from cachefleet_server.keyspace.journal cimport journal_arg, journal_rewrite
from cachefleet_server.keyspace.waiting cimport wait_for_keys

cdef enum:
    END_NONE = -1
    RIGHT = 0
    LEFT = 1

cdef int _end_or_reply(client_t* c, const arg_t* a) noexcept nogil:
    if arg_is(a, b"left"):
        return LEFT
    if arg_is(a, b"right"):
        return RIGHT
    reply_syntax_error(c)
    return END_NONE


# ---- from one list to another ------------------------------------------------------------------------

cdef void _push_to(client_t* c, arg_t* key, entry_t* old, bint front, const char* p, size_t n) noexcept nogil:
    """An element for a list, which is made if there is none, and what is said about it but for the count of changes."""
    cdef engine_t* e = c.engine
    cdef entry_t* entry = old if old != NULL else list_new(e, key.ptr, key.len)
    entry = list_push(e, list_prepare(e, entry, n, 1), front, p, n)
    if old == NULL:
        db_insert(c.db, entry, key.hash)
    else:
        db_replace(c.db, old, entry, key.hash)
    list_changed(c, b"lpush" if front else b"rpush", key, 0)


cdef void _rotate(client_t* c, arg_t* key, entry_t* old, bint from_front, bint to_front) noexcept nogil:
    """An element to an end of its own list."""
    cdef engine_t* e = c.engine
    cdef size_t at = 0 if from_front else list_len(old) - 1
    cdef list_iter_t it
    cdef lp_item_t item
    cdef char digits[INT64_CHARS_MAX]
    cdef size_t n = 0
    cdef const char* p = NULL
    cdef char* copy
    cdef entry_t* entry
    list_seek(&it, e.heap, old, at, False)
    if list_next(&it, &item):
        reply_item(c, &item, list_block(&it))
        p = lp_text(&item, &digits[0], &n)
    copy = <char*>zmalloc(e.heap, n + 1)
    memcpy(copy, p, n)
    list_done(&it)
    entry = list_remove(e, old, at, at + 1)
    entry = list_push(e, list_prepare(e, entry, n, 1), to_front, copy, n)
    zfree(e.heap, copy)
    entry = list_settle(e, entry)
    db_replace(c.db, old, entry, key.hash)
    list_changed(c, b"lpush" if to_front else b"rpush", key, 0)
    list_removed(c, b"lpop" if from_front else b"rpop", key, entry, entry, 1)


cdef bint _move(client_t* c, entry_t* source, bint from_front, bint to_front) noexcept nogil:
    """From the list at argv[1] to argv[2]; false: the target is no list, which has been replied."""
    cdef engine_t* e = c.engine
    cdef arg_t* key = &c.argv[1]
    cdef entry_t* target = lookup_write(c, &c.argv[2])
    cdef size_t at = 0 if from_front else list_len(source) - 1
    cdef list_iter_t it
    cdef lp_item_t item
    cdef char digits[INT64_CHARS_MAX]
    cdef const char* p
    cdef size_t n
    if not type_or_reply(c, target, OBJ_LIST):
        return False
    if target == source:
        _rotate(c, key, source, from_front, to_front)
        return True
    list_seek(&it, e.heap, source, at, False)
    if list_next(&it, &item):
        reply_item(c, &item, list_block(&it))
        p = lp_text(&item, &digits[0], &n)
        _push_to(c, &c.argv[2], target, to_front, p, n)
    list_done(&it)
    list_removed(
        c, b"lpop" if from_front else b"rpop", key, source, list_remove(e, source, at, at + 1), 1)
    return True


cdef void lmove_command(client_t* c) noexcept nogil:
    cdef int from_end = _end_or_reply(c, &c.argv[3])
    cdef int to_end = _end_or_reply(c, &c.argv[4]) if from_end != END_NONE else END_NONE
    if to_end != END_NONE:
        _move_or_null(c, from_end, to_end)


cdef void rpoplpush_command(client_t* c) noexcept nogil:
    _move_or_null(c, RIGHT, LEFT)


cdef void _move_or_null(client_t* c, bint from_front, bint to_front) noexcept nogil:
    cdef entry_t* source = lookup_write(c, &c.argv[1])
    if source == NULL:
        reply_null(c)
    elif type_or_reply(c, source, OBJ_LIST):
        _move(c, source, from_front, to_front)


cdef void _move_or_wait(
    client_t* c, bint from_front, bint to_front, int64_t until_ms, const char* name, int words
) noexcept nogil:
    """`name` and the first `words` arguments are what has been done."""
    cdef entry_t* source = lookup_write(c, &c.argv[1])
    cdef arg_t argv[5]
    if not type_or_reply(c, source, OBJ_LIST):
        return
    if source == NULL:
        if not wait_for_keys(c, &c.argv[1], 1, OBJ_LIST, 0, until_ms, nothing_came):
            reply_null(c)
    elif _move(c, source, from_front, to_front) and c.engine.journal.enabled:
        argv[0] = journal_arg(name, strlen(name))
        memcpy(&argv[1], &c.argv[1], words * sizeof(arg_t))
        journal_rewrite(c, 1 + words, argv)


cdef void blmove_command(client_t* c) noexcept nogil:
    cdef int from_end = _end_or_reply(c, &c.argv[3])
    cdef int to_end = _end_or_reply(c, &c.argv[4]) if from_end != END_NONE else END_NONE
    cdef int64_t until_ms
    if to_end != END_NONE and timeout_or_reply(c, &c.argv[5], &until_ms):
        _move_or_wait(c, from_end, to_end, until_ms, b"LMOVE", 4)


cdef void brpoplpush_command(client_t* c) noexcept nogil:
    cdef int64_t until_ms
    if timeout_or_reply(c, &c.argv[3], &until_ms):
        _move_or_wait(c, RIGHT, LEFT, until_ms, b"RPOPLPUSH", 2)

# ---- the first of several lists ----------------------------------------------------------------------

cdef popped_t LISTS = popped_t(  # constant after import
    type=OBJ_LIST, front=b"left", back=b"right", front_command=b"LPOP", back_command=b"RPOP", one_parts=2,
    len_fn=list_len, one_fn=pop_one_and_reply, several_fn=pop_and_reply)


cdef void blpop_command(client_t* c) noexcept nogil:
    blocking_pop(c, &LISTS, True)


cdef void brpop_command(client_t* c) noexcept nogil:
    blocking_pop(c, &LISTS, False)


cdef void lmpop_command(client_t* c) noexcept nogil:
    multi_pop(c, &LISTS)


cdef void blmpop_command(client_t* c) noexcept nogil:
    blocking_multi_pop(c, &LISTS)

# ---- rows --------------------------------------------------------------------------------------------

cdef int _register_moves(engine_t* e) except -1:
    cdef str keys = "1 RW access delete;2 RW insert"
    cdef str ends = "source:key destination:key wherefrom(LEFT | RIGHT) whereto(LEFT | RIGHT)"
    command_row(e, lmove_command, "lmove", 5, "write denyoom", "list", keys, "list 6.2.0 O(1)",
                "Moves an element from an end of a list to an end of another.", ends)
    command_row(e, blmove_command, "blmove", 6, "write denyoom blocking", "list", keys, "list 6.2.0 O(1)",
                "Moves an element from an end of a list to an end of another, and waits for one.",
                ends + " timeout:double")
    command_row(e, rpoplpush_command, "rpoplpush", 3, "write denyoom", "list", keys,
                "list 1.2.0 O(1)",
                "Moves the last element of a list to the front of another.", "source:key destination:key")
    command_row(e, brpoplpush_command, "brpoplpush", 4, "write denyoom blocking", "list", keys,
                "list 2.2.0 O(1); history 6.0.0 `timeout` is interpreted as a double instead of an integer.",
                "Moves the last element of a list to the front of another, and waits for one.",
                "source:key destination:key timeout:double")
    return 0


cdef int register_list_move(engine_t* e) except -1:
    """Adds this family's rows to the engine's command table."""
    cdef str waits = (
        "list 2.0.0 O(N) where N is the number of provided keys.; history 6.0.0 `timeout` is interpreted as a double"
        " instead of an integer.")
    cdef str many = ("list 7.0.0 O(N+M) where N is the number of provided keys and M is the number of elements"
                     " returned.")
    cdef str words = "numkeys:integer key:key... where(LEFT | RIGHT) [COUNT count:integer]"
    _register_moves(e)
    command_row(e, blpop_command, "blpop", -3, "write blocking", "list", "1:-2 RW access delete", waits,
                "Takes the first element of the first list that has one, and waits for it.",
                "key:key... timeout:double")
    command_row(e, brpop_command, "brpop", -3, "write blocking", "list", "1:-2 RW access delete", waits,
                "Takes the last element of the first list that has one, and waits for it.",
                "key:key... timeout:double")
    command_row(e, lmpop_command, "lmpop", -4, "write movablekeys", "list", "numkeys:1 RW access delete", many,
                "Takes elements from the first list that has some.", words)
    command_row(e, blmpop_command, "blmpop", -5, "write blocking movablekeys", "list",
                "numkeys:2 RW access delete", many,
                "Takes elements from the first list that has some, and waits for them.",
                "timeout:double " + words)
    return 0

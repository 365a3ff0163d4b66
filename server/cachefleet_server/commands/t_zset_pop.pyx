"""The first and last members of sorted sets, and clients that wait for them; see popping.pxd."""

from cachefleet_server.commands.popping cimport (
    ERR_MUST_BE_POSITIVE, blocking_multi_pop, blocking_pop, multi_pop, popped_t)
from cachefleet_server.commands.t_zset cimport *
from cachefleet_server.core.command cimport command_row
from cachefleet_server.core.reply cimport arg_int64_from, reply_array, reply_double, reply_syntax_error
from cachefleet_server.core.zset_value cimport zset_iter_t, zset_next, zset_remove_range, zset_seek


cdef void _pop(client_t* c, arg_t* key, entry_t* old, bint front, size_t n, bint in_pairs) noexcept nogil:
    """Replies n members, which are there, behind a header that the caller has replied, and removes them."""
    cdef size_t first = 0 if front else zset_len(old) - n
    cdef zset_iter_t it
    cdef lp_item_t item
    cdef double score
    zset_seek(&it, old, first, n, not front)
    while zset_next(&it, &item, &score):
        if in_pairs:
            reply_array(c, 2)
        reply_member(c, &item)
        reply_double(c, score)
    zset_removed(
        c, b"zpopmin" if front else b"zpopmax", key, old, zset_remove_range(c.engine, old, first, n), n)


cdef void _pop_command(client_t* c, bint front) noexcept nogil:
    cdef arg_t* key = &c.argv[1]
    cdef bint in_pairs = c.resp == 3 and c.argc == 3
    cdef int64_t count = 1
    cdef entry_t* entry
    if c.argc > 3:
        reply_syntax_error(c)
        return
    if c.argc == 3 and not arg_int64_from(c, &c.argv[2], 0, &count, ERR_MUST_BE_POSITIVE):
        return
    entry = lookup_write(c, key)
    if not type_or_reply(c, entry, OBJ_ZSET):
        return
    entry = members_purged(c, key, entry)
    if entry == NULL or count == 0:
        reply_array(c, 0)
        return
    count = min(count, <int64_t>zset_len(entry))
    reply_array(c, count if in_pairs else 2 * count)
    _pop(c, key, entry, front, count, in_pairs)


cdef void zpopmin_command(client_t* c) noexcept nogil:
    _pop_command(c, True)


cdef void zpopmax_command(client_t* c) noexcept nogil:
    _pop_command(c, False)


cdef void _pop_one(client_t* c, arg_t* key, entry_t* entry, bint front) noexcept nogil:
    _pop(c, key, entry, front, 1, False)


cdef void _pop_several(client_t* c, arg_t* key, entry_t* entry, bint front, size_t count) noexcept nogil:
    reply_array(c, count)
    _pop(c, key, entry, front, count, True)


cdef popped_t ZSETS = popped_t(  # constant after import
    type=OBJ_ZSET, front=b"min", back=b"max", front_command=b"ZPOPMIN", back_command=b"ZPOPMAX", one_parts=3,
    len_fn=zset_len, one_fn=_pop_one, several_fn=_pop_several)


cdef void bzpopmin_command(client_t* c) noexcept nogil:
    blocking_pop(c, &ZSETS, True)


cdef void bzpopmax_command(client_t* c) noexcept nogil:
    blocking_pop(c, &ZSETS, False)


cdef void zmpop_command(client_t* c) noexcept nogil:
    multi_pop(c, &ZSETS)


cdef void bzmpop_command(client_t* c) noexcept nogil:
    blocking_multi_pop(c, &ZSETS)

# ---- rows --------------------------------------------------------------------------------------------

cdef int register_zset_pop(engine_t* e) except -1:
    """Adds this family's rows to the engine's command table."""
    cdef str one = ("sorted-set 5.0.0 O(log(N)*M) with N being the number of elements in the sorted set, and M being"
                    " the number of elements popped.")
    cdef str waits = ("sorted-set 5.0.0 O(log(N)) with N being the number of elements in the sorted set."
                      "; history 6.0.0 `timeout` is interpreted as a double instead of an integer.")
    cdef str many = ("sorted-set 7.0.0 O(K) + O(M*log(N)) where K is the number of provided keys, N being the number"
                     " of elements in the sorted set, and M being the number of elements popped.")
    cdef str words = "numkeys:integer key:key... where(MIN | MAX) [COUNT count:integer]"
    command_row(e, zpopmin_command, "zpopmin", -2, "write fast", "sortedset", "1 RW access delete", one,
                "Takes the members with the lowest scores.", "key:key [count:integer]")
    command_row(e, zpopmax_command, "zpopmax", -2, "write fast", "sortedset", "1 RW access delete", one,
                "Takes the members with the highest scores.", "key:key [count:integer]")
    command_row(e, bzpopmin_command, "bzpopmin", -3, "write blocking fast", "sortedset", "1:-2 RW access delete",
                waits, "Takes the first member of the first sorted set that has one, and waits for it.",
                "key:key... timeout:double")
    command_row(e, bzpopmax_command, "bzpopmax", -3, "write blocking fast", "sortedset", "1:-2 RW access delete",
                waits, "Takes the last member of the first sorted set that has one, and waits for it.",
                "key:key... timeout:double")
    command_row(e, zmpop_command, "zmpop", -4, "write movablekeys", "sortedset", "numkeys:1 RW access delete", many,
                "Takes members from the first sorted set that has some.", words)
    command_row(e, bzmpop_command, "bzmpop", -5, "write blocking movablekeys", "sortedset",
                "numkeys:2 RW access delete", many,
                "Takes members from the first sorted set that has some, and waits for them.",
                "timeout:double " + words)
    return 0

"""SORT and SORT_RO; see t_sort.pxd."""

from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport qsort

from cachefleet_server.commands.t_members cimport reply_member
from cachefleet_server.commands.t_sort_pattern cimport (
    find_key, find_value, finder_begin, finder_end, finder_t, pattern_read, pattern_t, reply_value, value_t)
from cachefleet_server.core.command cimport command_row
from cachefleet_server.core.engine cimport CLIENT_PREVENT_PROPAGATE, arg_t, client_t
from cachefleet_server.core.entry cimport OBJ_LIST, OBJ_SET, OBJ_ZSET, entry_t, entry_type
from cachefleet_server.core.errors cimport ERR_WRONGTYPE
from cachefleet_server.core.list_value cimport (
    list_done, list_iter_t, list_len, list_listpack_bytes, list_next, list_of_sequence, list_seek)
from cachefleet_server.core.members_walk cimport is_small, members_count, members_walk_all, seen_t
from cachefleet_server.core.options cimport (
    OPT_ALPHA, OPT_ASC, OPT_BY, OPT_DESC, OPT_GET, OPT_LIMIT, OPT_STORE, option_walk_t, options_begin, options_end,
    options_next)
from cachefleet_server.core.reply cimport arg_int64, reply_array, reply_error, reply_int, reply_null
from cachefleet_server.core.zset_hidden cimport hidden_begin, hidden_end, zset_hidden_t
from cachefleet_server.core.zset_value cimport zset_iter_t, zset_len, zset_next, zset_seek_shown
from cachefleet_server.ds.buf cimport buf_free, buf_init, buf_put, buf_reserve, buf_t
from cachefleet_server.ds.listpack cimport lp_item_t, lp_text
from cachefleet_server.ds.number cimport INT64_CHARS_MAX, chars_to_double
from cachefleet_server.ds.order cimport bytes_order
from cachefleet_server.ds.owners cimport owner_add, owner_drop
from cachefleet_server.ds.partsort cimport sort_part
from cachefleet_server.ds.sequence cimport seq_new, seq_push, seq_t
from cachefleet_server.keyspace.db cimport NOTIFY_LIST, key_stored
from cachefleet_server.keyspace.journal cimport (
    journal_arg, journal_command, journal_raw, journal_transaction_begin, journal_transaction_end)
from cachefleet_server.resp.command cimport command_header, command_word

cdef extern from "<string.h>" nogil:
    size_t strnlen(const char* p, size_t n)

cdef enum:
    PUSHED = 64  # elements of a command that propagates a list, at most

    TIES_BY_PLACE = 0  # equal elements: in the order in which they came
    TIES_BY_BYTES = 1  # of a table
    TIES_AS_THEY_COME = 2  # as Valkey's sorting of a part leaves them

cdef struct sort_t:
    client_t* client
    const entry_t* entry  # NULL: there is none
    finder_t finder
    bint desc
    bint alpha
    bint unsorted
    bint by  # `weight` counts
    pattern_t weight
    buf_t gets  # pattern_t
    int64_t offset
    int64_t limit  # negative: all
    arg_t* store
    int ties  # TIES_*
    buf_t blocks  # void*: of the list, owned
    buf_t elements  # element_t
    buf_t digits  # of integers that are compared as texts
    size_t first  # of them, where the result begins ...
    size_t count  # ... and how many it has

cdef struct text_t:
    const char* str  # NULL: there is none
    size_t len

cdef union weight_t:
    double number
    text_t text

cdef struct element_t:
    lp_item_t item
    weight_t weight
    size_t place  # in the order in which it came
    const sort_t* sort

# ---- words -------------------------------------------------------------------------------------------

cdef bint _words_or_reply(client_t* c, sort_t* s) noexcept nogil:
    cdef option_walk_t w
    cdef pattern_t get
    options_begin(&w, c, 2)
    while options_next(&w):
        if w.option == OPT_ASC:
            s.desc = False
        elif w.option == OPT_DESC:
            s.desc = True
        elif w.option == OPT_ALPHA:
            s.alpha = True
        elif w.option == OPT_LIMIT:
            if not arg_int64(c, &w.value[0], &s.offset) or not arg_int64(c, &w.value[1], &s.limit):
                return False
        elif w.option == OPT_STORE:
            s.store = <arg_t*>w.value
            s.finder.stores = True
        elif w.option == OPT_BY:
            s.by = True
            pattern_read(&s.weight, w.value)
            if s.weight.star == NULL:  # of several patterns, one is enough
                s.unsorted = True
        elif w.option == OPT_GET:
            pattern_read(&get, w.value)
            buf_put(&s.gets, &get, sizeof(pattern_t))
    return options_end(&w)

# ---- elements ----------------------------------------------------------------------------------------

cdef void _add(sort_t* s, const lp_item_t* item) noexcept nogil:
    cdef element_t* x = <element_t*>buf_reserve(&s.elements, sizeof(element_t))
    x.item = item[0]
    x.place = s.elements.len // sizeof(element_t)
    x.sort = s
    s.elements.len += sizeof(element_t)


cdef void _add_seen(void* ctx, const seen_t* seen) noexcept nogil:
    _add(<sort_t*>ctx, &seen.key)


cdef void _load_list(sort_t* s, size_t first, size_t n, bint back) noexcept nogil:
    cdef void* last = NULL
    cdef list_iter_t it
    cdef lp_item_t item
    list_seek(&it, s.client.engine.heap, s.entry, first, back)
    while n and list_next(&it, &item):
        if it.listpack == NULL and it.seq.own != NULL and it.seq.own != last:
            last = it.seq.own
            owner_add(last)
            buf_put(&s.blocks, &last, sizeof(void*))
        _add(s, &item)
        n -= 1
    list_done(&it)


cdef void _load_zset(
    sort_t* s, const zset_hidden_t* hidden, size_t first, size_t n, bint back
) noexcept nogil:
    cdef zset_iter_t it
    cdef lp_item_t member
    cdef double score
    zset_seek_shown(&it, s.entry, hidden, first, n, back)
    while zset_next(&it, &member, &score):
        _add(s, &member)


cdef void _limit(sort_t* s, size_t n) noexcept nogil:
    """Which of n elements are wanted."""
    s.first = min(<size_t>max(s.offset, <int64_t>0), n)
    s.count = n - s.first
    if s.limit >= 0:
        s.count = min(s.count, <size_t>s.limit)


cdef void _load_part(sort_t* s) noexcept nogil:
    """What is in order by itself: the part that is wanted."""
    cdef bint is_list = entry_type(s.entry) == OBJ_LIST
    cdef const entry_t* zset = NULL
    cdef zset_hidden_t hidden
    cdef size_t n
    if not is_list:
        zset = s.entry
    hidden_begin(&hidden, s.client.engine, zset, s.finder.clock)
    n = list_len(s.entry) if is_list else zset_len(s.entry) - hidden.count
    s.finder.met_hidden |= hidden.count != 0
    _limit(s, n)
    buf_reserve(&s.elements, s.count * sizeof(element_t))
    if s.count and is_list:
        _load_list(s, n - 1 - s.first if s.desc else s.first, s.count, s.desc)
    elif s.count:
        _load_zset(s, &hidden, n - s.first - s.count if s.desc else s.first, s.count, s.desc)
    hidden_end(&hidden)
    s.first = 0


cdef void _load(sort_t* s) noexcept nogil:
    cdef int type = entry_type(s.entry)
    if s.unsorted and type != OBJ_SET:
        _load_part(s)
        return
    if type == OBJ_LIST:
        buf_reserve(&s.elements, list_len(s.entry) * sizeof(element_t))
        _load_list(s, 0, list_len(s.entry), False)
    else:
        buf_reserve(&s.elements, members_count(s.entry) * sizeof(element_t))
        members_walk_all(s.entry, s.finder.clock, _add_seen, s)
        if s.elements.len // sizeof(element_t) != members_count(s.entry):
            s.finder.met_hidden = True
    _limit(s, s.elements.len // sizeof(element_t))

# ---- weights and order -------------------------------------------------------------------------------

cdef bint _number(const lp_item_t* item, double* out) noexcept nogil:
    """A score; a NUL ends the text."""
    if item.str == NULL:
        out[0] = <double>item.num
        return True
    return chars_to_double(item.str, strnlen(item.str, item.len), out)


cdef void _weigh_text(sort_t* s, const lp_item_t* item, size_t left, text_t* out) noexcept nogil:
    """`left` elements have no weight yet: so many numbers at most are written, none of which may move."""
    if item.str == NULL:
        if s.digits.len == 0:
            buf_reserve(&s.digits, left * INT64_CHARS_MAX)
        out.str = lp_text(item, s.digits.data + s.digits.len, &out.len)
        s.digits.len += out.len
    else:
        out.str = item.str
        out.len = item.len if s.store != NULL else strnlen(item.str, item.len)


cdef bint _weigh(sort_t* s, element_t* x, size_t left) noexcept nogil:
    """False: its value is no number."""
    cdef value_t value
    if not s.by:
        value.item = x.item
    elif not find_value(&s.finder, &s.weight, &x.item, &value):
        if s.alpha:
            x.weight.text.str = NULL
        else:
            x.weight.number = 0
        return True
    if not s.alpha:
        return _number(&value.item, &x.weight.number)
    _weigh_text(s, &value.item, left, &x.weight.text)
    return True


cdef int _by_items(const lp_item_t* a, const lp_item_t* b) noexcept nogil:
    cdef char digits_a[INT64_CHARS_MAX]
    cdef char digits_b[INT64_CHARS_MAX]
    cdef size_t n, m
    cdef const char* p = lp_text(a, &digits_a[0], &n)
    cdef const char* q = lp_text(b, &digits_b[0], &m)
    return bytes_order(p, n, q, m)


cdef inline int _by_texts(const text_t* a, const text_t* b) noexcept nogil:
    if a.str == NULL or b.str == NULL:
        return (b.str == NULL) - (a.str == NULL)
    return bytes_order(a.str, a.len, b.str, b.len)


cdef inline int _by_weights(const element_t* a, const element_t* b) noexcept nogil:
    if a.sort.alpha:
        return _by_texts(&a.weight.text, &b.weight.text)
    if a.weight.number == b.weight.number:
        return _by_items(&a.item, &b.item)
    return -1 if a.weight.number < b.weight.number else 1


cdef int _compare(const void* x, const void* y) noexcept nogil:
    cdef const element_t* a = <const element_t*>x
    cdef const element_t* b = <const element_t*>y
    cdef const sort_t* s = a.sort
    cdef int r = _by_weights(a, b)
    if r:
        return (r < 0) - (r > 0) if s.desc else r
    if s.ties == TIES_BY_BYTES:
        r = _by_items(&a.item, &b.item)
    if r or s.ties == TIES_AS_THEY_COME:
        return r
    return (a.place > b.place) - (a.place < b.place)


cdef bint _sort(sort_t* s) noexcept nogil:
    """False: some values are no numbers. All are looked up in any case."""
    cdef element_t* elements = <element_t*>s.elements.data
    cdef size_t n = s.elements.len // sizeof(element_t)
    cdef bint fine = True
    cdef bint part = s.by and s.count < n  # as in Valkey, which sorts all without BY
    cdef size_t i
    for i in range(n):
        if not _weigh(s, &elements[i], n - i):
            fine = False
    if not fine or s.count == 0:
        return fine
    if entry_type(s.entry) == OBJ_ZSET or (entry_type(s.entry) == OBJ_SET and not is_small(s.entry)):
        s.ties = TIES_BY_BYTES
    elif part:
        s.ties = TIES_AS_THEY_COME
    if part:
        sort_part(elements, n, sizeof(element_t), _compare, s.first, s.first + s.count - 1)
    else:
        qsort(elements, n, sizeof(element_t), _compare)
    return True

# ---- results -----------------------------------------------------------------------------------------

cdef void _reply(sort_t* s) noexcept nogil:
    cdef client_t* c = s.client
    cdef const element_t* elements = <const element_t*>s.elements.data
    cdef const pattern_t* gets = <const pattern_t*>s.gets.data
    cdef size_t n = s.gets.len // sizeof(pattern_t)
    cdef value_t value
    cdef size_t i, k
    reply_array(c, s.count * n if n else s.count)
    for i in range(s.first, s.first + s.count):
        if n == 0:
            reply_member(c, &elements[i].item)
        for k in range(n):
            if find_value(&s.finder, &gets[k], &elements[i].item, &value):
                reply_value(c, &value)
            else:
                reply_null(c)


cdef inline void _push(sort_t* s, seq_t* made, const lp_item_t* item) noexcept nogil:
    cdef char digits[INT64_CHARS_MAX]
    cdef size_t n
    cdef const char* p = lp_text(item, &digits[0], &n)
    seq_push(s.client.engine.heap, made, False, p, n)


cdef entry_t* _make_list(sort_t* s) noexcept nogil:
    """Of the result, which is not empty. What GET does not find is an empty element."""
    cdef engine_t* e = s.client.engine
    cdef const element_t* elements = <const element_t*>s.elements.data
    cdef const pattern_t* gets = <const pattern_t*>s.gets.data
    cdef size_t n = s.gets.len // sizeof(pattern_t)
    cdef seq_t* made = seq_new(e.heap, <int>e.params.list_max_listpack_size, <int>e.params.list_compress_depth)
    cdef value_t value
    cdef size_t i, k
    for i in range(s.first, s.first + s.count):
        if n == 0:
            _push(s, made, &elements[i].item)
        for k in range(n):
            if not find_value(&s.finder, &gets[k], &elements[i].item, &value):
                value.item.str = b""
                value.item.len = 0
            _push(s, made, &value.item)
    return list_of_sequence(e, s.store.ptr, s.store.len, made, list_listpack_bytes(made), -1)


cdef void _propagate_list(client_t* c, const arg_t* key, const entry_t* entry) noexcept nogil:
    """Instead of the running command: the list anew, or its end."""
    cdef engine_t* e = c.engine
    cdef size_t left = list_len(entry) if entry != NULL else 0
    cdef char digits[INT64_CHARS_MAX]
    cdef arg_t argv[2]
    cdef list_iter_t it
    cdef lp_item_t item
    cdef const char* p
    cdef size_t n, count
    cdef buf_t push
    argv[0] = journal_arg(b"DEL", 3)
    argv[1] = key[0]
    buf_init(&push, e.heap)
    journal_transaction_begin(e)
    journal_command(e, c.db.id, 2, argv)
    if entry != NULL:
        list_seek(&it, e.heap, entry, 0, False)
    while left:
        count = min(left, <size_t>PUSHED)
        left -= count
        push.len = 0
        command_header(&push, c"*", 2 + count)
        command_word(&push, b"RPUSH", 5)
        command_word(&push, key.ptr, key.len)
        while count and list_next(&it, &item):
            p = lp_text(&item, &digits[0], &n)
            command_word(&push, p, n)
            count -= 1
        journal_raw(e, c.db.id, push.data, push.len)
    if entry != NULL:
        list_done(&it)
    journal_transaction_end(e)
    buf_free(&push)
    c.flags |= CLIENT_PREVENT_PROPAGATE


cdef void _store(sort_t* s) noexcept nogil:
    cdef client_t* c = s.client
    cdef entry_t* entry = _make_list(s) if s.count else NULL
    cdef size_t n = list_len(entry) if s.count else 0
    cdef uint64_t dirty = c.engine.persist.dirty
    key_stored(c, s.store, NOTIFY_LIST, b"sortstore", entry)
    if s.finder.met_hidden and c.engine.persist.dirty != dirty and c.engine.journal.enabled:
        _propagate_list(c, s.store, entry)
    if n:
        c.engine.persist.dirty += n - 1
    reply_int(c, n)

# ---- commands ----------------------------------------------------------------------------------------

cdef void _begin(sort_t* s, client_t* c) noexcept nogil:
    s.client = c
    s.entry = NULL
    s.desc = s.alpha = s.unsorted = s.by = False
    s.offset = 0
    s.limit = -1
    s.store = NULL
    s.ties = TIES_BY_PLACE
    s.first = s.count = 0
    finder_begin(&s.finder, c)
    buf_init(&s.gets, c.engine.heap)
    buf_init(&s.blocks, c.engine.heap)
    buf_init(&s.elements, c.engine.heap)
    buf_init(&s.digits, c.engine.heap)


cdef void _end(sort_t* s) noexcept nogil:
    cdef void** blocks = <void**>s.blocks.data
    cdef size_t i
    for i in range(s.blocks.len // sizeof(void*)):
        owner_drop(s.client.engine.heap, blocks[i])
    finder_end(&s.finder)
    buf_free(&s.gets)
    buf_free(&s.blocks)
    buf_free(&s.elements)
    buf_free(&s.digits)


cdef bint _look_up_or_reply(sort_t* s) noexcept nogil:
    cdef int type
    s.entry = find_key(&s.finder, &s.client.argv[1])
    if s.entry == NULL:
        return True
    type = entry_type(s.entry)
    if type == OBJ_LIST or type == OBJ_SET or type == OBJ_ZSET:
        return True
    reply_error(s.client, ERR_WRONGTYPE)
    return False


cdef void _run(sort_t* s) noexcept nogil:
    if s.entry != NULL:
        if s.unsorted and s.store != NULL and entry_type(s.entry) == OBJ_SET:  # a set has no order to store
            s.unsorted = s.by = False
            s.alpha = True
        _load(s)
        if not s.unsorted and not _sort(s):
            reply_error(s.client, b"ERR One or more scores can't be converted into double")
            return
    if s.store != NULL:
        _store(s)
    else:
        _reply(s)


cdef void sort_command(client_t* c) noexcept nogil:
    cdef sort_t s
    _begin(&s, c)
    if _words_or_reply(c, &s) and _look_up_or_reply(&s):
        _run(&s)
    _end(&s)

# ---- rows --------------------------------------------------------------------------------------------

cdef int register_sort(engine_t* e) except -1:
    """Adds this family's rows to the engine's command table."""
    cdef str cost = (
        " O(N+M*log(M)) where N is the number of elements in the list or set to sort, and M the number of returned"
        " elements. When the elements are not sorted, complexity is O(N).")
    cdef str acl = "set sortedset list dangerous"
    cdef str keys = "1 RO access;unknown RO access"
    cdef str syntax = (
        "key:key [BY by-pattern<pattern>:pattern#1] [LIMIT limit{offset:integer count:integer}]"
        " [GET get-pattern<pattern>:pattern#1]... [order(ASC | DESC)] [sorting=ALPHA]")
    command_row(e, sort_command, "sort", -2, "write denyoom movablekeys", acl, keys + ";unknown OW update",
                "generic 1.0.0" + cost, "Sorts the elements of a list, a set or a sorted set; may store them.",
                syntax + " [STORE destination:key#2]")
    command_row(e, sort_command, "sort_ro", -2, "readonly movablekeys", acl, keys, "generic 7.0.0" + cost,
                "Sorts the elements of a list, a set or a sorted set.", syntax)
    return 0

"""Sorted sets in both forms; see zset_value.pxd."""

from libc.stdint cimport uint32_t

from cachefleet_server.core.bytes_value cimport (
    bytes_close, bytes_data, bytes_dup, bytes_free, bytes_new, bytes_open, bytes_to_pointer)
from cachefleet_server.core.entry cimport ENC_SKIPLIST, OBJ_ZSET, entry_new_pointer
from cachefleet_server.core.members cimport (
    members_announce, members_check, members_drop, members_find, members_find_slot, members_free, members_hash,
    members_insert, members_new, members_set_expiry, members_take, word_form, word_of)
from cachefleet_server.core.members_expiry cimport members_find_live, members_timed, word_expiry
from cachefleet_server.core.zset_hidden cimport hidden_before, hidden_has, hidden_rank
from cachefleet_server.ds.bt_checking cimport bt_check
from cachefleet_server.ds.bt_iter cimport (
    bt_iter_rank, bt_next, bt_prev, bt_seek, bt_seek_key, bt_seek_rank, bt_seek_word)
from cachefleet_server.ds.btree cimport (
    bt_build, bt_double, bt_first, bt_free, bt_init, bt_insert, bt_remove, bt_remove_range, bt_rescore, bt_sort)
from cachefleet_server.ds.bucket cimport ht_slot_t, slot_get
from cachefleet_server.ds.buf cimport buf_free, buf_init, buf_put
from cachefleet_server.ds.intrin cimport cf_unlikely
from cachefleet_server.ds.listpack cimport lp_get, lp_item, lp_text
from cachefleet_server.ds.member cimport (
    MEMBER_TTL, member_dup, member_key, member_new, member_set_expiry, member_set_score)
from cachefleet_server.ds.number cimport INT64_CHARS_MAX
from cachefleet_server.ds.pack cimport (
    PACK_HEADER, PACK_KEYS_MAX, PACK_ZSET, pack_at_t, pack_back_begin, pack_back_next, pack_commit, pack_edit_t,
    pack_find, pack_here, pack_init, pack_item, pack_item_t, pack_kind, pack_offset, pack_plan_remove,
    pack_plan_remove_range, pack_score)
from cachefleet_server.ds.pack_building cimport (
    PACK_OK, pack_build_add_score, pack_build_begin, pack_build_end, pack_builder_t)
from cachefleet_server.ds.pack_checking cimport pack_check
from cachefleet_server.ds.pack_zset cimport pack_lex_bound, pack_plan_score, pack_score_bound
from cachefleet_server.ds.zmalloc cimport zfree, zmalloc

cdef enum:
    KEY_AT = 8  # of an element of the order: the member's length stands behind the score
    BUILD_GROUP = 61  # elements that are handed to the tree at once: a leaf's

# ---- making ----------------------------------------------------------------------------------------

cdef bint _fits_pack(const engine_t* e, size_t members, size_t longest) noexcept nogil:
    return (members <= min(<size_t>e.params.zset_max_listpack_entries, <size_t>PACK_KEYS_MAX)
            and longest <= <size_t>e.params.zset_max_listpack_value)


cdef members_t* _new_table(engine_t* e, size_t members) noexcept nogil:
    cdef members_t* m = members_new(e, MEMBER_ZSET, members)
    cdef btree_t* order = <btree_t*>zmalloc(e.heap, sizeof(btree_t))
    bt_init(order, e.heap, True, KEY_AT)
    m.order = order
    return m


cdef void _free_table(heap_t* h, members_t* m) noexcept nogil:
    bt_free(zset_order(m), h, NULL, NULL)
    zfree(h, m.order)
    members_free(h, m)


cdef entry_t* zset_new(engine_t* e, const char* key, size_t nk, size_t members, size_t longest) noexcept nogil:
    cdef char empty[PACK_HEADER]
    if _fits_pack(e, members, longest):
        pack_init(empty, PACK_ZSET)
        return bytes_new(e, key, nk, OBJ_ZSET, ENC_LISTPACK, empty, PACK_HEADER, -1)
    return entry_new_pointer(e.heap, key, nk, OBJ_ZSET, ENC_SKIPLIST, _new_table(e, members), -1)


cdef entry_t* _to_table(engine_t* e, entry_t* entry, size_t members) noexcept nogil:
    """A pack becomes a table with room for so many members."""
    cdef members_t* m = _new_table(e, members)
    cdef void* elements[BUILD_GROUP]
    cdef size_t gathered = 0
    cdef char digits[INT64_CHARS_MAX]
    cdef zset_iter_t it
    cdef lp_item_t item
    cdef double score
    cdef const char* p
    cdef size_t n
    zset_seek(&it, entry, 0, zset_len(entry), False)
    while zset_next(&it, &item, &score):
        p = lp_text(&item, digits, &n)
        elements[gathered] = _new_member(e, m, p, n, members_hash(m, p, n), score, -1)
        gathered += 1
        if gathered == BUILD_GROUP:
            bt_build(zset_order(m), elements, gathered)
            gathered = 0
    bt_build(zset_order(m), elements, gathered)
    return bytes_to_pointer(e, entry, ENC_SKIPLIST, m)


cdef entry_t* zset_prepare(engine_t* e, entry_t* entry, size_t members, size_t longest) noexcept nogil:
    if zset_is_pack(entry) and not _fits_pack(e, members, longest):
        return _to_table(e, entry, members)
    return entry


cdef entry_t* zset_dup(engine_t* e, const entry_t* entry, const char* key, size_t nk) noexcept nogil:
    cdef members_t* m
    cdef members_t* copy
    cdef void* elements[BUILD_GROUP]
    cdef size_t gathered = 0
    cdef zset_iter_t it
    cdef lp_item_t item
    cdef double score
    cdef uint64_t hash
    cdef void* word
    cdef void* member
    cdef int form
    if zset_is_pack(entry):
        return bytes_dup(e, entry, key, nk)
    m = members_of(entry)
    copy = _new_table(e, members_len(m))
    zset_seek(&it, entry, 0, members_len(m), False)
    while zset_next(&it, &item, &score):
        hash = members_hash(m, item.str, item.len)
        word = members_find(m, item.str, item.len, hash)
        form = word_form(word, MEMBER_ZSET)
        member = member_dup(e.heap, word_member(word), form)
        members_insert(copy, member, form, hash)
        elements[gathered] = word_scored(word_of(member, form))
        gathered += 1
        if gathered == BUILD_GROUP:
            bt_build(zset_order(copy), elements, gathered)
            gathered = 0
    bt_build(zset_order(copy), elements, gathered)
    return entry_new_pointer(e.heap, key, nk, OBJ_ZSET, ENC_SKIPLIST, copy, -1)


cdef void zset_free(heap_t* h, entry_t* entry) noexcept nogil:
    if zset_is_pack(entry):
        bytes_free(h, entry)
    else:
        _free_table(h, members_of(entry))

# ---- adding ----------------------------------------------------------------------------------------

cdef void* _new_member(
    engine_t* e, members_t* m, const char* p, size_t n, uint64_t hash, double score, int64_t at_ms
) noexcept nogil:
    """In the table, not in the order yet: the element for it."""
    cdef int form = MEMBER_ZSET | MEMBER_TTL if at_ms >= 0 else MEMBER_ZSET
    cdef void* member = member_new(e.heap, form, p, n, NULL, 0)
    member_set_score(member, form, score)
    if at_ms >= 0:
        member_set_expiry(member, at_ms)
    members_insert(m, member, form, hash)
    return word_scored(word_of(member, form))


cdef inline int _decide(bint there, double current, int flags, double* score) noexcept nogil:
    """What is to be done with a member, and the score it gets."""
    if not there:
        return ZADD_SKIPPED if flags & ZADD_XX else ZADD_ADDED
    if flags & ZADD_NX:
        return ZADD_SKIPPED
    if flags & ZADD_INCR:
        score[0] += current
        if score[0] != score[0]:
            return ZADD_NAN
    if (flags & ZADD_LT and score[0] >= current) or (flags & ZADD_GT and score[0] <= current):
        return ZADD_SKIPPED
    return ZADD_SAME if score[0] == current else ZADD_UPDATED


cdef int _add_to_table(
    engine_t* e, members_t* m, const char* p, size_t n, double* score, int flags
) noexcept nogil:
    cdef uint64_t hash = members_hash(m, p, n)
    cdef void* word = members_find(m, p, n, hash)
    cdef int done = _decide(word != NULL, word_score(word) if word != NULL else 0, flags, score)
    if done == ZADD_ADDED:
        bt_insert(zset_order(m), _new_member(e, m, p, n, hash, score[0], -1))
    elif done == ZADD_UPDATED:
        members_announce(m, hash)
        bt_rescore(zset_order(m), word_scored(word), bt_double(score[0]))
    return done


cdef entry_t* _commit(engine_t* e, entry_t* entry, const pack_edit_t* edit) noexcept nogil:
    entry = bytes_open(e, entry, edit.len)
    pack_commit(bytes_data(entry), edit)
    return bytes_close(e, entry, edit.len)


cdef entry_t* zset_add(
    engine_t* e, entry_t* entry, const char* member, size_t n, double* score, int flags, int* done
) noexcept nogil:
    cdef const char* data
    cdef size_t len
    cdef pack_item_t item
    cdef pack_at_t at
    cdef pack_edit_t edit
    cdef bint there
    if zset_is_pack(entry):
        data = bytes_view(entry, &len)
        pack_item(&item, member, n)
        there = pack_find(data, len, &item, &at)
        done[0] = _decide(there, pack_score(data + at.value) if there else 0, flags, score)
        if done[0] < ZADD_UPDATED:
            return entry
        if ((there or _fits_pack(e, pack_len(data) + 1, n))
                and pack_plan_score(data, len, &item, &at if there else NULL, score[0], &edit)):
            return _commit(e, entry, &edit)
        entry = _to_table(e, entry, pack_len(data) + 1)
        flags &= ~ZADD_INCR  # the sum is known
    done[0] = _add_to_table(e, members_of(entry), member, n, score, flags)
    return entry

# ---- times -----------------------------------------------------------------------------------------

cdef entry_t* zset_expire(
    engine_t* e, entry_t* entry, const char* member, size_t n, int64_t at_ms
) noexcept nogil:
    cdef members_t* m
    cdef ht_slot_t slot
    cdef uint64_t hash
    cdef bint moves
    if zset_is_pack(entry):
        if at_ms < 0:
            return entry
        entry = _to_table(e, entry, zset_len(entry))
    m = members_of(entry)
    hash = members_hash(m, member, n)
    slot = members_find_slot(m, member, n, hash)
    moves = (at_ms >= 0) != (word_expiry(slot_get(slot)) >= 0)  # to an address with room for a time, or without
    if moves:
        bt_remove(zset_order(m), word_scored(slot_get(slot)))
    members_set_expiry(m, slot, hash, at_ms)
    if moves:
        bt_insert(zset_order(m), word_scored(slot_get(slot)))
    return entry

# ---- removing --------------------------------------------------------------------------------------

cdef entry_t* zset_remove(engine_t* e, entry_t* entry, const char* member, size_t n, bint* removed) noexcept nogil:
    cdef members_t* m
    cdef void* word
    cdef const char* data
    cdef size_t len
    cdef pack_item_t item
    cdef pack_at_t at
    cdef pack_edit_t edit
    if zset_is_pack(entry):
        data = bytes_view(entry, &len)
        pack_item(&item, member, n)
        removed[0] = pack_find(data, len, &item, &at)
        if removed[0]:
            pack_plan_remove(data, len, &at, &edit)
            return _commit(e, entry, &edit)
        return entry
    m = members_of(entry)
    word = members_take(m, member, n, members_hash(m, member, n))
    removed[0] = word != NULL
    if word != NULL:
        bt_remove(zset_order(m), word_scored(word))
        members_drop(e.heap, m, word)
    return entry


cdef struct removing_t:
    heap_t* heap
    members_t* members


cdef void _remove_one(void* ctx, void* element) noexcept nogil:
    """Out of the table, when it is out of the order."""
    cdef removing_t* removing = <removing_t*>ctx
    cdef members_t* m = removing.members
    cdef size_t n
    cdef const char* p = member_key(element, MEMBER_ZSET, &n)
    members_drop(removing.heap, m, members_take(m, p, n, members_hash(m, p, n)))


cdef entry_t* zset_remove_range(engine_t* e, entry_t* entry, size_t first, size_t n) noexcept nogil:
    cdef removing_t removing
    cdef const char* data
    cdef size_t len
    cdef pack_edit_t edit
    if n == 0:
        return entry
    if zset_is_pack(entry):
        data = bytes_view(entry, &len)
        pack_plan_remove_range(data, len, <uint32_t>first, <uint32_t>n, &edit)
        return _commit(e, entry, &edit)
    removing.heap = e.heap
    removing.members = members_of(entry)
    bt_remove_range(zset_order(removing.members), first, n, _remove_one, &removing)
    return entry

# ---- reading ---------------------------------------------------------------------------------------

cdef struct found_t:
    size_t rank  # in a pack
    void* word  # in a table; else NULL
    double score


cdef bint _find(const entry_t* entry, const char* member, size_t n, int64_t now_ms, found_t* out) noexcept nogil:
    cdef const char* data
    cdef size_t len
    cdef pack_item_t item
    cdef pack_at_t at
    if not zset_is_pack(entry):
        out.word = members_find_live(members_of(entry), member, n, now_ms)
        if out.word == NULL:
            return False
        out.score = word_score(out.word)
        return True
    data = bytes_view(entry, &len)
    pack_item(&item, member, n)
    if not pack_find(data, len, &item, &at):
        return False
    out.word = NULL
    out.rank = at.index
    out.score = pack_score(data + at.value)
    return True


cdef bint zset_find(
    const entry_t* entry, const char* member, size_t n, int64_t now_ms, double* score, int64_t* at_ms
) noexcept nogil:
    cdef found_t found
    if not _find(entry, member, n, now_ms, &found):
        return False
    score[0] = found.score
    at_ms[0] = word_expiry(found.word) if found.word != NULL else -1
    return True


cdef bint zset_rank(
    const entry_t* entry, const char* member, size_t n, int64_t now_ms, size_t* rank, double* score
) noexcept nogil:
    cdef found_t found
    cdef bt_iter_t it
    if not _find(entry, member, n, now_ms, &found):
        return False
    if found.word != NULL:
        bt_seek(zset_order(members_of(entry)), word_scored(found.word), &it)
        found.rank = bt_iter_rank(&it)
    rank[0] = found.rank
    score[0] = found.score
    return True


cdef size_t _tree_bound(btree_t* order, const zset_bound_t* bound) noexcept nogil:
    cdef bt_iter_t it
    cdef void* first
    if bound.by == BOUND_SCORE:
        bt_seek_word(order, bt_double(bound.score), bound.after, &it)
    else:
        first = bt_first(order)
        if first == NULL:
            return 0
        bt_seek_key(order, bt_double(member_score(first, MEMBER_ZSET)), bound.member, bound.n, bound.after, &it)
    return bt_iter_rank(&it)


cdef size_t zset_bound(const entry_t* entry, const zset_bound_t* bound) noexcept nogil:
    cdef const char* data
    cdef size_t len
    cdef pack_at_t at
    if bound.by == BOUND_START:
        return 0
    if bound.by == BOUND_END:
        return zset_len(entry)
    if not zset_is_pack(entry):
        return _tree_bound(zset_order(members_of(entry)), bound)
    data = bytes_view(entry, &len)
    if bound.by == BOUND_SCORE:
        pack_score_bound(data, len, bound.score, bound.after, &at)
    else:
        pack_lex_bound(data, len, bound.member, bound.n, bound.after, &at)
    return at.index


cdef void zset_range(
    const entry_t* entry, const zset_bound_t* low, const zset_bound_t* high, size_t* first, size_t* n
) noexcept nogil:
    cdef size_t end = zset_bound(entry, high)
    first[0] = zset_bound(entry, low)
    n[0] = end - first[0] if end > first[0] else 0


cdef void zset_seek(zset_iter_t* it, const entry_t* entry, size_t first, size_t n, bint back) noexcept nogil:
    it.left = n
    it.back = back
    it.hidden = NULL
    if not zset_is_pack(entry):
        it.pack = NULL
        bt_seek_rank(zset_order(members_of(entry)), first + n if back else first, &it.tree)
        return
    it.pack = bytes_view(entry, &it.len)
    if n == 0:
        return
    if back:
        pack_back_begin(&it.places, <uint32_t>(first + n - 1))
    else:
        it.at = pack_offset(it.pack, it.len, <uint32_t>first)


cdef void zset_range_shown(
    const entry_t* entry, const zset_hidden_t* h, const zset_bound_t* low, const zset_bound_t* high, size_t* first,
    size_t* n
) noexcept nogil:
    zset_range(entry, low, high, first, n)
    if h.count:
        n[0] -= hidden_before(h, first[0] + n[0]) - hidden_before(h, first[0])
        first[0] -= hidden_before(h, first[0])


cdef void zset_seek_shown(
    zset_iter_t* it, const entry_t* entry, const zset_hidden_t* h, size_t first, size_t n, bint back
) noexcept nogil:
    cdef size_t last
    if h.count == 0 or n == 0:
        zset_seek(it, entry, first, n, back)
        return
    last = hidden_rank(h, first + n - 1)
    first = hidden_rank(h, first)
    zset_seek(it, entry, first, last + 1 - first, back)
    it.left = n
    it.hidden = h
    it.rank = last + 1 if back else first


cdef void* _next_shown(zset_iter_t* it) noexcept nogil:
    """The next one that is not hidden, which is there."""
    cdef void* element
    cdef size_t rank
    while True:
        it.rank -= it.back
        rank = it.rank
        it.rank += not it.back
        element = bt_prev(&it.tree) if it.back else bt_next(&it.tree)
        if not hidden_has(it.hidden, rank):
            return element


cdef bint zset_next(zset_iter_t* it, lp_item_t* member, double* score) noexcept nogil:
    cdef pack_at_t at
    cdef void* element
    if it.left == 0:
        return False
    it.left -= 1
    if it.pack == NULL:
        if cf_unlikely(it.hidden != NULL):
            element = _next_shown(it)
        else:
            element = bt_prev(&it.tree) if it.back else bt_next(&it.tree)
        member.str = member_key(element, MEMBER_ZSET, &member.len)
        score[0] = member_score(element, MEMBER_ZSET)
        return True
    if it.back:
        pack_back_next(it.pack, it.len, &it.places, &at)
    else:
        pack_here(it.pack, it.at, 0, &at)
        it.at = at.next
    lp_get(it.pack + at.at, member)
    score[0] = pack_score(it.pack + at.value)
    return True

# ---- building --------------------------------------------------------------------------------------

cdef void zset_build_begin(zset_build_t* b, engine_t* e, size_t members) noexcept nogil:
    b.engine = e
    b.members = _new_table(e, members)
    b.longest = 0
    buf_init(&b.elements, e.heap)


cdef void* zset_build_find(zset_build_t* b, const char* member, size_t n, uint64_t hash) noexcept nogil:
    return members_find(b.members, member, n, hash)


cdef void zset_build_add(zset_build_t* b, const char* member, size_t n, uint64_t hash, double score) noexcept nogil:
    zset_build_add_timed(b, member, n, hash, score, -1)


cdef void zset_build_add_timed(
    zset_build_t* b, const char* member, size_t n, uint64_t hash, double score, int64_t at_ms
) noexcept nogil:
    cdef void* element = _new_member(b.engine, b.members, member, n, hash, score, at_ms)
    b.longest = max(b.longest, n)
    buf_put(&b.elements, &element, sizeof(void*))


cdef void** zset_build_sort(zset_build_t* b, size_t* n) noexcept nogil:
    n[0] = members_len(b.members)
    bt_sort(zset_order(b.members), <void**>b.elements.data, n[0])
    return <void**>b.elements.data


cdef entry_t* _build_pack(
    zset_build_t* b, void** elements, size_t members, const char* key, size_t nk, int64_t expire_ms
) noexcept nogil:
    """NULL: a pack cannot hold it."""
    cdef entry_t* entry = NULL
    cdef pack_builder_t builder
    cdef lp_item_t item
    cdef buf_t out
    cdef size_t n, i
    cdef const char* p
    buf_init(&out, b.engine.heap)
    pack_build_begin(&builder, &out, PACK_ZSET)
    for i in range(members):
        p = member_key(elements[i], MEMBER_ZSET, &n)
        lp_item(p, n, &item)
        pack_build_add_score(&builder, &item, member_score(elements[i], MEMBER_ZSET))
    if pack_build_end(&builder) == PACK_OK:
        entry = bytes_new(b.engine, key, nk, OBJ_ZSET, ENC_LISTPACK, out.data, out.len, expire_ms)
    buf_free(&out)
    return entry


cdef entry_t* zset_build_end(zset_build_t* b, const char* key, size_t nk, int64_t expire_ms) noexcept nogil:
    cdef size_t members
    cdef void** elements = zset_build_sort(b, &members)
    cdef entry_t* entry
    if members_timed(b.members) == 0 and _fits_pack(b.engine, members, b.longest):
        entry = _build_pack(b, elements, members, key, nk, expire_ms)
        if entry != NULL:
            zset_build_drop(b)
            return entry
    bt_build(zset_order(b.members), elements, members)
    buf_free(&b.elements)
    return entry_new_pointer(b.engine.heap, key, nk, OBJ_ZSET, ENC_SKIPLIST, b.members, expire_ms)


cdef void zset_build_drop(zset_build_t* b) noexcept nogil:
    buf_free(&b.elements)
    _free_table(b.engine.heap, b.members)

# ---- check -----------------------------------------------------------------------------------------

cdef int _check_pack(const entry_t* entry) noexcept nogil:
    cdef size_t len
    cdef const char* data = bytes_view(entry, &len)
    cdef int wrong = pack_check(data, len)
    if wrong:
        return 10 + wrong
    if pack_kind(data) != PACK_ZSET:
        return 3
    return 2 if pack_len(data) == 0 else 0


cdef int zset_check(engine_t* e, const entry_t* entry) noexcept nogil:
    cdef members_t* m
    cdef btree_t* order
    cdef bt_iter_t it
    cdef void* element
    cdef void* word
    cdef const char* p
    cdef size_t n
    cdef int wrong
    if zset_is_pack(entry):
        return _check_pack(entry)
    if entry_encoding(entry) != ENC_SKIPLIST:
        return 1
    m = members_of(entry)
    order = zset_order(m)
    wrong = members_check(m)
    if wrong:
        return 2 if wrong == 2 else 40 + wrong
    wrong = bt_check(order)
    if wrong:
        return 20 + wrong
    if order.count != members_len(m):
        return 4
    bt_seek_rank(order, 0, &it)
    element = bt_next(&it)
    while element != NULL:
        p = member_key(element, MEMBER_ZSET, &n)
        word = members_find(m, p, n, members_hash(m, p, n))
        if word == NULL or word_scored(word) != element:
            return 4
        element = bt_next(&it)
    return 0

"""Packs; see pack.pxd.

Measured (tests/perf/bench_pack.py, 10-byte keys; ns at 10, 40, 128 and 500 keys): find 36, 45, 54, 74, of which a third
is the walk from the group's offset; a missing key 46, 13, 26, 65. Another value 50, 67, 80, 101; a key removed and
appended 112, 120, 185, 396. Re-scoring at random 139, 232, 383, 1012: the search among scores, and an offset for every
group between the two places, which is walked to; it is linear, as moving bytes is, and limits are 128 by default.
"""

from libc.string cimport memmove

from cachefleet_server.ds.intrin cimport cf_assert, cf_ctz64, cf_match16, cf_store16, cf_store32
from cachefleet_server.ds.listpack cimport lp_text
from cachefleet_server.ds.number cimport INT64_CHARS_MAX


cdef void pack_init(char* data, int kind) noexcept nogil:
    cf_store16(data, 0)
    data[2] = <char>kind


# ---- index -------------------------------------------------------------------------------------------

cdef inline size_t _load(const char* offsets, uint32_t group, int flags) noexcept nogil:
    """The offset of a group's first key, from the array of groups 1, 2, ..."""
    if flags & PACK_WIDE:
        return cf_load32(offsets + <size_t>(group - 1) * 4)
    return cf_load16(offsets + <size_t>(group - 1) * 2)


cdef inline void _store(char* offsets, uint32_t group, int flags, size_t offset) noexcept nogil:
    if flags & PACK_WIDE:
        cf_store32(offsets + <size_t>(group - 1) * 4, <uint32_t>offset)
    else:
        cf_store16(offsets + <size_t>(group - 1) * 2, <uint32_t>offset & 0xFFFF)


cdef size_t pack_index_offset(const char* data, size_t end, uint32_t group) noexcept nogil:
    return _load(data + end, group, data[2])


cdef inline size_t _step(const char* data, size_t at, bint pairs) noexcept nogil:
    """The offset of the next key."""
    at += lp_skip(data + at)
    return at + lp_skip(data + at) if pairs else at


cdef size_t pack_offset(const char* data, size_t len, uint32_t index) noexcept nogil:
    cdef uint32_t count = pack_len(data)
    cdef uint32_t group = index / PACK_GROUP
    cdef uint32_t steps = index
    cdef size_t at = PACK_HEADER
    cdef bint pairs = data[2] & PACK_KIND
    if index >= count:
        return pack_end(data, len)
    if group and count >= PACK_INDEX_MIN:
        at = _load(data + pack_end(data, len), group, data[2])
        steps = index % PACK_GROUP
    while steps:
        at = _step(data, at, pairs)
        steps -= 1
    return at


cdef void pack_seek(const char* data, size_t len, uint32_t index, pack_at_t* at) noexcept nogil:
    pack_here(data, pack_offset(data, len, index), index, at)


cdef void pack_index_build(char* data, size_t len) noexcept nogil:
    cdef uint32_t count = pack_len(data)
    cdef bint pairs = data[2] & PACK_KIND
    cdef size_t at = PACK_HEADER
    cdef char* offsets = data + pack_end(data, len)
    cdef char* tags = data + len - count
    cdef lp_item_t item
    cdef uint32_t i
    if count < PACK_INDEX_MIN:
        return
    for i in range(count):
        if i and i % PACK_GROUP == 0:
            _store(offsets, i / PACK_GROUP, data[2], at)
        lp_get(data + at, &item)
        tags[i] = <char>pack_tag(&item)
        at = _step(data, at, pairs)


# ---- reading -----------------------------------------------------------------------------------------

cdef bint _find_walking(
        const char* data, uint32_t count, const pack_item_t* key, pack_at_t* at) noexcept nogil:
    cdef bint pairs = data[2] & PACK_KIND
    cdef size_t offset = PACK_HEADER
    cdef uint32_t i
    for i in range(count):
        if data[offset] == key.head[0] and pack_equals(data + offset, key):
            pack_here(data, offset, i, at)
            return True
        offset = _step(data, offset, pairs)
    return False


cdef bint pack_find(const char* data, size_t len, const pack_item_t* key, pack_at_t* at) noexcept nogil:
    cdef uint32_t count = pack_len(data)
    cdef uint32_t i = 0
    cdef uint32_t index, match
    cdef size_t offset
    cdef const char* tags
    cdef uint8_t tag
    if count < PACK_INDEX_MIN:
        return _find_walking(data, count, key, at)
    tags = data + len - count
    tag = pack_tag(&key.item)
    while i < count:
        if i + 16 > count:  # the last 16, of which some were seen
            match = cf_match16(tags + count - 16, tag) >> (i + 16 - count)
        else:
            match = cf_match16(tags + i, tag)
        while match:
            index = i + cf_ctz64(match)
            offset = pack_offset(data, len, index)
            if pack_equals(data + offset, key):
                pack_here(data, offset, index, at)
                return True
            match &= match - 1
        i += 16
    return False


cdef size_t pack_longest(const char* data) noexcept nogil:
    cdef size_t longest = 0
    cdef size_t at = PACK_HEADER
    cdef size_t n
    cdef char text[INT64_CHARS_MAX]
    cdef lp_item_t item
    cdef uint32_t left = pack_len(data)
    cdef int kind = data[2] & PACK_KIND
    if kind == PACK_HASH:
        left *= 2
    while left:
        at += lp_get(data + at, &item)
        lp_text(&item, text, &n)
        longest = max(longest, n)
        if kind == PACK_ZSET:
            at += lp_skip(data + at)
        left -= 1
    return longest


cdef bint pack_back_next(const char* data, size_t len, pack_back_t* back, pack_at_t* at) noexcept nogil:
    cdef uint32_t index = back.left - 1
    cdef bint pairs = data[2] & PACK_KIND
    cdef uint32_t i
    if back.left == 0:
        return False
    if back.group != index / PACK_GROUP:
        back.group = index / PACK_GROUP
        back.at[0] = pack_offset(data, len, index - index % PACK_GROUP)
        for i in range(index % PACK_GROUP):
            back.at[i + 1] = _step(data, back.at[i], pairs)
    pack_here(data, back.at[index % PACK_GROUP], index, at)
    back.left = index
    return True


# ---- plans -------------------------------------------------------------------------------------------

cdef void _plan(const char* data, size_t len, pack_edit_t* edit) noexcept nogil:
    """Nothing changes."""
    edit.old_len = len
    edit.old_end = pack_end(data, len)
    edit.cut_at = edit.old_end
    edit.cut_end = edit.old_end
    edit.put_at = edit.old_end
    edit.key_cut = 0
    edit.keys_cut = 0
    edit.key_put = 0
    edit.keys_put = 0
    edit.changed = 0
    edit.count = pack_len(data)
    edit.parts_len = 0
    edit.flags = <uint8_t>data[2]


cdef void _plan_part(pack_edit_t* edit, const pack_item_t* part) noexcept nogil:
    if part != NULL:
        edit.parts[edit.parts_len] = part[0]
        edit.parts_len += 1


cdef size_t _parts_bytes(const pack_edit_t* edit) noexcept nogil:
    cdef size_t n = 0
    cdef uint32_t i
    for i in range(edit.parts_len):
        n += edit.parts[i].head_len + edit.parts[i].item.len
    return n


cdef size_t _planned(pack_edit_t* edit) noexcept nogil:
    cdef size_t put = _parts_bytes(edit)
    edit.count += edit.keys_put - edit.keys_cut
    edit.end = edit.old_end - (edit.cut_end - edit.cut_at) + put
    edit.flags = edit.flags & PACK_KIND
    if edit.count >= PACK_INDEX_MIN and edit.end > PACK_NARROW_MAX:
        edit.flags |= PACK_WIDE
    edit.len = edit.end + pack_index_bytes(edit.count, edit.flags)
    if edit.count > PACK_KEYS_MAX or put > PACK_BYTES_MAX or edit.len > PACK_BYTES_MAX:
        return 0
    return edit.len


cdef size_t pack_plan_put(
        const char* data, size_t len, const pack_item_t* key, const pack_at_t* found, const pack_item_t* value,
        pack_edit_t* edit) noexcept nogil:
    if found != NULL:
        return pack_plan_value(data, len, found, value, edit)
    return pack_plan_insert(data, len, pack_len(data), pack_end(data, len), key, value, edit)


cdef size_t pack_plan_value(
        const char* data, size_t len, const pack_at_t* found, const pack_item_t* value,
        pack_edit_t* edit) noexcept nogil:
    _plan(data, len, edit)
    edit.cut_at = found.value
    edit.cut_end = found.next
    edit.put_at = found.value
    edit.changed = found.index
    _plan_part(edit, value)
    return _planned(edit)


cdef size_t pack_plan_insert(
        const char* data, size_t len, uint32_t index, size_t offset, const pack_item_t* key, const pack_item_t* value,
        pack_edit_t* edit) noexcept nogil:
    _plan(data, len, edit)
    edit.put_at = offset
    edit.cut_at = offset
    edit.cut_end = offset
    edit.key_put = index
    edit.keys_put = 1
    _plan_part(edit, key)
    _plan_part(edit, value)
    return _planned(edit)


cdef size_t pack_plan_move(
        const char* data, size_t len, const pack_at_t* found, uint32_t index, size_t offset, const pack_item_t* key,
        const pack_item_t* value, pack_edit_t* edit) noexcept nogil:
    cf_assert(index != found.index and index != found.index + 1)
    _plan(data, len, edit)
    edit.cut_at = found.at
    edit.cut_end = found.next
    edit.put_at = offset
    edit.key_cut = found.index
    edit.keys_cut = 1
    edit.key_put = index - (index > found.index)
    edit.keys_put = 1
    _plan_part(edit, key)
    _plan_part(edit, value)
    return _planned(edit)


cdef size_t pack_plan_remove(
        const char* data, size_t len, const pack_at_t* found, pack_edit_t* edit) noexcept nogil:
    _plan(data, len, edit)
    edit.cut_at = found.at
    edit.cut_end = found.next
    edit.put_at = found.at
    edit.key_cut = found.index
    edit.keys_cut = 1
    return _planned(edit)


cdef size_t pack_plan_remove_range(
        const char* data, size_t len, uint32_t index, uint32_t n, pack_edit_t* edit) noexcept nogil:
    _plan(data, len, edit)
    edit.cut_at = pack_offset(data, len, index)
    edit.cut_end = pack_offset(data, len, index + n)
    edit.put_at = edit.cut_at
    edit.key_cut = index
    edit.keys_cut = n
    return _planned(edit)


# ---- commit ------------------------------------------------------------------------------------------

cdef void _splice(char* data, const pack_edit_t* edit) noexcept nogil:
    """Moves and writes keys and values. What lies between the two places is B, what lies behind both C."""
    cdef size_t put = _parts_bytes(edit)
    cdef size_t cut = edit.cut_end - edit.cut_at
    cdef bint after = edit.put_at > edit.cut_at  # the parts come behind what goes
    cdef size_t b = edit.cut_end if after else edit.put_at
    cdef size_t c = edit.put_at if after else edit.cut_end
    cdef size_t b_len = edit.put_at - edit.cut_end if after else edit.cut_at - edit.put_at
    cdef size_t b_to = edit.cut_at if after else edit.put_at + put
    cdef char* p
    cdef uint32_t i
    # C moves towards the end if the whole grows, and B may then have to wait for it; else C waits for B.
    if put > cut:
        memmove(data + c + put - cut, data + c, edit.old_end - c)
    if b_len:
        memmove(data + b_to, data + b, b_len)
    if put < cut:
        memmove(data + c - (cut - put), data + c, edit.old_end - c)
    p = data + edit.put_at - (cut if after else 0)
    for i in range(edit.parts_len):
        memcpy(p, &edit.parts[i].head[0], edit.parts[i].head_len)
        p += edit.parts[i].head_len
        if edit.parts[i].item.len:
            memcpy(p, edit.parts[i].item.str, edit.parts[i].item.len)
            p += edit.parts[i].item.len


cdef void _edit_tags(char* tags, uint32_t count, const pack_edit_t* edit) noexcept nogil:
    """`count` tags before; there is room for as many as there will be."""
    cdef char* cut = tags + edit.key_cut
    cdef char* put = tags + edit.key_put
    if edit.keys_cut:
        count -= edit.keys_cut
        memmove(cut, cut + edit.keys_cut, count - edit.key_cut)
    if edit.keys_put:
        memmove(put + 1, put, count - edit.key_put)
        put[0] = <char>pack_tag(&edit.parts[0].item)


cdef void _offsets_removed(const char* data, char* offsets, const pack_edit_t* edit) noexcept nogil:
    """Keys went: position i is now what i + n was, at most 7 keys behind the offset of its old group."""
    cdef uint32_t n = edit.keys_cut
    cdef uint32_t group = (edit.key_cut + PACK_GROUP - 1) / PACK_GROUP
    cdef uint32_t steps, old
    cdef size_t at
    cdef bint pairs = edit.flags & PACK_KIND
    if group == 0:
        group = 1
    while group * PACK_GROUP < edit.count:
        old = (group * PACK_GROUP + n) / PACK_GROUP
        if old * PACK_GROUP >= edit.key_cut + n:
            at = _load(offsets, old, edit.flags) - (edit.cut_end - edit.cut_at)
            steps = (group * PACK_GROUP + n) % PACK_GROUP
        else:
            at = edit.cut_at
            steps = group * PACK_GROUP - edit.key_cut
        while steps:
            at = _step(data, at, pairs)
            steps -= 1
        _store(offsets, group, edit.flags, at)
        group += 1


cdef void _edit_offsets(const char* data, char* offsets, const pack_edit_t* edit) noexcept nogil:
    """Nothing in front of the change has moved; behind both places offsets only shift, unless a key has come."""
    cdef uint32_t index = edit.key_put
    cdef uint32_t last = edit.count  # up to here positions have changed
    cdef size_t at = edit.put_at
    cdef uint32_t group
    cdef bint pairs = edit.flags & PACK_KIND
    if edit.keys_cut and not edit.keys_put:
        _offsets_removed(data, offsets, edit)
        return
    if edit.keys_cut:
        index = min(edit.key_cut, edit.key_put)
        last = max(edit.key_cut, edit.key_put)
        at = min(edit.cut_at, edit.put_at)
    elif not edit.keys_put:
        index = edit.changed + 1
        last = edit.changed
    group = (index + PACK_GROUP - 1) / PACK_GROUP
    if group == 0:
        group = 1
    while group * PACK_GROUP <= last and group * PACK_GROUP < edit.count:
        while index < group * PACK_GROUP:
            at = _step(data, at, pairs)
            index += 1
        _store(offsets, group, edit.flags, at)
        group += 1
    if edit.end != edit.old_end:
        while group * PACK_GROUP < edit.count:
            _store(offsets, group, edit.flags, _load(offsets, group, edit.flags) + edit.end - edit.old_end)
            group += 1


cdef void pack_commit(char* data, const pack_edit_t* edit) noexcept nogil:
    """With an index before and afterwards, of the same width, all three parts grow or all shrink: none covers what
    another still needs if the last is moved first, or last."""
    cdef uint32_t count = pack_len(data)
    cdef size_t offsets_len = pack_index_bytes(count, data[2]) - count
    cdef size_t offsets_left = pack_index_bytes(edit.count, edit.flags) - edit.count
    cdef char* tags = data + edit.len - edit.count
    cdef bint keep = (count >= PACK_INDEX_MIN and edit.count >= PACK_INDEX_MIN
                      and (<uint8_t>data[2]) == edit.flags)
    cf_store16(data, edit.count)
    data[2] = <char>edit.flags
    if not keep:
        _splice(data, edit)
        pack_index_build(data, edit.len)
    elif edit.len > edit.old_len:
        memmove(tags, data + edit.old_len - count, count)
        memmove(data + edit.end, data + edit.old_end, offsets_len)
        _splice(data, edit)
        _edit_tags(tags, count, edit)
        _edit_offsets(data, data + edit.end, edit)
    else:
        if edit.keys_cut:
            _edit_tags(data + edit.old_len - count, count, edit)
        _splice(data, edit)
        _edit_offsets(data, data + edit.old_end, edit)
        memmove(data + edit.end, data + edit.old_end, offsets_left)
        memmove(tags, data + edit.old_len - count, edit.count)

"""Key specs: compiled and applied; see keys.pxd."""

from libc.stdint cimport INT64_MAX, int64_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memmove, strcmp, strncmp

from cachefleet_server.core.reply cimport arg_is
from cachefleet_server.ds.number cimport chars_to_int64

from cachefleet_server import command_keys as texts


# ---- compiling -----------------------------------------------------------------------------------

_FLAGS = {
    "RO": KEY_RO, "RW": KEY_RW, "OW": KEY_OW, "RM": KEY_RM, "access": KEY_ACCESS, "update": KEY_UPDATE,
    "insert": KEY_INSERT, "delete": KEY_DELETE, "not_key": KEY_NOT_KEY, "incomplete": KEY_INCOMPLETE,
    "variable_flags": KEY_VARIABLE_FLAGS,
}
_KINDS = {"range": KEYS_RANGE, "keyword": KEYS_RANGE, "keynum": KEYS_COUNTED, "unknown": KEYS_UNKNOWN}


cdef tuple key_flag_words(uint32_t flags):
    return tuple([word for word, bit in _FLAGS.items() if flags & <uint32_t>bit])


cdef int keys_compile(command_t* cmd, object spec) except -1:
    cdef key_spec_t* s
    cdef bytes token
    parsed = texts.parse(spec.keys)
    if not parsed:
        return 0
    cmd.key_specs = <key_spec_t*>calloc(len(parsed), sizeof(key_spec_t))
    if cmd.key_specs == NULL:
        raise MemoryError
    for key in parsed:
        s = &cmd.key_specs[cmd.key_spec_count]
        cmd.key_spec_count += 1
        for word in key.flags:
            s.flags |= <uint32_t>_FLAGS[word]
        s.find = _KINDS[key.kind]
        if key.kind == "keynum":
            s.begin, s.first, s.step = key.numbers
            s.limit = key.token == "exact"
        elif key.kind != "unknown":
            s.begin, s.last, s.step, s.limit = key.numbers
        if key.kind == "keyword":
            token = key.token.lower().encode()
            s.keyword = <char*>calloc(1, len(token) + 1)
            if s.keyword == NULL:
                raise MemoryError
            memcpy(s.keyword, <const char*>token, len(token))
    return 0


cdef void keys_free(command_t* cmd) noexcept:
    cdef int i
    for i in range(cmd.key_spec_count):
        free(cmd.key_specs[i].keyword)
    free(cmd.key_specs)


# ---- applying ------------------------------------------------------------------------------------

cdef int _find_keyword(const key_spec_t* s, int argc, const arg_t* argv) noexcept nogil:
    """The argument behind the keyword, or -1. A negative `begin` counts from the end and searches backwards."""
    cdef int i = s.begin
    if i > 0:
        while i < argc:
            if arg_is(&argv[i], s.keyword):
                return i + 1
            i += 1
        return -1
    i += argc
    while i > 0:
        if arg_is(&argv[i], s.keyword):
            return i + 1
        i -= 1
    return -1


cdef int64_t _atoi(const char* p, size_t n) noexcept nogil:
    """As C's atoi: space, a sign, digits; what follows is ignored, a long is cut to an int."""
    cdef uint64_t most = INT64_MAX
    cdef uint64_t v = 0
    cdef size_t i = 0
    cdef bint negative
    while i < n and (p[i] == c" " or c"\t" <= p[i] <= c"\r"):
        i += 1
    negative = i < n and p[i] == c"-"
    most += negative
    i += i < n and (p[i] == c"-" or p[i] == c"+")
    while i < n and c"0" <= p[i] <= c"9":
        v = v * 10 + (p[i] - c"0") if v <= (most - (p[i] - c"0")) // 10 else most
        i += 1
    return <int>(0 - v if negative else v)


cdef inline bint _fits(const key_spec_t* s, int argc, int64_t n) noexcept nogil:
    return 1 <= n <= argc and s.begin + s.first + (n - 1) * s.step < argc


cdef int _count(const key_spec_t* s, int argc, const arg_t* argv, bint* odd) noexcept nogil:
    """The number that an argument gives, if so many keys are there; else KEYS_INVALID. `odd`: as only atoi reads it."""
    cdef const arg_t* a = &argv[s.begin]
    cdef int64_t n
    if s.begin >= argc:
        return KEYS_INVALID
    odd[0] = not chars_to_int64(a.ptr, a.len, &n) or not _fits(s, argc, n)
    if odd[0] and not s.limit:
        n = _atoi(a.ptr, a.len)
    elif odd[0]:
        return KEYS_INVALID
    return <int>n if _fits(s, argc, n) else KEYS_INVALID


cdef int _read_and_stored(int at, key_ref_t* out, int room) noexcept nogil:
    """The first argument is read; that at `at`, if it is not 0, is stored."""
    if room > 0:
        out[0].at = 1
        out[0].flags = KEY_RO | KEY_ACCESS
    if at and room > 1:
        out[1].at = at
        out[1].flags = KEY_OW | KEY_UPDATE
    return 1 + (at != 0)


cdef bint _is_georadius(const command_t* cmd) noexcept nogil:
    """GEORADIUS and GEORADIUSBYMEMBER, whose keys a function of their own reads: the last STORE or STOREDIST counts."""
    return cmd.key_spec_count == 3 and strncmp(cmd.name, b"georadius", 9) == 0


cdef int _georadius_keys(int argc, const arg_t* argv, key_ref_t* out, int room) noexcept nogil:
    cdef int at = 0
    cdef int i = 5
    while i + 1 < argc:
        if arg_is(&argv[i], b"store") or arg_is(&argv[i], b"storedist"):
            i += 1
            at = i
        i += 1
    return _read_and_stored(at, out, room)


cdef bint _is_sort(const command_t* cmd) noexcept nogil:
    """SORT, whose keys a function of its own reads, too: the last STORE counts."""
    return cmd.key_spec_count == 3 and strcmp(cmd.name, b"sort") == 0


cdef int _sort_keys(int argc, const arg_t* argv, key_ref_t* out, int room) noexcept nogil:
    """The words behind LIMIT, GET and BY are none of its options; that behind STORE may be one."""
    cdef int at = 0
    cdef int i = 2
    while i < argc:
        if arg_is(&argv[i], b"limit"):
            i += 2
        elif arg_is(&argv[i], b"get") or arg_is(&argv[i], b"by"):
            i += 1
        elif arg_is(&argv[i], b"store") and i + 1 < argc:
            at = i + 1
        i += 1
    return _read_and_stored(at, out, room)


cdef uint32_t _flags(const command_t* cmd, const key_spec_t* s, int argc, const arg_t* argv) noexcept nogil:
    """The spec's flags for these very arguments: SET reads the old value only with GET, BITFIELD of GETs alone does not
    write."""
    cdef int i
    if not s.flags & KEY_VARIABLE_FLAGS:
        return s.flags
    if strcmp(cmd.name, b"set") == 0:
        for i in range(3, argc):
            if arg_is(&argv[i], b"get"):
                break
        else:
            return KEY_OW | KEY_UPDATE
    elif strcmp(cmd.name, b"bitfield") == 0:
        i = 2
        while i < argc:
            if i + 2 < argc and arg_is(&argv[i], b"get"):
                i += 3
            elif i + 1 < argc and arg_is(&argv[i], b"overflow"):
                i += 2
            else:
                break
        if i == argc:
            return KEY_RO | KEY_ACCESS
    return s.flags & ~<uint32_t>KEY_VARIABLE_FLAGS


cdef int command_keys(const command_t* cmd, int argc, const arg_t* argv, key_ref_t* out, int room) noexcept nogil:
    cdef const key_spec_t* s
    cdef key_ref_t first
    cdef int found = 0
    cdef int before = 0  # keys of specs in front of an odd one
    cdef int k, n, at, last
    cdef uint32_t flags
    cdef bint odd = False
    if _is_georadius(cmd):
        return _georadius_keys(argc, argv, out, room)
    if _is_sort(cmd):
        return _sort_keys(argc, argv, out, room)
    for k in range(cmd.key_spec_count):
        s = &cmd.key_specs[k]
        if s.find == KEYS_UNKNOWN:
            continue
        at = s.begin
        if s.find == KEYS_COUNTED:
            n = _count(s, argc, argv, &odd)
            if n == KEYS_INVALID:
                return KEYS_INVALID
            before = found if odd else 0
            at += s.first
            last = at + (n - 1) * s.step
        else:
            if s.keyword != NULL:
                at = _find_keyword(s, argc, argv)
                if at < 0:
                    continue
            last = argc + s.last if s.last < 0 else at + s.last
            if s.last == -1 and s.limit > 1:
                last = at + (argc - at) // s.limit - 1
            last = min(last, argc - 1)
            if last < at:  # PFMERGE without a source: for Valkey its arguments do not fit
                return KEYS_INVALID
        flags = 0 if odd else _flags(cmd, s, argc, argv)  # as in Valkey, where another function reads it then
        while at <= last:
            if found < room:
                out[found].at = at
                out[found].flags = flags
            found += 1
            at += s.step
    while before and found <= room:  # that function gives a destination last, and without flags, too
        first = out[0]
        first.flags = 0
        memmove(out, out + 1, (found - 1) * sizeof(key_ref_t))
        out[found - 1] = first
        before -= 1
    return found

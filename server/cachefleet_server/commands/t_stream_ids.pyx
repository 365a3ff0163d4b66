"""See t_stream_ids.pxd."""

from libc.errno cimport errno
from libc.stdlib cimport strtoull
from libc.string cimport memcpy, memset, strchr

from cachefleet_server.commands.t_stream_idmp cimport idmp_words
from cachefleet_server.commands.t_stream_refs cimport REFS_NONE, arg_policy
from cachefleet_server.core.reply cimport arg_int64, arg_is, reply_error, reply_syntax_error
from cachefleet_server.core.role cimport EXPIRY_PRESENT
from cachefleet_server.ds.intrin cimport cf_likely
from cachefleet_server.ds.number cimport int64_to_chars
from cachefleet_server.ds.stream cimport (
    STREAM_ID_CHARS, TRIM_MAXLEN, TRIM_MINID, TRIM_NONE, sid_next, sid_previous, sid_to_chars, stream_edge)
from cachefleet_server.keyspace.journal cimport journal_arg, journal_rewrite

cdef enum:
    ID_CHARS = 128  # an id's argument has less
    SHORT_DIGITS = 18  # of a number that is read without a second look
    LIMIT_BLOCKS = 100  # of a trim that is not exact, if LIMIT does not say
    LIMIT_NONE = 10000  # where blocks have any number of entries
    LIMIT_MAX = 1000000

# ---- ids -----------------------------------------------------------------------------------------------

cdef bint _number(const char* text, uint64_t* out) noexcept nogil:
    """Of a C string."""
    cdef char* end
    cdef size_t digits = 0
    cdef uint64_t n = 0
    while c"0" <= text[digits] <= c"9" and digits <= SHORT_DIGITS:
        n = n * 10 + (text[digits] - c"0")
        digits += 1
    if digits and text[digits] == 0:
        out[0] = n
        return True
    if text[0] == 0 or (text[0] == c"-" and c"0" <= text[1] <= c"9" and _is_integer(text + 1)):
        return False
    (&errno)[0] = 0
    out[0] = strtoull(text, &end, 10)
    return errno == 0 and end[0] == 0 and end != text


cdef bint _is_integer(const char* text) noexcept nogil:
    """Behind a minus: what Valkey's own reader takes, and finds negative; strtoull would make 2^64 - n of it."""
    cdef size_t digits = 0
    while c"0" <= text[digits] <= c"9":
        digits += 1
    return text[digits] == 0 and text[0] != c"0" and digits <= SHORT_DIGITS + 1


cdef bint _chars_to_id(
    const char* p, size_t n, uint64_t missing_seq, bint strict, sid_t* id, bint* auto_seq
) noexcept nogil:
    cdef char text[ID_CHARS]
    cdef char* dash
    if n >= ID_CHARS:
        return False
    memcpy(&text[0], p, n)
    text[n] = 0
    if (text[0] == c"-" or text[0] == c"+") and text[1] == 0:
        if not strict:
            memset(id, 0 if text[0] == c"-" else 0xFF, sizeof(sid_t))
        return not strict
    dash = strchr(&text[0], c"-")
    if dash != NULL:
        dash[0] = 0
    if not _number(&text[0], &id.ms):
        return False
    id.seq = missing_seq
    if dash == NULL:
        return True
    if auto_seq != NULL and dash[1] == c"*" and dash[2] == 0:
        id.seq = 0
        auto_seq[0] = True
        return True
    return _number(dash + 1, &id.seq)


cdef bint chars_to_id(
    const char* p, size_t n, uint64_t missing_seq, bint strict, sid_t* id, bint* auto_seq
) noexcept nogil:
    """Fast path: two short numbers, as ids of this age are. Then: no copy, and no strtoull."""
    cdef uint64_t ms = 0
    cdef uint64_t seq = 0
    cdef size_t i = 0
    cdef size_t dash
    while i < n and c"0" <= p[i] <= c"9":
        ms = ms * 10 + (p[i] - c"0")
        i += 1
    dash = i
    if cf_likely(0 < dash <= SHORT_DIGITS and i + 1 < n and p[i] == c"-"):
        i += 1
        while i < n and c"0" <= p[i] <= c"9":
            seq = seq * 10 + (p[i] - c"0")
            i += 1
        if i == n and i - dash - 1 <= SHORT_DIGITS:
            id.ms = ms
            id.seq = seq
            return True
    return _chars_to_id(p, n, missing_seq, strict, id, auto_seq)


cdef bint _id_or_reply(
    client_t* c, const char* p, size_t n, uint64_t missing_seq, bint strict, sid_t* id, bint* auto_seq
) noexcept nogil:
    if chars_to_id(p, n, missing_seq, strict, id, auto_seq):
        return True
    reply_error(c, b"ERR Invalid stream ID specified as stream command argument")
    return False


cdef bint arg_id(client_t* c, const arg_t* a, uint64_t missing_seq, bint strict, sid_t* id) noexcept nogil:
    return _id_or_reply(c, a.ptr, a.len, missing_seq, strict, id, NULL)


cdef bint _end_of_range(
    client_t* c, const arg_t* a, uint64_t missing_seq, sid_t* id, bint* exclusive
) noexcept nogil:
    exclusive[0] = a.len > 1 and a.ptr[0] == c"("
    return _id_or_reply(
        c, a.ptr + exclusive[0], a.len - exclusive[0], missing_seq, exclusive[0], id, NULL)


cdef bint arg_start(client_t* c, const arg_t* a, sid_t* id) noexcept nogil:
    cdef bint exclusive
    if not _end_of_range(c, a, 0, id, &exclusive):
        return False
    if exclusive and not sid_next(id):
        reply_error(c, b"ERR invalid start ID for the interval")
        return False
    return True


cdef bint arg_range(client_t* c, const arg_t* start, const arg_t* end, sid_t* from_, sid_t* to) noexcept nogil:
    cdef bint exclusive
    if not arg_start(c, start, from_):
        return False
    if not _end_of_range(c, end, <uint64_t>-1, to, &exclusive):
        return False
    if exclusive and not sid_previous(to):
        reply_error(c, b"ERR invalid end ID for the interval")
        return False
    return True

# ---- trimming ------------------------------------------------------------------------------------------

cdef bint _is_char(const arg_t* a, char letter) noexcept nogil:
    return a.len == 1 and a.ptr[0] == letter


cdef bint _threshold(client_t* c, int kind, int* at, add_words_t* out) noexcept nogil:
    """Behind MAXLEN or MINID, which is followed by something; `at` is where that stands, then the threshold."""
    if out.trim.kind != TRIM_NONE:
        reply_error(c, b"ERR syntax error, MAXLEN and MINID options at the same time are not compatible")
        return False
    out.trim.approximate = False
    if c.argc - at[0] >= 2 and (_is_char(&c.argv[at[0]], c"~") or _is_char(&c.argv[at[0]], c"=")):
        out.trim.approximate = c.argv[at[0]].ptr[0] == c"~"
        at[0] += 1
    if kind == TRIM_MINID:
        if not arg_id(c, &c.argv[at[0]], 0, True, &out.trim.id):
            return False
    else:
        if not arg_int64(c, &c.argv[at[0]], &out.trim.length):
            return False
        if out.trim.length < 0:
            reply_error(c, b"ERR The MAXLEN argument must be >= 0.")
            return False
    out.trim.kind = kind
    out.threshold_at = at[0]
    return True


cdef bint _limit(client_t* c, bint is_given, add_words_t* out) noexcept nogil:
    """How many entries a trim that is not exact may remove."""
    cdef int64_t most
    if c.role.expiry == EXPIRY_PRESENT:  # of an AOF: whoever wrote it has limited it
        out.trim.limit = 0
    elif is_given:
        if not out.trim.approximate:
            reply_error(c, b"ERR syntax error, LIMIT cannot be used without the special ~ option")
            return False
    elif out.trim.approximate:
        most = LIMIT_BLOCKS * c.engine.params.stream_node_max_entries
        out.trim.limit = min(most if most > 0 else <int64_t>LIMIT_NONE, <int64_t>LIMIT_MAX)
    return True


cdef bint _limit_word(client_t* c, const arg_t* a, int64_t* out) noexcept nogil:
    if not arg_int64(c, a, out):
        return False
    if out[0] < 0:
        reply_error(c, b"ERR The LIMIT argument must be >= 0.")
        return False
    return True


cdef bint add_words(client_t* c, bint xadd, add_words_t* out) noexcept nogil:
    cdef int i = 2
    cdef const arg_t* a
    cdef bint more
    cdef bint has_limit = False
    cdef int idmp = -1
    memset(out, 0, sizeof(add_words_t))
    out.policy = REFS_NONE
    while i < c.argc:
        a = &c.argv[i]
        more = i + 1 < c.argc
        if xadd and _is_char(a, c"*"):
            break
        if xadd:
            idmp = idmp_words(c, i, &out.idmp)
        if idmp >= 0:
            i += idmp
            if idmp == 0:
                return False
        elif more and (arg_is(a, b"MAXLEN") or arg_is(a, b"MINID")):
            i += 1
            if not _threshold(c, TRIM_MAXLEN if a.len == 6 else TRIM_MINID, &i, out):
                return False
        elif more and arg_is(a, b"LIMIT"):
            i += 1
            has_limit = True
            if not _limit_word(c, &c.argv[i], &out.trim.limit):
                return False
        elif xadd and arg_is(a, b"NOMKSTREAM"):
            out.no_create = True
        elif out.policy == REFS_NONE and arg_policy(a) != REFS_NONE:
            out.policy = arg_policy(a)
        elif xadd:
            if not _id_or_reply(c, a.ptr, a.len, 0, True, &out.id, &out.auto_seq):
                return False
            out.has_id = True
            break
        else:
            reply_syntax_error(c)
            return False
        i += 1
    out.id_at = i
    if out.has_id and out.idmp.producer != NULL:
        reply_error(c, b"ERR IDMP and IDMPAUTO go with the ID * only")
        return False
    if out.trim.kind == TRIM_NONE:
        if out.trim.limit:
            reply_error(c, b"ERR syntax error, LIMIT cannot be used without specifying a trimming strategy")
            return False
        if not xadd:
            reply_error(c, b"ERR syntax error, XTRIM must be called with a trimming strategy")
            return False
    return _limit(c, has_limit, out)


cdef void journal_added(client_t* c, const add_words_t* words, const stream_t* s, const sid_t* id) noexcept nogil:
    cdef bint told = id != NULL and (not words.has_id or words.auto_seq)
    cdef bint exact = words.trim.kind == TRIM_NONE or not words.trim.approximate
    cdef char id_text[STREAM_ID_CHARS]
    cdef char text[STREAM_ID_CHARS]
    cdef arg_t kept[3]
    cdef int at = words.threshold_at
    cdef sid_t first
    cdef size_t n
    if not c.engine.journal.enabled or (exact and not told):
        return
    if told:
        kept[0] = c.argv[words.id_at]
        c.argv[words.id_at] = journal_arg(&id_text[0], sid_to_chars(id, c"-", &id_text[0]))
    if not exact:
        kept[1] = c.argv[at - 1]
        kept[2] = c.argv[at]
        if words.trim.kind == TRIM_MAXLEN:
            n = int64_to_chars(&text[0], <int64_t>s.length)
        else:
            if not stream_edge(s, False, &first):
                memset(&first, 0xFF, sizeof(sid_t))  # all of it went
            n = sid_to_chars(&first, c"-", &text[0])
        c.argv[at - 1] = journal_arg(b"=", 1)
        c.argv[at] = journal_arg(&text[0], n)
    journal_rewrite(c, c.argc, c.argv)
    if not exact:
        c.argv[at - 1] = kept[1]
        c.argv[at] = kept[2]
    if told:
        c.argv[words.id_at] = kept[0]

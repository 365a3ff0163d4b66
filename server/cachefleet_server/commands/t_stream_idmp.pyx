"""See t_stream_idmp.pxd."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from cachefleet_server.commands.t_stream cimport *
from cachefleet_server.commands.t_stream_ids cimport IDMP_DIGEST, arg_id
from cachefleet_server.core.command cimport command_row
from cachefleet_server.core.reply cimport (
    arg_int64, arg_is, reply_error, reply_ok, reply_syntax_error)
from cachefleet_server.ds.checksum cimport sha1_final, sha1_init, sha1_t, sha1_update
from cachefleet_server.ds.idtree cimport sid_compare, sid_less
from cachefleet_server.ds.intrin cimport cf_atomic_add, cf_load64, cf_store64
from cachefleet_server.ds.stream_idmp cimport (
    IDMP_DURATION_S, IDMP_DURATION_S_MAX, IDMP_MOST, IDMP_MOST_MAX, idmp_add, idmp_clear, idmp_count, idmp_find,
    idmp_own, idmp_release, sidmp_t, siid_t)
from cachefleet_server.keyspace.journal cimport journal_arg, journal_command

# ---- words of XADD -----------------------------------------------------------------------------------

cdef int idmp_words(client_t* c, int at, idmp_words_t* out) noexcept nogil:
    cdef bint given = arg_is(&c.argv[at], b"IDMP")
    cdef int words = 2 if given else 1
    if not given and not arg_is(&c.argv[at], b"IDMPAUTO"):
        return -1
    if out.producer != NULL or at + words >= c.argc:
        reply_syntax_error(c)
        return 0
    out.producer = &c.argv[at + 1]
    out.auto = not given
    if given:
        out.iid = c.argv[at + 2]
    if out.producer.len == 0 or (given and out.iid.len == 0):
        reply_error(c, b"ERR A producer and its id of a message must not be empty")
        return 0
    return words


cdef void _mix(sha1_t* h, const arg_t* a) noexcept nogil:
    cdef uint64_t n = a.len
    sha1_update(h, &n, sizeof(uint64_t))
    sha1_update(h, a.ptr, a.len)


cdef void idmp_digest(client_t* c, int first, idmp_words_t* words) noexcept nogil:
    cdef sha1_t h
    cdef uint8_t[20] digest
    cdef uint64_t low = 0
    cdef uint64_t high = 0
    cdef int i
    if not words.auto:
        return
    for i in range(first, c.argc, 2):
        sha1_init(&h)
        _mix(&h, &c.argv[i])
        _mix(&h, &c.argv[i + 1])
        sha1_final(&h, &digest[0])
        low += cf_load64(&digest[0])
        high += cf_load64(&digest[8])
    cf_store64(&words.text[0], low)
    cf_store64(&words.text[8], high)
    words.iid = journal_arg(&words.text[0], IDMP_DIGEST)

# ---- what is remembered ------------------------------------------------------------------------------

cdef sidmp_t* _own(client_t* c, stream_t* s) noexcept nogil:
    """Counted among what only our own files can hold."""
    if s.idmp == NULL:
        cf_atomic_add(&c.engine.types[OBJ_STREAM].newer, 1)
    return idmp_own(c.engine.heap, &s.idmp)


cdef const siid_t* _find(client_t* c, const stream_t* s, const arg_t* producer, const arg_t* iid) noexcept nogil:
    return idmp_find(s.idmp, producer.ptr, producer.len, iid.ptr, iid.len, c.engine.now_ms)


cdef void _add(
    client_t* c, stream_t* s, const arg_t* producer, const arg_t* iid, const sid_t* id
) noexcept nogil:
    """As old as the entry's id says."""
    cdef sidmp_t* m = _own(c, s)
    cdef int64_t now = c.engine.now_ms
    cdef int64_t when = <int64_t>min(id.ms, <uint64_t>now)
    idmp_add(c.engine.heap, m, producer.ptr, producer.len, iid.ptr, iid.len, id, when, now)
    m.added += 1


cdef bint idmp_is_duplicate(client_t* c, stream_t* s, const idmp_words_t* words, sid_t* id) noexcept nogil:
    cdef const siid_t* found = _find(c, s, words.producer, &words.iid)
    if found == NULL:
        return False
    id[0] = found.id
    idmp_own(c.engine.heap, &s.idmp).duplicates += 1
    return True


cdef void idmp_remember(
    client_t* c, const arg_t* key, stream_t* s, const idmp_words_t* words, const sid_t* id
) noexcept nogil:
    cdef arg_t argv[5]
    cdef char text[STREAM_ID_CHARS]
    _add(c, s, words.producer, &words.iid, id)
    argv[0] = journal_arg(b"XIDMPRECORD", 11)
    argv[1] = key[0]
    argv[2] = words.producer[0]
    argv[3] = words.iid
    argv[4] = journal_arg(&text[0], sid_to_chars(id, c"-", &text[0]))
    journal_command(c.engine, c.db.id, 5, argv)


cdef void reply_idmp(client_t* c, const stream_t* s) noexcept nogil:
    cdef uint64_t producers, iids
    idmp_count(s.idmp, c.engine.now_ms, &producers, &iids)
    reply_named_int(c, b"idmp-duration", s.idmp.duration_s)
    reply_named_int(c, b"idmp-maxsize", s.idmp.most)
    reply_named_int(c, b"pids-tracked", producers)
    reply_named_int(c, b"iids-tracked", iids)
    reply_named_int(c, b"iids-added", s.idmp.added)
    reply_named_int(c, b"iids-duplicates", s.idmp.duplicates)

# ---- commands ----------------------------------------------------------------------------------------

cdef inline entry_t* _stream_or_reply(client_t* c) noexcept nogil:
    return stream_or_no_key(c, lookup_write(c, &c.argv[1]))


cdef bint _setting(client_t* c, const arg_t* a, int64_t most, const char* wrong, int64_t* out) noexcept nogil:
    if not arg_int64(c, a, out):
        return False
    if 1 <= out[0] <= most:
        return True
    reply_error(c, wrong)
    return False


cdef bint _settings(client_t* c, int64_t* duration, int64_t* most) noexcept nogil:
    cdef int i = 2
    while i + 1 < c.argc:
        if arg_is(&c.argv[i], b"IDMP-DURATION"):
            if not _setting(c, &c.argv[i + 1], IDMP_DURATION_S_MAX, b"ERR invalid duration", duration):
                return False
        elif arg_is(&c.argv[i], b"IDMP-MAXSIZE"):
            if not _setting(c, &c.argv[i + 1], IDMP_MOST_MAX, b"ERR invalid maxsize", most):
                return False
        else:
            break
        i += 2
    if i != c.argc or i == 2:
        reply_syntax_error(c)
        return False
    return True


cdef void _set(client_t* c, stream_t* s, uint32_t duration, uint32_t most) noexcept nogil:
    """Other values forget what was remembered; those of the beginning leave nothing."""
    cdef sidmp_t* m
    if duration == IDMP_DURATION_S and most == IDMP_MOST:
        idmp_release(c.engine.heap, s.idmp)
        s.idmp = NULL
        cf_atomic_add(&c.engine.types[OBJ_STREAM].newer, 0 - <size_t>1)
        return
    m = _own(c, s)
    idmp_clear(c.engine.heap, m)
    m.duration_s = duration
    m.most = most


cdef void xcfgset_command(client_t* c) noexcept nogil:
    cdef int64_t duration = IDMP_DURATION_S
    cdef int64_t most = IDMP_MOST
    cdef int64_t duration_before, most_before
    cdef entry_t* entry = _stream_or_reply(c)
    cdef const sidmp_t* m
    if entry == NULL:
        return
    m = entry_stream(entry).idmp
    if m != NULL:
        duration = m.duration_s
        most = m.most
    duration_before = duration
    most_before = most
    if not _settings(c, &duration, &most):
        return
    if duration != duration_before or most != most_before:
        _set(c, stream_to_write(c, entry), <uint32_t>duration, <uint32_t>most)
        c.engine.persist.dirty += 1
    reply_ok(c)


cdef void xidmprecord_command(client_t* c) noexcept nogil:
    cdef const arg_t* producer = &c.argv[2]
    cdef const arg_t* iid = &c.argv[3]
    cdef entry_t* entry = _stream_or_reply(c)
    cdef const siid_t* found
    cdef stream_t* s
    cdef sid_t id
    if entry == NULL or not arg_id(c, &c.argv[4], 0, True, &id):
        return
    s = entry_stream(entry)
    found = _find(c, s, producer, iid)
    if producer.len == 0 or iid.len == 0:
        reply_error(c, b"ERR A producer and its id of a message must not be empty")
    elif sid_less(&s.last, &id):
        reply_error(c, b"ERR The stream has no such entry")
    elif found != NULL and sid_compare(&found.id, &id):
        reply_error(c, b"ERR The producer's id belongs to another entry")
    else:
        if found == NULL:
            _add(c, stream_to_write(c, entry), producer, iid, &id)
            c.engine.persist.dirty += 1
        reply_ok(c)


cdef int register_stream_idmp(engine_t* e) except -1:
    """Adds this family's rows to the engine's command table."""
    command_row(e, xcfgset_command, "xcfgset", -2, "write fast", "stream", "1 RW update", "stream 8.6.0 O(1)",
                "Sets for how long a stream remembers what producers sent, and how much.",
                "key:key [IDMP-DURATION idmp-duration:integer] [IDMP-MAXSIZE idmp-maxsize:integer]")
    command_row(e, xidmprecord_command, "xidmprecord", 5, "write denyoom fast", "stream", "1 RW update",
                "stream 8.8.0 O(1)", "Remembers what a producer sent, for replication and files.",
                "key:key pid:string iid:string stream-id:string")
    return 0

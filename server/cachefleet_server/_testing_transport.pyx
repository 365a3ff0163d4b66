"""A transport that only tests have, and that is as awkward as a transport may be; not part of wheels.

The stream is scrambled by its position and comes in frames, which the other side (fleettest.scrambled) knows, too:

    1..254 n   n bytes of data        0   "answer me"       255   the answer

Each side may ask at any time; our side does as soon as it is plugged in, which is its handshake, and now and then
afterwards. Until it has its answer it writes nothing (so writing wants to read); until it could send one itself it
reads nothing (reading wants to write), which it pretends now and then. It moves 1 to 7 bytes a call, and reads up to
AHEAD bytes ahead, also when it is asked to write. It checks that what it could not finish is offered again.
"""

from libc.errno cimport EAGAIN, errno
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memmove
from posix.unistd cimport read, write

from cachefleet_server.core.clients cimport client_first, client_next
from cachefleet_server.core.engine cimport (
    TRANSPORT_ERROR, TRANSPORT_WANT_READ, TRANSPORT_WANT_WRITE, client_t, transport_t)
from cachefleet_server.engine cimport Engine
from cachefleet_server.resp.writer cimport iovec

cdef enum:
    ASK = 0
    ANSWER = 255
    AHEAD = 64
    PIECE_MAX = 7
    WIRE = 64

cdef struct totals_t:
    uint64_t sessions
    uint64_t closed
    uint64_t asked
    uint64_t answered
    uint64_t reads_at_writable  # TRANSPORT_WANT_WRITE returned to a read
    uint64_t writes_at_readable
    uint64_t unread
    uint64_t other_bytes  # offered after a write that did not finish: must stay 0
    bint stuck  # reads want to write, whatever comes
    bint mute  # asks no more once a session has begun

cdef struct session_t:
    totals_t* totals
    uint32_t rng
    bint asking  # no data is written until the answer is here
    int answers_due
    # out: encoded, not yet the kernel's
    char wire[64]  # WIRE
    int wire_len
    char offered[7]  # PIECE_MAX: the data that lies in `wire` and is counted when that is empty
    int owed
    uint64_t sent
    # in: decoded, not yet delivered
    char ahead[64]  # AHEAD
    int ahead_len
    int frame_left
    uint64_t received


cdef inline uint32_t _draw(session_t* s, uint32_t n) noexcept nogil:
    s.rng = s.rng * 1664525 + 1013904223
    return (s.rng >> 16) % n


cdef inline uint8_t _mask(uint64_t at) noexcept nogil:
    return <uint8_t>(at * 31 + 7)


cdef void _put(session_t* s, uint8_t byte) noexcept nogil:
    s.wire[s.wire_len] = <char>(byte ^ _mask(s.sent))
    s.wire_len += 1
    s.sent += 1


cdef ssize_t _flush(client_t* c, session_t* s) noexcept nogil:
    """0, or TRANSPORT_*."""
    cdef ssize_t n
    while s.wire_len:
        n = write(c.fd, s.wire, s.wire_len)
        if n < 0:
            return TRANSPORT_WANT_WRITE if errno == EAGAIN else TRANSPORT_ERROR
        s.wire_len -= <int>n
        memmove(s.wire, s.wire + n, s.wire_len)
    return 0


cdef void _decode(session_t* s, uint8_t byte) noexcept nogil:
    byte ^= _mask(s.received)
    s.received += 1
    if s.frame_left:
        s.frame_left -= 1
        s.ahead[s.ahead_len] = <char>byte
        s.ahead_len += 1
    elif byte == ASK:
        s.answers_due += 1
    elif byte == ANSWER:
        s.asking = False
    else:
        s.frame_left = byte


cdef ssize_t _fill(client_t* c, session_t* s) noexcept nogil:
    """> 0: something came."""
    cdef uint8_t raw[64]  # AHEAD
    cdef ssize_t i
    cdef ssize_t n
    if s.ahead_len == AHEAD:
        return 1
    n = read(c.fd, raw, AHEAD - s.ahead_len)
    if n < 0:
        return TRANSPORT_WANT_READ if errno == EAGAIN else TRANSPORT_ERROR
    for i in range(n):
        _decode(s, raw[i])
    return n


cdef ssize_t _read(client_t* c, char* to, size_t n) noexcept nogil:
    cdef session_t* s = <session_t*>c.session
    cdef ssize_t done
    while True:
        if s.totals.stuck or s.answers_due and _draw(s, 3) == 0:
            s.totals.reads_at_writable += 1
            return TRANSPORT_WANT_WRITE
        if s.answers_due:
            done = _flush(c, s)
            if done < 0:
                s.totals.reads_at_writable += done == TRANSPORT_WANT_WRITE
                return done
            _put(s, ANSWER)
            s.answers_due -= 1
            s.totals.answered += 1
            continue
        done = _flush(c, s)
        if done == TRANSPORT_ERROR:
            return done
        if s.ahead_len:
            break
        done = _fill(c, s)
        if done <= 0:
            return done
    n = min(n, <size_t>(1 + _draw(s, PIECE_MAX)), <size_t>s.ahead_len)
    memcpy(to, s.ahead, n)
    s.ahead_len -= <int>n
    memmove(s.ahead, s.ahead + n, s.ahead_len)
    return n


cdef ssize_t _write(client_t* c, const char* p, size_t n) noexcept nogil:
    cdef session_t* s = <session_t*>c.session
    cdef ssize_t done
    cdef int i
    if s.owed == 0 and not s.asking and not s.totals.mute and _draw(s, 8) == 0:
        _put(s, ASK)
        s.asking = True
        s.totals.asked += 1
    while s.asking and s.owed == 0:
        done = _flush(c, s)
        if done == 0:
            done = _fill(c, s)
        if done <= 0:
            s.totals.writes_at_readable += done == TRANSPORT_WANT_READ
            return done
        if s.asking and s.ahead_len == AHEAD:  # what stands before the answer has to be read first
            s.totals.writes_at_readable += 1
            return TRANSPORT_WANT_READ
    if s.owed == 0:
        s.owed = <int>min(n, <size_t>(1 + _draw(s, PIECE_MAX)))
        memcpy(s.offered, p, s.owed)
        _put(s, <uint8_t>s.owed)
        for i in range(s.owed):
            _put(s, <uint8_t>p[i])
    elif n < <size_t>s.owed or memcmp(p, s.offered, s.owed) != 0:
        s.totals.other_bytes += 1
    done = _flush(c, s)
    if done < 0:
        return done
    done = s.owed
    s.owed = 0
    return done


cdef ssize_t _writev(client_t* c, const iovec* iov, int count) noexcept nogil:
    """Pieces as one run of bytes, as far as one write goes."""
    cdef char gathered[7]  # PIECE_MAX
    cdef size_t n = 0
    cdef size_t part
    cdef int i
    for i in range(count):
        part = min(iov[i].iov_len, <size_t>PIECE_MAX - n)
        memcpy(gathered + n, iov[i].iov_base, part)
        n += part
    return _write(c, gathered, n)


cdef bint _unread(const client_t* c) noexcept nogil:
    cdef session_t* s = <session_t*>c.session
    if not s.ahead_len and not s.answers_due:
        return False
    s.totals.unread += 1
    return True


cdef void _close(client_t* c) noexcept nogil:
    (<session_t*>c.session).totals.closed += 1
    free(c.session)
    c.session = NULL


cdef transport_t SCRAMBLED
SCRAMBLED.name = b"scrambled"
SCRAMBLED.read_fn = _read
SCRAMBLED.write_fn = _write
SCRAMBLED.writev_fn = _writev
SCRAMBLED.unread_fn = _unread
SCRAMBLED.close_fn = _close
SCRAMBLED.refuse_fn = NULL


cdef class Scrambled:
    """The transport for chosen clients of one engine. Must outlive them."""

    cdef Engine engine
    cdef totals_t all

    def __cinit__(self, Engine engine not None):
        self.engine = engine

    def plug(self, uint64_t id, uint32_t seed):
        """For a client that was just added."""
        cdef client_t* c = client_first(self.engine.ptr)
        cdef session_t* s
        while c.id != id:
            c = client_next(c)
        s = <session_t*>calloc(1, sizeof(session_t))
        s.totals = &self.all
        s.rng = seed
        s.asking = True
        _put(s, ASK)
        c.transport = &SCRAMBLED
        c.session = s
        self.all.sessions += 1
        self.all.asked += 1
        with nogil:
            _flush(c, s)

    def mute(self):
        """Nothing is asked from now on but for a handshake, so that writing never wants to read."""
        self.all.mute = True

    def stick(self, bint on):
        """From now on, or no longer, all reads want to write."""
        self.all.stuck = on

    def totals(self):
        return self.all

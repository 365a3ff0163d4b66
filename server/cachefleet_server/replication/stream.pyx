"""Following a primary, for Python; see stream.pyi."""

from collections import namedtuple

from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

from cachefleet_server.core.engine cimport client_t, engine_t
from cachefleet_server.core.wake cimport client_close_asap
from cachefleet_server.keyspace.following cimport (
    following_acknowledge, following_begin, following_confirm, following_end, following_read)
from cachefleet_server.keyspace.journal cimport journal_become, journal_end, journal_turn

Position = namedtuple("Position", "id offset")


cdef void _link_lost(engine_t* e) noexcept nogil:
    """following_t.lost_fn"""
    with gil:
        (<Stream><PyObject*>(<following_t*>e.following).owner)._lost()


cdef void _beat(engine_t* e, const char* word, size_t n) noexcept nogil:
    """following_t.beat_fn"""
    with gil:
        (<Stream><PyObject*>(<following_t*>e.following).owner)._heard(word[:n])


cdef class Stream:
    def __cinit__(self, Engine engine not None):
        memset(&self.f, 0, sizeof(following_t))
        self.engine = engine
        self.f.owner = <void*>self
        self.f.lost_fn = _link_lost

    def __dealloc__(self):
        if self.engine.ptr != NULL and self.following:
            self.on_lost = None
            self._disconnect()
            following_end(self.engine.ptr)

    cdef void _lost(self) noexcept:
        if self.on_lost is not None:
            failure = (<bytes>self.f.failure).decode("utf-8", "backslashreplace")
            self.on_lost(failure or "the connection is gone", bool(failure))

    cdef void _heard(self, bytes word) noexcept:
        if self.on_beat is not None:
            self.on_beat(word)

    @property
    def following(self): return self.engine.ptr.following != NULL

    @property
    def connected(self): return self.following and self.f.link != NULL

    @property
    def offset(self): return journal_end(self.engine.ptr)

    @property
    def read_offset(self): return following_read(self.engine.ptr)

    @property
    def db(self): return max(self.engine.ptr.journal.db, 0)

    @property
    def idle_s(self):
        if self.f.link == NULL:
            return -1
        return (self.engine.ptr.now_ms - self.f.link.last_interaction_ms) // 1000

    @property
    def position(self):
        """At a start, and after a promotion without a write, everybody knows the earlier id, and may not know ours."""
        cdef engine_t* e = self.engine.ptr
        cdef uint64_t end = journal_end(e)
        if e.journal.earlier_id[0] and e.journal.earlier_end == end:
            return Position((<bytes>e.journal.earlier_id).decode(), end)
        return Position((<bytes>e.journal.id).decode(), end) if e.journal.id[0] else None

    def begin(self):
        following_begin(self.engine.ptr, &self.f)

    def end(self):
        self._disconnect()
        following_end(self.engine.ptr)
        journal_turn(self.engine.ptr, NULL)
        self.engine.ptr.journal.db = -1  # whoever reads on is told where we are

    def set(self, *, bint read_only, bint serve_stale):
        self.f.read_only = read_only
        self.f.serve_stale = serve_stale

    def connect(self, int fd, bytes early not None):
        if self.engine.new_link(fd, early) == NULL:
            raise OSError("the kernel refuses to watch the socket")

    def disconnect(self):
        self._disconnect()

    cdef void _disconnect(self) noexcept:
        cdef client_t* link = self.f.link
        if link != NULL:
            self.f.link = NULL  # nobody is told
            client_close_asap(link)

    def acknowledge(self):
        following_acknowledge(self.engine.ptr)

    def manage(self, on_beat not None):
        self.on_beat = on_beat
        self.f.managed = True
        self.f.beat_fn = _beat

    def confirm(self, uint64_t offset):
        following_confirm(self.engine.ptr, offset)

    def confirm_ticks(self, bint promptly, *, bint from_file):
        self.f.promptly = promptly
        self.f.from_file = from_file

    def take_confirmed(self):
        cdef int64_t at = self.f.confirmed_ms
        self.f.confirmed_ms = 0
        return (self.engine.ptr.monotonic_ms - at) / 1000.0 if at else None

    def become(self, str id not None, uint64_t offset, int db):
        cdef bytes name = id.encode()
        assert len(name) == 40
        journal_become(self.engine.ptr, name, offset, db)

    def turn(self, str id not None):
        cdef bytes name = id.encode()
        assert len(name) == 40
        journal_turn(self.engine.ptr, name)

"""The journal's changes out of an AOF's file, unit by unit, and where in the history they are.

A *unit* is a command, or a transaction from MULTI to EXEC. SELECTs in front belong to it: they only say its database.
Between two units is a *place*; only there one can begin to read.

    #JOURNAL:A 0 0 | SELECT 0, SET a 1 | MULTI, INCR a, INCR b, EXEC | SELECT 0  #JOURNAL:B 0 140 | SET a 2 |
             place^             place^                         place^                  place^        place^
                  A:0                A:50                       A:140                       B:140

Notes of the position (aof_log.pxd) say how offsets go on. Within a file a note that names the offset at which the file
is, or was in front of a SELECT that no journal had, continues: under the same id, or under that of a server that was
started again with what it had loaded up to there. So does one that names a later offset under the same id: what is left
out are messages, which change nothing (aof_log.pxd). Any other offset is a *break*: the end was lost, and nobody can
tell what became of the data in between. Nothing is read over a break.
"""

from collections import namedtuple

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcmp, memcpy

from cachefleet_server.core.reply cimport arg_is
from cachefleet_server.ds.number cimport chars_to_int64
from cachefleet_server.persistence.aof_load cimport (
    READ_OK, READ_SHORT, aof_command, aof_note, aof_notes, reader_t)
from cachefleet_server.resp.input cimport request_t

END, FULL, FOUND, BROKEN = _END, _FULL, _FOUND, _BROKEN

Place = namedtuple("Place", "byte id offset db")

cdef enum:
    POINT_EVERY = 1048576  # bytes between two points

    _END = 0
    _FULL = 1
    _FOUND = 2
    _BROKEN = 3
    _PLACE = 4
    _NOTHING = 5

    _ID = 40  # bytes

cdef struct mark_t:  # a place
    uint64_t at  # in the block
    char id[41]
    uint64_t offset
    int db


cdef bint _changes_nothing(const request_t* q) noexcept nogil:
    """What is in the journal for replicas alone."""
    return arg_is(&q.argv[0], b"ping") or arg_is(&q.argv[0], b"publish") or arg_is(&q.argv[0], b"spublish")


cdef class Walk:
    """See capture_walk.pyi."""

    cdef reader_t r  # over a block of the file
    cdef mark_t mark  # the last place
    cdef uint64_t start  # of the block, in the file
    cdef int db  # that the journal is in at r.at
    cdef bint wanting
    cdef char wanted_id[41]
    cdef uint64_t wanted_offset
    cdef bint on
    cdef uint64_t point_at  # in the file, of the next point
    cdef readonly list points
    cdef list unit  # what was collected of it so far
    cdef Py_ssize_t changes  # collected, in whole units
    cdef uint64_t bytes

    def __init__(self, place, *, wanted=None, bint on=False):
        self._set_id(self.r.id, place.id)
        memcpy(self.mark.id, self.r.id, _ID + 1)
        self.r.offset = self.mark.offset = place.offset
        self.start = place.byte
        self.db = self.mark.db = place.db
        self.on = on
        self.points = []
        self.unit = []
        if wanted is not None:
            self.wanting = True
            self._set_id(self.wanted_id, wanted[0])
            self.wanted_offset = wanted[1]

    def __dealloc__(self):
        free(self.r.argv)

    cdef int _set_id(self, char* to, bytes id) except -1:
        if len(id) != _ID and len(id) != 0:
            raise ValueError("a history's name has 40 digits")
        memcpy(to, <const char*>id, len(id) + 1)
        return 0

    @property
    def place(self):
        return Place(self.start + self.mark.at, <bytes>self.mark.id, self.mark.offset, self.mark.db)

    def run(self, bytes block not None, list into, Py_ssize_t count, Py_ssize_t size):
        cdef int status
        self.start += self.mark.at
        self.mark.at = self.r.at = 0
        self.r.base = <const char*>block
        self.r.size = len(block)
        self.unit = []
        if into is None:
            with nogil:
                status = self._units(NULL, count, size)
        else:
            status = self._units(<PyObject*>into, count, size)
        memcpy(self.r.id, self.mark.id, _ID + 1)
        self.r.offset = self.mark.offset
        self.db = self.mark.db
        self.r.base = NULL
        return status

    cdef void _mark(self) noexcept nogil:
        self.mark.at = self.r.at
        memcpy(self.mark.id, self.r.id, _ID + 1)
        self.mark.offset = self.r.offset
        self.mark.db = self.db

    cdef int _point(self) except -1 nogil:
        if not self.on or not self.mark.id[0]:
            return 0
        self.point_at = self.start + self.mark.at + POINT_EVERY
        with gil:
            self.points.append(self.place)
        return 0

    cdef int _note(self, bint selected) except -1 nogil:
        """One, at r.at, outside of transactions. Behind it there is a place, unless it tells of a break."""
        cdef uint64_t before = self.r.offset
        cdef bint turned, broken
        cdef int status
        if self.r.at == self.r.size or self.r.base[self.r.at] != c"#":
            return _NOTHING
        status = aof_note(&self.r)
        if status != READ_OK:
            return _END if status == READ_SHORT else _BROKEN
        turned = memcmp(self.r.id, self.mark.id, _ID) != 0
        broken = self.r.offset != before and not (selected and self.r.offset == self.mark.offset)
        if not turned and self.r.offset > (self.mark.offset if selected else before):
            broken = False
        if broken and self.mark.id[0] and not self.on:
            return _BROKEN
        self._mark()
        if turned or broken:
            self._point()
        return _PLACE

    cdef int _unit(self, bint collect) except -1 nogil:
        """At r.at, which is a place; _PLACE behind it, or _PLACE at another one in front of it."""
        cdef request_t q
        cdef uint64_t start
        cdef int64_t db
        cdef bint selected = False
        cdef bint multi = False
        cdef int status
        while True:
            status = aof_notes(&self.r) if multi else self._note(selected)
            if not multi and status != _NOTHING:
                return status
            start = self.r.at
            if start == self.r.size:
                return _END
            status = aof_command(&self.r, &q)
            if status != READ_OK:
                return _END if status == READ_SHORT else _BROKEN
            self.r.offset += self.r.at - start
            if q.argc == 2 and arg_is(&q.argv[0], b"select"):
                if chars_to_int64(q.argv[1].ptr, q.argv[1].len, &db):
                    self.db = <int>db
                selected = True
            elif arg_is(&q.argv[0], b"multi"):
                multi = True
            else:
                if arg_is(&q.argv[0], b"exec"):
                    multi = False
                elif collect and not _changes_nothing(&q):
                    self._add(&q)
                if not multi:
                    return _PLACE

    cdef int _add(self, const request_t* q) except -1 with gil:
        cdef int i
        words = [PyBytes_FromStringAndSize(q.argv[i].ptr, q.argv[i].len) for i in range(q.argc)]
        self.unit.append((self.db, words))
        return 0

    cdef int _put(self, PyObject* into, uint64_t n) except -1 with gil:
        """The unit, which is whole, unless it was a note."""
        if self.unit:
            self.changes += len(self.unit)
            self.bytes += n
            (<list>into).append((self.mark.offset, self.unit))
            self.unit = []
        return 0

    cdef int _units(self, PyObject* into, Py_ssize_t count, Py_ssize_t size) except -1 nogil:
        cdef uint64_t before
        cdef int status
        while True:
            if self.wanting and memcmp(self.mark.id, self.wanted_id, _ID) == 0:
                if self.mark.offset >= self.wanted_offset:
                    return _FOUND if self.mark.offset == self.wanted_offset else _BROKEN  # inside of a unit
            before = self.r.at
            status = self._unit(into != NULL)
            if status != _PLACE:
                return status
            self._mark()
            if self.on and self.start + self.mark.at >= self.point_at:
                self._point()
            if into != NULL:
                self._put(into, self.r.at - before)
                if self.changes >= count or self.bytes >= <uint64_t>size:
                    return _FULL

"""An AOF file command by command, for tools: nothing is run, so a file may be larger than memory.

What the loader would stumble over is found as far as it can be without data: the format, commands that are not in the
table, wrong numbers of arguments, transactions that do not fit. A *unit* is a command, or a transaction as a whole;
`valid_bytes` is where the loader would cut: the end of the last one, or the beginning of a transaction that is torn.
"#TS:<seconds>" says when what follows was executed; a walk `until` a second ends in front of the first one that is
later, and so where data of that second end.

    walk = AofWalk(engine, path, begin)     begin: where an RDB preamble ends
    while walk.step(1 << 20): ...           some bytes at a time
    walk.stop                               why it ended, one of the names below
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcmp, memset

from cachefleet_server.core.command cimport command_find
from cachefleet_server.core.engine cimport command_t
from cachefleet_server.core.reply cimport arg_is
from cachefleet_server.ds.buf cimport buf_free, buf_init, buf_put, buf_t
from cachefleet_server.ds.number cimport chars_to_int64
from cachefleet_server.engine cimport Engine
from cachefleet_server.persistence.aof_load cimport (
    READ_DAMAGED, READ_OK, aof_command, aof_note, aof_zeros_follow, reader_t)
from cachefleet_server.persistence.mapping cimport mapping_close, mapping_drop, mapping_open, mapping_t
from cachefleet_server.resp.input cimport request_t

END, TORN, ZEROS, DAMAGED, UNKNOWN, ARITY, MULTI, LATER = range(8)

cdef enum:
    NAME_SHOWN_MAX = 64  # bytes of a command's name

    _END = 0
    _TORN = 1
    _ZEROS = 2
    _DAMAGED = 3
    _UNKNOWN = 4
    _ARITY = 5
    _MULTI = 6
    _LATER = 7
    _MORE = 8


cdef class AofWalk:
    """See aof_walk.pyi."""

    cdef Engine engine
    cdef mapping_t file
    cdef reader_t r
    cdef bint multi  # between MULTI and EXEC
    cdef bint collects
    cdef buf_t collected
    cdef int64_t until_s
    cdef readonly int64_t first_s
    cdef readonly int64_t last_s
    cdef readonly str path
    cdef readonly int stop
    cdef readonly bytes command
    cdef readonly uint64_t fault_at
    cdef readonly uint64_t valid_bytes
    cdef readonly uint64_t commands

    def __cinit__(self, Engine engine not None, str path, uint64_t begin=0, *, until_s=None, bint collect=False):
        self.engine = engine
        self.path = path
        self.command = b""
        self.until_s = -1 if until_s is None else until_s
        self.first_s = self.last_s = -1
        self.collects = collect
        buf_init(&self.collected, engine.ptr.heap)
        mapping_open(&self.file, path)
        self.r.base = self.file.base
        self.r.size = self.file.size
        self.r.at = min(begin, self.r.size)
        self.valid_bytes = self.r.at

    def __dealloc__(self):
        self.close()

    def close(self):
        mapping_close(&self.file)
        self.r.base = NULL
        if self.engine is not None and self.engine.ptr != NULL:
            buf_free(&self.collected)
        free(self.r.argv)
        self.r.argv = NULL

    @property
    def done_bytes(self):
        return self.r.at

    @property
    def total_bytes(self):
        return self.r.size

    def take(self):
        cdef bytes found = PyBytes_FromStringAndSize(self.collected.data, self.collected.len)
        self.collected.len = 0
        return found

    def step(self, uint64_t size):
        cdef int stop
        if self.r.base == NULL and self.r.size:
            raise ValueError("the walk was closed")
        with nogil:
            stop = self._run(size)
        mapping_drop(&self.file, self.r.at)
        if stop == _MORE:
            return True
        self.stop = stop
        if stop != _END and self.r.argv != NULL and self.r.argv[0].ptr != NULL:
            self.command = self.r.argv[0].ptr[:min(self.r.argv[0].len, <size_t>NAME_SHOWN_MAX)]
        return False

    cdef int _run(self, uint64_t size) noexcept nogil:
        """Units until as many bytes have passed; why it ends, or _MORE."""
        cdef request_t request
        cdef uint64_t end = self.r.at + size
        cdef uint64_t start
        cdef int status, stop
        memset(&request, 0, sizeof(request))
        while self.r.at < self.r.size:
            if self.r.at >= end:
                return _MORE
            self.fault_at = self.r.at
            if self.r.argv != NULL:
                self.r.argv[0].ptr = NULL  # no command has a name yet
            if self.r.base[self.r.at] == c"#":
                if self._stamp():
                    return _LATER
                status = aof_note(&self.r)
                if status != READ_OK:
                    return self._fault(status)
                continue
            start = self.r.at
            status = aof_command(&self.r, &request)
            if status != READ_OK:
                self.r.at = start
                return self._fault(status)
            stop = self._look(&request)
            if stop != _MORE:
                self.r.at = start
                return stop
            self.commands += 1
            if self.collects:
                buf_put(&self.collected, self.r.base + start, self.r.at - start)
            if not self.multi:
                self.valid_bytes = self.r.at
        if self.multi:
            self.fault_at = self.r.at
            return _TORN
        return _END

    cdef int _fault(self, int status) noexcept nogil:
        if status == READ_DAMAGED:
            if aof_zeros_follow(&self.r):
                return _ZEROS
            self.fault_at = self.r.damage_at
            return _DAMAGED
        return _TORN

    cdef int _look(self, const request_t* q) noexcept nogil:
        """Would it run? _MORE if nothing speaks against it."""
        cdef command_t* row = command_find(self.engine.ptr, q.argv[0].ptr, q.argv[0].len)
        if row == NULL:
            return _UNKNOWN
        if q.argc != row.arity if row.arity > 0 else q.argc < -row.arity:
            return _ARITY
        if arg_is(&q.argv[0], b"multi"):
            if self.multi:
                return _MULTI
            self.multi = True
            self.valid_bytes = self.fault_at  # where it begins: notes in front of it stay, as the loader leaves them
        elif arg_is(&q.argv[0], b"exec") or arg_is(&q.argv[0], b"discard"):
            if not self.multi:
                return _MULTI
            self.multi = False
        return _MORE

    cdef bint _stamp(self) noexcept nogil:
        """Takes the time, if the line says one; true when it is later than what is wanted."""
        cdef const char* at = self.r.base + self.r.at
        cdef uint64_t left = self.r.size - self.r.at
        cdef size_t n = 4
        cdef int64_t seconds
        if left < 5 or memcmp(at, b"#TS:", 4) != 0:
            return False
        while n < left and n < 24 and c"0" <= at[n] <= c"9":
            n += 1
        if n == left or not (at[n] == c"\r" or at[n] == c"\n") or not chars_to_int64(at + 4, n - 4, &seconds):
            return False
        if self.until_s >= 0 and seconds > self.until_s:
            return True
        if self.first_s < 0:
            self.first_s = seconds
        self.last_s = seconds
        return False

"""AOF files into the keyspace, in slices: commands are parsed from a mapping and run as an in-process client.

The format is strict RESP as servers write it: arrays of bulk strings, and annotation lines that begin with "#". Any
other byte where a command should begin is damage, and the error says at which offset. An end in the middle of a
command, or inside MULTI, or in nothing but zeros, is a torn tail: `valid_bytes` is where the last whole command (or the
MULTI) began to be incomplete, and the caller decides what to do.

Commands run as the role "AOF loader" (core/role.pxd): they were checked when they first ran, so one that fails,
whatever the reason, says that the data would not become what it was. The load ends there, and the error names the
command, the file and the byte. Valkey refuses unknown commands and
wrong numbers of arguments, and goes on in silence behind the rest.

"#JOURNAL:<id> <tenure> <offset>" says where in its history the file is at the end of that line (aof_log.pxd); what
follows counts on from there, annotations left out. `position` is that of valid_bytes, begun by the caller with what
the file before this one ended with.

A file may begin with an RDB preamble ("REDIS", "VALKEY" or "CFLEET"): `begin` says where the commands start after it.
Arguments are pointers into the mapping; argv grows to the largest command and is reused.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.stdio cimport sscanf
from libc.stdlib cimport free, realloc
from libc.string cimport memchr, memcmp, memcpy

from cachefleet_server.core.clock cimport clock_refresh, load_delay
from cachefleet_server.core.command cimport command_find
from cachefleet_server.core.engine cimport CLIENT_FAILED, CLIENT_MULTI, client_t, keyspace_t
from cachefleet_server.core.role cimport ROLE_AOF
from cachefleet_server.ds.intrin cimport cf_monotonic_us, cf_unlikely
from cachefleet_server.engine cimport Engine, Keyspace
from cachefleet_server.errors import DataError
from cachefleet_server.keyspace.transaction cimport transaction_discard
from cachefleet_server.persistence.mapping cimport mapping_close, mapping_drop, mapping_open, mapping_t
from cachefleet_server.resp.input cimport arg_t, request_t
from cachefleet_server.resp.writer cimport chunk_t

cdef enum:
    CLOCK_EVERY = 64  # commands between two looks at the clock
    LINE_MAX = 32  # bytes of a length line
    ANNOTATION_MAX = 1024
    NAME_SHOWN_MAX = 64  # bytes of an unknown command's name
    FAILURE_SHOWN_MAX = 400  # bytes of an error


cdef int _length(reader_t* r, char kind, int64_t* out) noexcept nogil:
    """A line "<kind><digits>\\r\\n"."""
    cdef uint64_t i = r.at
    cdef int64_t v = 0
    cdef int digits = 0
    r.damage_at = r.wrong_at = i
    if i >= r.size:
        return READ_SHORT
    if r.base[i] != kind:
        return READ_DAMAGED
    i += 1
    while i < r.size and c"0" <= r.base[i] <= c"9" and digits < 18:
        v = v * 10 + (r.base[i] - c"0")
        digits += 1
        i += 1
    r.wrong_at = i
    if i + 2 > r.size:
        return READ_SHORT if i >= r.size or r.base[i] == c"\r" else READ_DAMAGED
    r.wrong_at += r.base[i] == c"\r"
    if digits == 0 or r.base[i] != c"\r" or r.base[i + 1] != c"\n":
        return READ_DAMAGED
    r.at = i + 2
    out[0] = v
    return READ_OK


cdef bint _hex(const char* p) noexcept nogil:
    cdef int i
    for i in range(40):
        if not (c"0" <= p[i] <= c"9" or c"a" <= p[i] <= c"f"):
            return False
    return p[40] == c" "


cdef void _take_note(reader_t* r, const char* line, size_t n) noexcept nogil:
    """A note of the position; whatever else begins with "#" means nothing here."""
    cdef char copy[128]
    cdef unsigned long long tenure = 0
    cdef unsigned long long offset = 0
    if n < 54 or n >= sizeof(copy) or memcmp(line, b"#JOURNAL:", 9) != 0 or not _hex(line + 9):
        return
    memcpy(copy, line, n)
    copy[n] = 0
    if sscanf(copy + 50, b"%llu %llu", &tenure, &offset) != 2:
        return
    memcpy(r.id, copy + 9, 40)
    r.id[40] = 0
    r.tenure = tenure
    r.offset = offset


cdef int aof_note(reader_t* r) noexcept nogil:
    cdef uint64_t left = r.size - r.at
    cdef const char* end = <const char*>memchr(r.base + r.at, c"\n", left if left < ANNOTATION_MAX else ANNOTATION_MAX)
    if end == NULL:
        r.damage_at = r.at
        end = <const char*>memchr(r.base + r.at, 0, left)
        r.wrong_at = end - r.base if end != NULL else r.size
        return READ_SHORT if left < ANNOTATION_MAX else READ_DAMAGED
    _take_note(r, r.base + r.at, end - r.base - r.at)
    r.at = end - r.base + 1
    return READ_OK


cdef int aof_notes(reader_t* r) noexcept nogil:
    cdef int status = READ_OK
    while status == READ_OK and r.at < r.size and r.base[r.at] == c"#":
        status = aof_note(r)
    return status


cdef int aof_command(reader_t* r, request_t* out) noexcept nogil:
    cdef int64_t argc = 0
    cdef int64_t n = 0
    cdef int64_t i
    cdef int status
    cdef arg_t* grown
    out.argc = 0
    out.bytes = 0
    if r.at == r.size:
        return READ_OK
    status = _length(r, c"*", &argc)
    if status != READ_OK:
        return status
    if argc < 1 or argc > 1 << 30:
        return READ_DAMAGED
    for i in range(argc):
        status = _length(r, c"$", &n)
        if status != READ_OK:
            return status
        if <uint64_t>n + 2 > r.size - r.at:
            return READ_SHORT
        if r.base[r.at + n] != c"\r" or r.base[r.at + n + 1] != c"\n":
            r.damage_at = r.at + n
            r.wrong_at = r.damage_at + (r.base[r.damage_at] == c"\r")
            return READ_DAMAGED
        if i >= r.argv_cap:
            grown = <arg_t*>realloc(r.argv, (2 * r.argv_cap + 16) * sizeof(arg_t))
            if grown == NULL:
                return READ_DAMAGED
            r.argv = grown
            r.argv_cap = 2 * r.argv_cap + 16
        r.argv[i].ptr = r.base + r.at
        r.argv[i].len = n
        r.argv[i].hash = 0
        out.bytes += n
        r.at += n + 2
    out.argc = <int>argc
    out.argv = r.argv
    out.raw = NULL
    out.raw_len = 0
    return READ_OK


cdef bint aof_zeros_follow(const reader_t* r) noexcept nogil:
    cdef uint64_t i = r.wrong_at
    while i < r.size and r.base[i] == 0:
        i += 1
    return i == r.size and r.wrong_at < r.size


cdef class AofLoader:
    """See aof_load.pyi."""

    cdef Engine engine
    cdef Keyspace into
    cdef client_t* client
    cdef mapping_t file
    cdef reader_t r
    cdef bint unknown  # a command that is not in the table was met
    cdef int64_t failed_at  # where the command begins that replied an error; of an EXEC, its MULTI
    cdef int64_t multi_at  # where the open MULTI begins, -1 = none
    cdef readonly str path
    cdef readonly bint torn
    cdef readonly bint zeros  # torn, and nothing but zeros follows what there is of a command
    cdef readonly uint64_t valid_bytes
    cdef uint64_t valid_offset  # of the journal, at valid_bytes ...
    cdef readonly int db  # ... and the database that it is in there
    cdef readonly uint64_t commands

    def __cinit__(self, Engine engine not None, str path, uint64_t begin=0, position=None, Keyspace into=None):
        self.engine = engine
        self.path = path
        self.multi_at = -1
        mapping_open(&self.file, path)
        self.r.base = self.file.base
        self.r.size = self.file.size
        self.r.at = min(begin, self.r.size)
        self.valid_bytes = self.r.at
        if position is not None:
            memcpy(self.r.id, <const char*><bytes>position[0], 40)
            self.r.tenure, self.r.offset = position[1:]
        self.valid_offset = self.r.offset
        self.client = engine.new_actor(ROLE_AOF)
        self.into = into
        if into is not None:
            self.client.db = into.ptr.dbs[0]

    def __dealloc__(self):
        self.close()

    def close(self):
        if self.client != NULL and self.engine.ptr != NULL:
            self.engine.free_actor(self.client)
        self.client = NULL
        mapping_close(&self.file)
        self.r.base = NULL
        free(self.r.argv)
        self.r.argv = NULL

    @property
    def position(self):
        """Of valid_bytes: (history's id, tenure, offset); None while no note said."""
        return (<bytes>self.r.id, self.r.tenure, self.valid_offset) if self.r.id[0] else None

    @property
    def done_bytes(self):
        return self.r.at

    @property
    def total_bytes(self):
        return self.r.size

    def step(self, int64_t budget_us):
        cdef int status
        cdef size_t shown
        cdef uint64_t before = self.r.at
        cdef keyspace_t* own = self.engine.ptr.keyspace
        if self.into is not None:  # commands find their databases through the engine
            self.engine.ptr.keyspace = self.into.ptr
        with nogil:
            status = self._run(budget_us)
            self.engine.ptr.keyspace = own
            if status == READ_DAMAGED and aof_zeros_follow(&self.r):
                status = READ_SHORT
                self.zeros = True
        self.engine.ptr.persist.load_done_bytes += self.r.at - before
        if status == READ_DAMAGED:
            raise DataError(
                f"Bad file format reading the append only file {self.path} at byte {self.r.damage_at}. Make a backup "
                "of the folder, then restore the file, or give up what follows the damage: cut it at byte "
                f"{self.valid_bytes}, the end of the last whole command, and remove the incremental files after it "
                "from the manifest")
        if self.client.flags & CLIENT_FAILED:
            raise DataError(self._failure())
        if self.unknown:
            shown = min(self.r.argv[0].len, <size_t>NAME_SHOWN_MAX)
            name = self.r.argv[0].ptr[:shown].decode("utf-8", "backslashreplace")
            raise DataError(
                f"Unknown command '{name}' reading the append only file {self.path} before byte {self.r.at}: it was "
                "written by a server with commands that this version does not have")
        if status == READ_SHORT or (self.r.at == self.r.size and self.client.flags & CLIENT_MULTI):
            self.torn = True
            if self.multi_at >= 0:
                self.valid_bytes = self.multi_at
            transaction_discard(self.client)
            return False
        return self.r.at < self.r.size

    def _failure(self):
        """What to say of the command that failed: its name is in front of the error (core/reply.pyx)."""
        cdef chunk_t* chunk = self.client.out.head
        cdef bytes said = chunk.data[:min(chunk.len, <size_t>FAILURE_SHOWN_MAX)]
        name, separator, text = said.decode("utf-8", "backslashreplace").partition(": ")
        if not separator:
            name, text = "?", name
        where = "in the transaction at" if self.failed_at == self.multi_at else "at"
        return (
            f"Command '{name}' {where} byte {self.failed_at} of the append only file {self.path} fails: {text}. Going "
            "on would lose data. If it was written with other settings, as more `databases`, set these; else make a "
            "backup of the folder, then restore the file, or give up what follows: cut it at byte "
            f"{self.valid_bytes}, and remove the incremental files after it from the manifest")

    cdef int _run(self, int64_t budget_us) noexcept nogil:
        """Commands until the budget is spent. On READ_SHORT the engine is as after the last whole command."""
        cdef request_t request
        cdef uint64_t start
        cdef int64_t end_us = cf_monotonic_us() + budget_us
        cdef int status
        cdef int left = CLOCK_EVERY
        clock_refresh(self.engine.ptr)
        while self.r.at < self.r.size:
            status = aof_notes(&self.r)
            if status != READ_OK:
                return status
            start = self.r.at
            if not self.client.flags & CLIENT_MULTI:
                self.valid_offset = self.r.offset  # notes may have said more
            status = aof_command(&self.r, &request)
            if status != READ_OK:
                self.r.at = start
                return status
            if request.argc == 0:
                break
            if command_find(self.engine.ptr, request.argv[0].ptr, request.argv[0].len) == NULL:
                self.unknown = True
                return READ_OK
            if not self.client.flags & CLIENT_MULTI:
                self.multi_at = -1
            self.engine.run(self.client, &request)
            if cf_unlikely((self.client.flags & CLIENT_FAILED) != 0):
                self.failed_at = self.multi_at if self.multi_at >= 0 and not self.client.flags & CLIENT_MULTI else start
                return READ_OK
            if self.client.flags & CLIENT_MULTI and self.multi_at < 0:
                self.multi_at = start
            self.commands += 1
            self.r.offset += self.r.at - start
            if not self.client.flags & CLIENT_MULTI:
                self.multi_at = -1
                self.valid_bytes = self.r.at
                self.valid_offset = self.r.offset
                self.db = self.client.db.id
            if cf_unlikely(self.engine.ptr.params.key_load_delay != 0):
                load_delay(self.engine.ptr, self.commands)
                left = 1  # the time may be up
            left -= 1
            if left == 0:
                left = CLOCK_EVERY
                mapping_drop(&self.file, self.r.at)
                if cf_monotonic_us() >= end_us:
                    return READ_OK
        return READ_OK

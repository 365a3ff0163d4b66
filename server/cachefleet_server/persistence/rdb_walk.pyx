"""An RDB file record by record, for tools: a file may be larger than memory, since one value at a time is in it.

The loader (rdb_load.pyx) maps the file, checks it and knows all that is not a key. The walk reads a value like it, puts
the entry into database 0 of an engine of its own, and says where it lies; until the next record commands
can ask for its content, so nothing here knows types. The entry has no expiry of its own, and the engine takes times of
members as they are: what the file says is shown, whatever the clock says.

Unlike the loader a walk goes over function libraries (they are kept in `functions`), takes any number of databases, and
does not see that a key occurs twice: it would have to remember all of them.
"""

from collections import namedtuple

from libc.stdint cimport uint64_t

from cachefleet_server.core.engine cimport CLIENT_IMPORT_SOURCE
from cachefleet_server.core.entry cimport OBJ_TYPES, entry_key, entry_t, entry_type
from cachefleet_server.core.rdb cimport (
    RDB_OPCODE_FUNCTION2, rdb_get_byte, rdb_is_type)
from cachefleet_server.core.role cimport ROLE_SERVER
from cachefleet_server.engine cimport Engine
from cachefleet_server.errors import DataError
from cachefleet_server.keyspace.db cimport db_delete, db_find, db_put, entry_usage
from cachefleet_server.persistence.rdb_load cimport (
    RdbLoader, STOP_BUDGET, STOP_INPUT, load_offset, load_opcode, load_record, loader_t)

Record = namedtuple("Record", "db key type expire_ms idle_s frequency offset size")

cdef enum:
    ACCOUNT_EVERY = 1048576  # bytes between two additions to the checksum

    STOP_RECORD = 100  # a key and its value, which is in `entry`
    STOP_LIBRARY = 101  # a function library follows


cdef class RdbWalk(RdbLoader):
    """See rdb_walk.pyi."""

    def __init__(self, str path, *, Engine engine=None):
        self.owns = engine is None
        super().__init__(Engine(databases=1) if engine is None else engine, path)
        self.l.walks = True
        self.l.reserve_left = 0
        self.functions = []
        self.types = [None if self.l.engine.types[i].name == NULL else self.l.engine.types[i].name.decode()
                      for i in range(OBJ_TYPES)]
        self.engine.set_param("import_mode", 1)
        self.engine.execute_own(b"DBSIZE")
        self.engine.actors[ROLE_SERVER].flags |= CLIENT_IMPORT_SOURCE

    def __iter__(self):
        return self

    def __next__(self):
        cdef int stop
        self._forget()
        if self.l.file.base == NULL:
            raise ValueError("the walk was closed")
        while not self.at_end:
            with nogil:
                stop = self._read()
            if load_offset(&self.l) - self.crc_done >= ACCOUNT_EVERY or stop != STOP_RECORD:
                self._account()
            if stop == STOP_RECORD:
                return self._record()
            if stop == STOP_LIBRARY:
                library = self._string()
                if library is not None:
                    self.functions.append(library)
                stop = STOP_BUDGET
            self._heed(stop)
        raise StopIteration

    cdef int _read(self) noexcept nogil:
        """One record, or up to what the caller must see to."""
        cdef loader_t* l = &self.l
        cdef int byte, stop
        while True:
            l.stop_offset = load_offset(l)
            byte = rdb_get_byte(&l.input)
            if l.input.error != NULL:
                return STOP_INPUT
            if byte == RDB_OPCODE_FUNCTION2:
                return STOP_LIBRARY
            stop = self._value(byte) if rdb_is_type(l.engine, byte) else load_opcode(l, byte)
            if stop == STOP_BUDGET and l.input.error != NULL:
                return STOP_INPUT
            if stop != STOP_BUDGET:
                return stop

    cdef int _value(self, int type_byte) noexcept nogil:
        cdef int stop
        cdef entry_t* entry = load_record(&self.l, type_byte, -1, &self.hash, &stop)
        if entry == NULL:
            return stop
        db_put(self.l.db, entry, self.hash)
        self.entry = entry
        self.l.keys += 1
        return STOP_RECORD

    cdef object _record(self):
        cdef size_t nk
        cdef const char* key = entry_key(self.entry, &nk)
        cdef loader_t* l = &self.l
        self.key = key[:nk]
        found = Record(
            l.dbid, self.key, self.types[entry_type(self.entry)],
            None if l.expire_ms == -1 else l.expire_ms, None if l.idle_s == -1 else l.idle_s,
            None if l.frequency == -1 else l.frequency, l.stop_offset, load_offset(l) - l.stop_offset)
        l.expire_ms = l.idle_s = l.frequency = -1
        return found

    cdef int _forget(self) except -1:
        if self.entry != NULL:
            self.entry = NULL
            db_delete(self.l.db, self.key, len(self.key), self.hash, False)
        return 0

    def ask(self, *words):
        return self.engine.execute_own(*words)

    cdef entry_t* _there(self) except NULL:
        # A command may have put another one in its place.
        if self.entry != NULL:
            self.entry = db_find(self.l.db, self.key, len(self.key), self.hash)
        if self.entry == NULL:
            raise ValueError("there is no record")
        return self.entry

    def memory(self):
        return entry_usage(self.l.engine, self._there(), 0)

    def digest(self):
        self._there()
        return self.engine.value_digest(0, self.key)

    @property
    def timed(self):
        return self.l.db.timed_count != 0

    @property
    def at(self):
        return load_offset(&self.l)

    cdef object _error(self, str text):
        cdef uint64_t n = self.l.keys
        return DataError(f"{text}; {n} {'key' if n == 1 else 'keys'} before that can be read" if n else text)

    def close(self):
        if self.l.file.base != NULL:
            self._forget()
        RdbLoader.close(self)
        if self.owns:
            self.engine.close()

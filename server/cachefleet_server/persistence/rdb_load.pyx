"""RDB files into the keyspace, a few milliseconds at a time, while the reactor answers -LOADING.

The file is mapped, parsed in place (core/rdb.pyx checks every length), and its pages are dropped behind the parser,
so that loading takes no memory but the data's. Versions 1 to 15 of Redis and 80 of Valkey are read; a value of a type
that no registered `load_fn` reads, and function libraries, stop the load with a message that names them: what is left
out silently would be lost with the next save. Auxiliary data of modules is left out and listed.

Keys go into the tables in groups: while one group is parsed its buckets are fetched, so most of the cache misses
overlap. Sizes that the file promises (RESIZEDB) are believed as far as the file is long enough to hold so many keys.

The checksum covers the whole file and is verified when its end is reached: an error then means that what was
loaded so far must not be used.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset, strcmp

from cachefleet_server.core.clock cimport load_delay
from cachefleet_server.core.engine cimport engine_t
from cachefleet_server.core.params cimport POLICY_LFU
from cachefleet_server.core.entry cimport LRU_BITS_MASK, entry_key, entry_set_lru, entry_t
from cachefleet_server.core.rdb cimport (
    RDB_ERROR_EMPTY, RDB_ERROR_SHORT, RDB_OPCODE_AUX, RDB_OPCODE_EOF, RDB_OPCODE_EXPIRE, RDB_OPCODE_EXPIRE_MS,
    RDB_OPCODE_FREQ, RDB_OPCODE_FUNCTION2, RDB_OPCODE_FUNCTION_PRE_GA, RDB_OPCODE_IDLE, RDB_OPCODE_MODULE_AUX,
    RDB_OPCODE_RESIZEDB, RDB_OPCODE_SELECTDB, RDB_OPCODE_SLOT_INFO, RDB_VERSION_OWN, RDB_VERSION_REDIS_MAX,
    RDB_VERSION_VALKEY, rdb_get_byte, rdb_get_entry, rdb_get_int64, rdb_get_length, rdb_in_init, rdb_is_type,
    rdb_skip_string, rdb_type_name, rdb_view_string)
from cachefleet_server.ds.buf cimport buf_free, buf_init, buf_put
from cachefleet_server.ds.checksum cimport crc64
from cachefleet_server.ds.hash cimport hash_bytes
from cachefleet_server.ds.intrin cimport cf_monotonic_us, cf_unlikely
from cachefleet_server.ds.zmalloc cimport zfree
from cachefleet_server.engine cimport Engine, Keyspace
from cachefleet_server.errors import DataError
from cachefleet_server.files import is_odd
from cachefleet_server.keyspace.db cimport db_delete, db_find, db_put, db_prefetch, db_reserve
from cachefleet_server.keyspace.journal cimport journal_delete
from cachefleet_server.keyspace.keyspace cimport keyspace_db
from cachefleet_server.keyspace.lazyfree cimport entry_free
from cachefleet_server.persistence.mapping cimport mapping_close, mapping_drop, mapping_open

OWN_MAGIC = b"CFLEET"  # constant: how files of our own dialect begin

cdef enum:
    CLOCK_EVERY = 64  # records between two looks at the clock
    RECORD_BYTES_MIN = 3  # the shortest key and value: a type and two empty strings
    AUX_MAX = 64  # pairs kept


# ---- records -------------------------------------------------------------------------------------

cdef bint _insert_waiting(loader_t* l) noexcept nogil:
    """Inserts the parsed group; false when a key exists already and may not be replaced."""
    cdef waiting_t* w
    cdef const char* key
    cdef size_t nk
    cdef int i
    cdef bint ok = True
    for i in range(l.waiting_count):
        w = &l.waiting[i]
        key = entry_key(w.entry, &nk)
        if ok and db_find(l.db, key, nk, w.hash) != NULL:
            if l.replace:
                db_delete(l.db, key, nk, w.hash, False)
            else:
                ok = False
                l.stop_offset = w.offset
        if not ok:
            entry_free(l.engine, w.entry)
            continue
        db_put(l.db, w.entry, w.hash)
        if w.lru >= 0:
            entry_set_lru(w.entry, <uint32_t>w.lru)
        l.keys += 1
    l.waiting_count = 0
    return ok


cdef int64_t _lru_bits(const loader_t* l) noexcept nogil:
    """What the file says about the key's last use, in the bits of the current policy; -1 = nothing."""
    cdef engine_t* e = l.engine
    if e.params.maxmemory_policy & POLICY_LFU:
        if l.frequency < 0:
            return -1
        return ((<uint32_t>(e.now_ms // 60000) & 0xFFFF) << 8) | <uint32_t>l.frequency
    if l.idle_s < 0:
        return -1
    return (e.lru_clock - <uint32_t>l.idle_s) & LRU_BITS_MASK


cdef void _leave_out(loader_t* l, const entry_t* entry) noexcept nogil:
    cdef left_out_t left
    cdef const char* key = entry_key(entry, &left.nk)
    left.dbid = l.db.id
    buf_put(&l.left_out, &left, sizeof(left_out_t))
    buf_put(&l.left_out, key, left.nk)


cdef void _journal_left_out(loader_t* l) noexcept nogil:
    cdef left_out_t left
    cdef const char* at = l.left_out.data
    while at < l.left_out.data + l.left_out.len:
        memcpy(&left, at, sizeof(left_out_t))
        at += sizeof(left_out_t)
        journal_delete(l.engine, left.dbid, at, left.nk)
        at += left.nk
    buf_free(&l.left_out)


cdef bint _goes_on(loader_t* l) noexcept nogil:
    """After a value that could not be read: true if it has no elements, which old versions have written."""
    if strcmp(l.input.error, RDB_ERROR_EMPTY) != 0:
        return False
    l.input.p = l.input.error_at
    l.input.error = NULL
    l.empty += 1
    l.expire_ms = l.idle_s = l.frequency = -1
    return True


cdef entry_t* load_record(
        loader_t* l, int type_byte, int64_t expire_ms, uint64_t* hash, int* stop) noexcept nogil:
    cdef size_t nk
    cdef char* owned
    cdef const char* key = rdb_view_string(&l.input, &nk, &owned)
    cdef entry_t* entry
    stop[0] = STOP_INPUT
    if key == NULL:
        return NULL
    hash[0] = hash_bytes(key, nk, &l.engine.seed)
    db_prefetch(l.db, hash[0], 0)
    entry = rdb_get_entry(&l.input, l.engine, type_byte, key, nk, expire_ms)
    zfree(l.input.heap, owned)
    if entry == NULL and _goes_on(l):
        stop[0] = STOP_BUDGET
    return entry


cdef int _key(loader_t* l, int type_byte) noexcept nogil:
    """A key and its value. Returns STOP_BUDGET when all is well."""
    cdef engine_t* e = l.engine
    cdef waiting_t* w = &l.waiting[l.waiting_count]
    cdef int stop
    cdef entry_t* entry = load_record(l, type_byte, l.expire_ms, &w.hash, &stop)
    if entry == NULL:
        return stop
    w.lru = _lru_bits(l)
    if l.skip_expired and l.expire_ms != -1 and l.expire_ms < e.now_ms:
        if l.journal_expired:
            _leave_out(l, entry)
        entry_free(e, entry)
        l.expired += 1
    else:
        w.entry = entry
        w.offset = l.stop_offset
        l.waiting_count += 1
    l.expire_ms = l.idle_s = l.frequency = -1
    if l.waiting_count == GROUP and not _insert_waiting(l):
        return STOP_DUPLICATE
    return STOP_BUDGET


cdef int _select(loader_t* l) noexcept nogil:
    cdef uint64_t n = rdb_get_length(&l.input, NULL)
    if not _insert_waiting(l):
        return STOP_DUPLICATE
    l.dbid = <int>n if n < 0x7FFFFFFF else 0x7FFFFFFF
    if l.walks:
        return STOP_BUDGET
    if n >= <uint64_t>l.keyspace.count:
        return STOP_DATABASE
    l.db = keyspace_db(l.keyspace, <int>n)
    return STOP_BUDGET


cdef void _reserve(loader_t* l) noexcept nogil:
    """RESIZEDB: room for the promised keys, as far as they can be in the rest of the file."""
    cdef uint64_t keys = rdb_get_length(&l.input, NULL)
    cdef uint64_t expires = rdb_get_length(&l.input, NULL)
    if l.input.error != NULL:
        return
    if keys > l.reserve_left:
        keys = l.reserve_left
    l.reserve_left -= keys
    db_reserve(l.db, keys, min(expires, keys))


cdef int load_opcode(loader_t* l, int opcode) noexcept nogil:
    cdef int i, _i
    if opcode == RDB_OPCODE_EXPIRE_MS:
        l.expire_ms = rdb_get_int64(&l.input)
        if l.expire_ms < 0:
            l.expire_ms = 0  # -1 would mean no expiry; any time before 1970 is long past
    elif opcode == RDB_OPCODE_EXPIRE:
        l.expire_ms = 0
        for i in range(4):
            l.expire_ms |= <int64_t>rdb_get_byte(&l.input) << (8 * i)
        l.expire_ms = <int64_t><int>l.expire_ms * 1000
    elif opcode == RDB_OPCODE_IDLE:
        l.idle_s = <int64_t>rdb_get_length(&l.input, NULL)
        if l.idle_s < 0:
            l.idle_s = 0
    elif opcode == RDB_OPCODE_FREQ:
        l.frequency = rdb_get_byte(&l.input)
    elif opcode == RDB_OPCODE_SELECTDB:
        return _select(l)
    elif opcode == RDB_OPCODE_RESIZEDB:
        _reserve(l)
    elif opcode == RDB_OPCODE_SLOT_INFO and not l.input.valkey:
        for _i in range(3):  # slot, keys, expires: only hints
            rdb_get_length(&l.input, NULL)
    elif opcode == RDB_OPCODE_EOF:
        return STOP_END if _insert_waiting(l) else STOP_DUPLICATE
    elif opcode == RDB_OPCODE_AUX:
        return STOP_AUX
    elif opcode == RDB_OPCODE_MODULE_AUX:
        return STOP_MODULE
    elif opcode == RDB_OPCODE_FUNCTION2 or opcode == RDB_OPCODE_FUNCTION_PRE_GA:
        return STOP_FUNCTIONS
    else:
        l.stop_detail = opcode
        return STOP_OPCODE
    return STOP_BUDGET


cdef int _run(loader_t* l, int64_t budget_us) noexcept nogil:
    """Parses until the time is up or something needs the caller; STOP_*. The offset of that is in stop_offset."""
    cdef int64_t deadline_us = cf_monotonic_us() + budget_us
    cdef int left = CLOCK_EVERY
    cdef int byte, stop
    while True:
        l.stop_offset = load_offset(l)
        byte = rdb_get_byte(&l.input)
        if l.input.error != NULL:
            return STOP_INPUT
        stop = _key(l, byte) if rdb_is_type(l.engine, byte) else load_opcode(l, byte)
        if stop == STOP_BUDGET and l.input.error != NULL:
            return STOP_INPUT
        if stop != STOP_BUDGET:
            return stop
        if cf_unlikely(l.engine.params.key_load_delay != 0) and rdb_is_type(l.engine, byte):
            load_delay(l.engine, l.keys + l.waiting_count)
            left = 1  # the time may be up
        left -= 1
        if left == 0:
            left = CLOCK_EVERY
            if cf_monotonic_us() >= deadline_us:
                return STOP_BUDGET if _insert_waiting(l) else STOP_DUPLICATE


# ---- the file ------------------------------------------------------------------------------------

cdef class RdbLoader:
    """See rdb_load.pyi."""

    def __cinit__(self):
        memset(&self.l, 0, sizeof(loader_t))

    def __init__(
        self, Engine engine, str path, *, Keyspace into=None, bint skip_expired=True, bint journal_expired=False,
        bint checksum=True, bint replace=False,
    ):
        cdef engine_t* e = engine.ptr
        self.engine = engine
        self.path = path
        self.aux = {}
        self.skipped_modules = []
        self.verify = checksum
        self.l.engine = e
        self.l.skip_expired = skip_expired
        self.l.replace = replace
        self.l.expire_ms = self.l.idle_s = self.l.frequency = -1
        self.into = into
        self.l.keyspace = e.keyspace if into is None else into.ptr
        self.l.journal_expired = journal_expired
        buf_init(&self.l.left_out, e.heap)
        self.l.db = self.l.keyspace.dbs[0]
        self._map()
        try:
            self._read_header()
        except BaseException:
            self.close()
            raise

    def __dealloc__(self):
        mapping_close(&self.l.file)

    cdef int _map(self) except -1:
        try:
            mapping_open(&self.l.file, self.path)
        except OSError as error:
            if is_odd(error):
                raise DataError(f"{self.path} is no regular file") from None
            raise
        if self.l.file.size == 0:
            raise self._error(f"{self.path} is empty")
        self.l.reserve_left = self.l.file.size // RECORD_BYTES_MIN
        rdb_in_init(&self.l.input, self.l.engine.heap, self.l.file.base, self.l.file.size)
        return 0

    cdef int _read_header(self) except -1:
        cdef bytes magic = self.l.file.base[:min(<uint64_t>9, self.l.file.size)]
        cdef bytes digits = magic[5:]
        cdef bint own = magic.startswith(OWN_MAGIC)
        if own or magic.startswith(b"VALKEY"):
            self.valkey = True
            digits = magic[6:]
        if len(magic) < 9 or not (self.valkey or magic.startswith(b"REDIS")) or not digits.isdigit():
            raise self._error(f"{self.path} is not an RDB file: it begins with {magic!r}")
        self.version = int(digits)
        if own and self.version != RDB_VERSION_OWN & 0xFF:
            raise DataError(f"{self.path} was written by a newer version of this server, which has to load it")
        if own:
            self.version = RDB_VERSION_OWN
        elif self.version != RDB_VERSION_VALKEY if self.valkey else not 1 <= self.version <= RDB_VERSION_REDIS_MAX:
            raise DataError(
                f"{self.path} has RDB version {digits.decode()} of {'Valkey' if self.valkey else 'Redis'}, which this"
                f" server does not know (Redis 1 to {RDB_VERSION_REDIS_MAX}, Valkey {RDB_VERSION_VALKEY})."
                " Move the data by replication or with a tool that writes an older version")
        self.l.input.p += 9
        self.l.input.version = self.version
        self.l.input.valkey = self.valkey
        return 0

    def step(self, int64_t budget_us):
        cdef int stop
        if self.l.file.base == NULL:
            raise ValueError("the loader was closed")
        while not self.at_end:
            with nogil:
                stop = _run(&self.l, budget_us)
            self._account()
            if stop == STOP_BUDGET:
                return True
            self._heed(stop)
        return False

    cdef int _heed(self, int stop) except -1:
        if stop == STOP_AUX:
            self._read_aux()
        elif stop == STOP_MODULE:
            self._skip_module()
        elif stop == STOP_END:
            self._verify()
            self.at_end = True
        if stop >= STOP_INPUT or self.l.input.error != NULL:
            self._raise(stop if stop >= STOP_INPUT else STOP_INPUT)
        return 0

    def journal_left_out(self):
        _journal_left_out(&self.l)

    cdef int _account(self) except -1:
        """Adds up the checksum and the totals, and drops pages that were read."""
        cdef uint64_t at = load_offset(&self.l)
        cdef engine_t* e = self.l.engine
        if self.verify and self.l.input.error == NULL:
            with nogil:
                self.crc = crc64(self.crc, self.l.file.base + self.crc_done, at - self.crc_done)
            self.crc_done = at
        mapping_drop(&self.l.file, at)
        e.persist.load_done_bytes += at - self.bytes_reported
        e.persist.load_keys += self.l.keys - self.keys_reported
        e.persist.load_keys_expired += self.l.expired - self.expired_reported
        self.bytes_reported = at
        self.keys_reported = self.l.keys
        self.expired_reported = self.l.expired
        return 0

    cdef int _verify(self) except -1:
        """After the EOF opcode: compares the checksum. Eight zero bytes mean that the writer made none."""
        cdef uint64_t wanted = 0
        cdef int64_t at = load_offset(&self.l)
        if self.version < 5:
            return 0
        wanted = self.checksum = <uint64_t>rdb_get_int64(&self.l.input)
        if self.l.input.error == NULL and self.verify and wanted != 0 and wanted != self.crc:
            raise self._error(
                f"{self.path} is damaged: its checksum at byte {at} is {wanted:016x}, but its content has"
                f" {self.crc:016x}")
        self._account()
        return 0

    cdef object _string(self):
        """The next string, or None after an error."""
        cdef size_t n
        cdef char* owned
        cdef const char* p = rdb_view_string(&self.l.input, &n, &owned)
        if p == NULL:
            return None
        cdef bytes value = p[:n]
        zfree(self.l.input.heap, owned)
        return value

    cdef int _read_aux(self) except -1:
        cdef object name = self._string()
        cdef object value = self._string()
        if value is not None and len(self.aux) < AUX_MAX:
            self.aux[name.decode("utf-8", "backslashreplace")] = value
        return 0

    cdef int _skip_module(self) except -1:
        """Module data describes itself: opcodes until 0. The module's name is nine 6-bit characters in its id."""
        cdef str alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        cdef uint64_t id = rdb_get_length(&self.l.input, NULL)
        cdef uint64_t kind = 1
        cdef int i, _i
        cdef str name = "".join([alphabet[(id >> (58 - 6 * i)) & 63] for i in range(9)])
        while kind != 0 and self.l.input.error == NULL:
            kind = rdb_get_length(&self.l.input, NULL)
            if kind == 1 or kind == 2:
                rdb_get_length(&self.l.input, NULL)
            elif kind == 3:
                for _i in range(4):
                    rdb_get_byte(&self.l.input)
            elif kind == 4:
                rdb_get_int64(&self.l.input)
            elif kind == 5:
                rdb_skip_string(&self.l.input)
            elif kind != 0:
                self.l.stop_detail = RDB_OPCODE_MODULE_AUX
                self._raise(STOP_OPCODE)
        if name not in self.skipped_modules:
            self.skipped_modules.append(name)
        return 0

    cdef int _raise(self, int stop) except -1:
        cdef uint64_t offset = self.l.stop_offset
        cdef const char* name
        cdef str why
        if stop == STOP_DATABASE:
            raise DataError(
                f"{self.path} holds keys of database {self.l.dbid}, but only "
                f"{self.l.keyspace.count} databases"
                f" are configured. Start with --databases {self.l.dbid + 1} or more")
        if stop == STOP_FUNCTIONS:
            raise DataError(
                f"{self.path} holds function libraries (byte {offset}), which are not supported by this version."
                " Remove them at the source with FUNCTION FLUSH and save again")
        if self.l.input.unsupported >= 0 and stop == STOP_INPUT:
            name = rdb_type_name(self.l.input.unsupported, self.valkey)  # NULL: a number that the dialect leaves free
            why = name.decode() if name != NULL else str(self.l.input.unsupported)
            raise DataError(
                f"{self.path} holds a value of type {why} in database {self.l.dbid} (byte {offset}): type {why} is not"
                " supported by this version. Load the file with the server that wrote it, delete such keys, and save")
        if stop == STOP_DUPLICATE:
            why = f"the key of the record at byte {offset} occurs twice"
        elif stop == STOP_OPCODE:
            why = f"unknown record type {self.l.stop_detail} at byte {offset}"
        elif strcmp(self.l.input.error, RDB_ERROR_SHORT) == 0:
            why = f"it ends within the record at byte {offset}: the file was cut short"
        else:
            why = f"{self.l.input.error.decode()} at byte {<const char*>self.l.input.error_at - self.l.file.base}"
        raise self._error(f"{self.path} is damaged: {why}")

    cdef object _error(self, str text):
        return DataError(f"{text}. Restore it from a backup or a replica; or move it away, to start without its data")

    def close(self):
        cdef int i
        if self.l.file.base != NULL:
            for i in range(self.l.waiting_count):
                entry_free(self.l.engine, self.l.waiting[i].entry)
            self.l.waiting_count = 0
            buf_free(&self.l.left_out)
            mapping_close(&self.l.file)

    @property
    def total_bytes(self):
        return self.l.file.size

    @property
    def done_bytes(self):
        return self.bytes_reported

    @property
    def keys(self):
        return self.l.keys

    @property
    def keys_expired(self):
        return self.l.expired

    @property
    def keys_empty(self):
        return self.l.empty

    @property
    def end_offset(self):
        return self.bytes_reported

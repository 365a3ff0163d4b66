"""The record of a walk in another dialect: as a payload for RESTORE, or in a file that holds what the walk goes over.

One value at a time is encoded, so a file is converted in the memory of its largest value: that as the engine has it,
and that as bytes. What a dialect cannot hold is found before (`dialect_of`); nothing is left out here.

A file is written beside its place, and takes it when all of it is on disk.
"""

import os

from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memset

from cachefleet_server.core.engine cimport rdb_out_t
from cachefleet_server.core.entry cimport entry_key
from cachefleet_server.core.rdb cimport (
    RDB_OPCODE_AUX, RDB_OPCODE_EOF, RDB_OPCODE_EXPIRE_MS, RDB_OPCODE_FREQ, RDB_OPCODE_FUNCTION2, RDB_OPCODE_IDLE,
    RDB_OPCODE_SELECTDB, rdb_dialect_of, rdb_out_free, rdb_out_init, rdb_put_int64, rdb_put_length, rdb_put_string,
    rdb_put_value)
from cachefleet_server.core.types cimport entry_ops, save_whole
from cachefleet_server.ds.buf cimport buf_put, buf_putc
from cachefleet_server.ds.checksum cimport crc64
from cachefleet_server.engine cimport Engine
from cachefleet_server.files import open_regular, write_all
from cachefleet_server.persistence.rdb_walk cimport RdbWalk

cdef extern from "Python.h":
    object PyMemoryView_FromMemory(char* p, Py_ssize_t n, int flags)
    const int PyBUF_READ

cdef enum:
    WRITE_BYTES = 1048576  # collected before they are written


def dialect_of(RdbWalk walk not None):
    return rdb_dialect_of(walk.l.engine, walk._there())


def payload(RdbWalk walk not None, int dialect, int version):
    cdef rdb_out_t out
    cdef uint8_t footer[10]
    cdef uint64_t crc
    cdef int i
    walk._there()
    rdb_out_init(&out, walk.l.engine.heap, dialect)
    out.compress = True
    try:
        with nogil:
            rdb_put_value(&out, walk.l.engine, walk.entry)
            footer[0] = <uint8_t>version
            footer[1] = <uint8_t>(version >> 8)
            buf_put(&out.buf, footer, 2)
            crc = crc64(0, out.buf.data, out.buf.len)
            for i in range(8):
                footer[i] = <uint8_t>(crc >> (8 * i))
            buf_put(&out.buf, footer, 8)
        return <bytes>out.buf.data[:out.buf.len]
    finally:
        rdb_out_free(&out)


cdef class RdbFile:
    """See rdb_encode.pyi."""

    cdef Engine engine
    cdef rdb_out_t out
    cdef uint64_t crc
    cdef int64_t db
    cdef int fd
    cdef str temp
    cdef readonly str path
    cdef readonly uint64_t keys
    cdef readonly uint64_t size

    def __cinit__(self):
        memset(&self.out, 0, sizeof(rdb_out_t))
        self.fd = -1
        self.db = -1

    def __init__(self, Engine engine not None, str path, int dialect, bytes magic not None, aux):
        self.engine = engine
        self.path = path
        self.temp = f"{path}.{os.getpid()}.tmp"
        rdb_out_init(&self.out, engine.ptr.heap, dialect)
        self.out.compress = True
        self.fd = open_regular(self.temp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        buf_put(&self.out.buf, <const char*>magic, len(magic))
        for name, value in aux:
            buf_putc(&self.out.buf, <unsigned char>RDB_OPCODE_AUX)
            self._string(name)
            self._string(value)

    cdef int _string(self, bytes text) except -1:
        rdb_put_string(&self.out, <const char*>text, len(text))
        return 0

    cdef int _flush(self) except -1:
        if self.out.buf.len:
            self.crc = crc64(self.crc, self.out.buf.data, self.out.buf.len)
            write_all(self.fd, PyMemoryView_FromMemory(self.out.buf.data, self.out.buf.len, PyBUF_READ))
            self.size += self.out.buf.len
            self.out.buf.len = 0
        return 0

    def library(self, bytes code not None):
        buf_putc(&self.out.buf, <unsigned char>RDB_OPCODE_FUNCTION2)
        self._string(code)

    def put(self, RdbWalk walk not None, record):
        cdef rdb_out_t* out = &self.out
        cdef size_t nk
        cdef const char* key
        walk._there()
        if record.db != self.db:
            self.db = record.db
            buf_putc(&out.buf, <unsigned char>RDB_OPCODE_SELECTDB)
            rdb_put_length(out, record.db)
        if record.expire_ms is not None:
            buf_putc(&out.buf, <unsigned char>RDB_OPCODE_EXPIRE_MS)
            rdb_put_int64(out, record.expire_ms)
        if record.idle_s is not None:
            buf_putc(&out.buf, <unsigned char>RDB_OPCODE_IDLE)
            rdb_put_length(out, record.idle_s)
        if record.frequency is not None:
            buf_putc(&out.buf, <unsigned char>RDB_OPCODE_FREQ)
            buf_putc(&out.buf, <unsigned char><int>record.frequency)
        with nogil:
            buf_putc(&out.buf, <unsigned char>entry_ops(walk.l.engine, walk.entry).rdb_type_fn(
                walk.entry, out.dialect))
            key = entry_key(walk.entry, &nk)
            rdb_put_string(out, key, nk)
            save_whole(walk.l.engine, walk.entry, out, False)
        self.keys += 1
        if out.buf.len >= WRITE_BYTES:
            self._flush()

    def finish(self):
        buf_putc(&self.out.buf, <unsigned char>RDB_OPCODE_EOF)
        self._flush()
        rdb_put_int64(&self.out, <int64_t>self.crc)
        self._flush()
        os.fsync(self.fd)
        os.close(self.fd)
        self.fd = -1
        os.rename(self.temp, self.path)

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            os.unlink(self.temp)
        if self.engine is not None and self.engine.ptr != NULL:
            rdb_out_free(&self.out)

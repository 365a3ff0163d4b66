"""Replies and their Python side, on a client without an engine's machinery; for tests, not part of wheels."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free

from cachefleet_server.core.engine cimport (
    CLIENT_DEFERRED_REPLY_ERROR, CLIENT_PENDING_WRITE, arg_t, client_t, command_t, engine_t)
from cachefleet_server.core.pause cimport pause_begin, pause_end, pause_purpose, paused
from cachefleet_server.core.pyreply cimport decode_reply, encode_reply
from cachefleet_server.core.reply cimport (
    arg_int64, arg_is, reply_error_bytes, reply_error_format, reply_int, reply_ok, reply_wrong_arity)
from cachefleet_server.core.role cimport ROLE_CONNECTION, role_row
from cachefleet_server.ds.zmalloc cimport heap_free, heap_new
from cachefleet_server.resp.writer cimport chunk_pool_free, chunk_pool_init, out_check, out_clear, out_init, out_text


cdef class Pauses:
    """The pauses of an engine that is nothing else."""

    cdef engine_t* e

    def __cinit__(self):
        self.e = <engine_t*>calloc(1, sizeof(engine_t))
        self.e.wake_fd = -1
        self.e.now_ms = 1

    def __dealloc__(self):
        free(self.e)

    @property
    def now(self): return self.e.now_ms

    @now.setter
    def now(self, int64_t ms): self.e.now_ms = ms

    def begin(self, int purpose, int64_t until_ms, int strength): pause_begin(self.e, purpose, until_ms, strength)

    def end(self, int purpose): pause_end(self.e, purpose)

    @property
    def strength(self): return paused(self.e)

    @property
    def purpose(self): return pause_purpose(self.e)

    def take_eased(self):
        eased = bool(self.e.pause.eased)
        self.e.pause.eased = False
        return eased


cdef class ReplyClient:
    """A client_t whose output is read back with `take`."""

    cdef engine_t* engine
    cdef client_t* client
    cdef command_t cmd

    def __cinit__(self, int resp=2):
        self.engine = <engine_t*>calloc(1, sizeof(engine_t))
        self.client = <client_t*>calloc(1, sizeof(client_t))
        self.client.role = role_row(ROLE_CONNECTION)
        self.engine.heap = heap_new()
        chunk_pool_init(&self.engine.chunks, self.engine.heap)
        self.client.engine = self.engine
        self.client.resp = resp
        out_init(&self.client.out, &self.engine.chunks)

    def __dealloc__(self):
        out_clear(&self.client.out)
        chunk_pool_free(&self.engine.chunks)
        heap_free(self.engine.heap)
        free(self.client)
        free(self.engine)

    def become_actor(self, int role):
        """A client without a socket, in this role (core/role.pxd)."""
        self.client.role = role_row(role)
        self.client.fd = -1

    def take(self):
        cdef bytes text = PyBytes_FromStringAndSize(NULL, self.client.out.bytes)
        assert out_check(&self.client.out) == 0
        out_text(&self.client.out, PyBytes_AS_STRING(text))
        out_clear(&self.client.out)
        return text

    def encode(self, value): encode_reply(&self.client.out, self.client.resp, value)

    def decode(self, bytes data): return decode_reply(data, len(data))

    def ok(self): reply_ok(self.client)

    def integer(self, long long v): reply_int(self.client, v)

    def error(self, bytes text): reply_error_bytes(self.client, text, len(text))

    def error_format(self, bytes form, bytes a): reply_error_format(self.client, form, a, len(a))

    def wrong_arity(self, bytes name):
        self.cmd.name = name
        self.cmd.name_len = <unsigned short>len(name)
        self.client.cmd = &self.cmd
        reply_wrong_arity(self.client)

    def arg_int64(self, bytes text):
        cdef arg_t a
        cdef int64_t v = 0
        a.ptr = text
        a.len = len(text)
        return v if arg_int64(self.client, &a, &v) else None

    def arg_is(self, bytes text, bytes word):
        cdef arg_t a
        a.ptr = text
        a.len = len(text)
        return bool(arg_is(&a, word))

    @property
    def flags(self): return self.client.flags

    @flags.setter
    def flags(self, uint64_t flags): self.client.flags = flags

    @property
    def failed(self): return bool(self.client.flags & CLIENT_DEFERRED_REPLY_ERROR)

    @property
    def pending(self):
        """Is the client to be written to?"""
        listed = self.engine.clients.pending_write == self.client
        assert listed == bool(self.client.flags & CLIENT_PENDING_WRITE)
        return listed

    @property
    def error_stats(self):
        """(errors, by prefix, overflow)"""
        kinds = {}
        for i in range(self.engine.error_kinds):
            stat = &self.engine.errors[i]
            kinds[stat.prefix[:stat.len]] = stat.count
        return self.engine.stats.error_replies, kinds, self.engine.errors_overflow

"""Clients as Python sees them: a view of a client_t; see engine.pyi.

A view is made for one call of a Python row. It must not be kept: the client may be gone when the event loop runs again.
"""

import os
import socket

from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy

from cachefleet_server.commands.multi cimport multi_count, multi_memory
from cachefleet_server.core.client cimport client_close_asap
from cachefleet_server.core.engine cimport (
    CLIENT_AUTHENTICATED, CLIENT_CLOSE_AFTER_REPLY, CLIENT_MULTI, CLIENT_UNIX_SOCKET, arg_t, client_info_t, client_t,
    command_t)
from cachefleet_server.ds.zmalloc cimport zcalloc, zfree, zmalloc
from cachefleet_server.keyspace.watch cimport watch_count
from cachefleet_server.reactor.connection cimport client_memory
from cachefleet_server.resp.input cimport input_pending

cdef enum:
    SHOWN_ARGUMENTS_MAX = 32
    SHOWN_BYTES_MAX = 128  # of each


cdef bytes _shown(const arg_t* a):
    """The argument, or its start and how much more there is."""
    if a.len <= SHOWN_BYTES_MAX:
        return a.ptr[:a.len]
    return a.ptr[:SHOWN_BYTES_MAX] + b"... (%d more bytes)" % (a.len - SHOWN_BYTES_MAX)


cdef list shown_argv(client_t* c):
    cdef int i
    if c.argc <= SHOWN_ARGUMENTS_MAX:
        return [_shown(&c.argv[i]) for i in range(c.argc)]
    shown = [_shown(&c.argv[i]) for i in range(SHOWN_ARGUMENTS_MAX - 1)]
    shown.append(b"... (%d more arguments)" % (c.argc - SHOWN_ARGUMENTS_MAX + 1))
    return shown


cdef bytes _bytes(const char* p):
    return p if p != NULL else b""


cdef class Client:
    """A view of a client_t; see engine.pyi. Valid while the row runs or until the event loop is entered again."""

    @property
    def id(self): return self.c.id

    @property
    def fd(self): return self.c.fd

    @property
    def resp(self): return self.c.resp

    @resp.setter
    def resp(self, int v): self.c.resp = <uint8_t>v
    @property
    def db(self): return self.c.db.id

    @property
    def flags(self): return self.c.flags

    @property
    def cls(self): return self.c.cls

    @property
    def blocked(self): return self.c.blocked

    @property
    def authenticated(self): return bool(self.c.flags & CLIENT_AUTHENTICATED)

    @property
    def user(self): return "default"

    @property
    def in_multi(self): return bool(self.c.flags & CLIENT_MULTI)

    @property
    def created_ms(self): return self.c.created_ms

    @property
    def last_interaction_ms(self): return self.c.last_interaction_ms

    @property
    def query_buffer(self): return input_pending(&self.c.input)

    @property
    def output_bytes(self): return self.c.out.bytes

    @property
    def memory(self): return client_memory(self.c)

    @property
    def net_in(self): return self.c.net_in

    @property
    def net_out(self): return self.c.net_out

    @property
    def commands(self): return self.c.commands

    @property
    def multi_queued(self): return multi_count(self.c)

    @property
    def multi_memory(self): return multi_memory(self.c)

    @property
    def argument_bytes(self):
        cdef int i
        cdef size_t total = 0
        if self.c.argv != NULL and self.c == self.c.engine.current:
            for i in range(self.c.argc):
                total += self.c.argv[i].len
        return total

    @property
    def watched(self): return watch_count(self.c)

    @property
    def age_ms(self): return self.c.engine.now_ms - self.c.created_ms

    @property
    def idle_ms(self): return self.c.engine.now_ms - self.c.last_interaction_ms

    @property
    def last_command(self):
        cdef command_t* cmd = self.c.last_cmd if self.c.cmd == NULL else self.c.cmd
        return cmd.name.decode() if cmd != NULL else "NULL"

    @property
    def name(self): return _bytes(self.c.info.name) if self.c.info != NULL else b""

    @name.setter
    def name(self, bytes v): _replace(self.c, &_info(self.c).name, v)

    @property
    def lib_name(self): return _bytes(self.c.info.lib_name) if self.c.info != NULL else b""

    @lib_name.setter
    def lib_name(self, bytes v): _replace(self.c, &_info(self.c).lib_name, v)

    @property
    def lib_ver(self): return _bytes(self.c.info.lib_ver) if self.c.info != NULL else b""

    @lib_ver.setter
    def lib_ver(self, bytes v): _replace(self.c, &_info(self.c).lib_ver, v)

    def set_flag(self, uint64_t flag, bint on):
        if on:
            self.c.flags |= flag
        else:
            self.c.flags &= ~flag

    def close(self):
        client_close_asap(self.c)

    def close_after_reply(self):
        """After what has been replied so far, and the running command's reply, are sent."""
        self.c.flags |= CLIENT_CLOSE_AFTER_REPLY

    def peer(self):
        """"ip:port", or "path:0" of a unix socket."""
        return self._address("getpeername")

    def local(self):
        return self._address("getsockname")

    def _address(self, str method):
        if self.c.fd < 0:
            return ""
        with socket.socket(fileno=os.dup(self.c.fd)) as s:
            try:
                if self.c.flags & CLIENT_UNIX_SOCKET:
                    return f"{s.getsockname()}:0"  # the peer of a unix socket has no name
                host, port = getattr(s, method)()[:2]
            except OSError:
                return "?:0"
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


cdef client_info_t* _info(client_t* c) noexcept:
    if c.info == NULL:
        c.info = <client_info_t*>zcalloc(c.engine.heap, sizeof(client_info_t))
    return c.info


cdef void _replace(client_t* c, char** field, bytes value) noexcept:
    zfree(c.engine.heap, field[0])
    field[0] = NULL
    if value:
        field[0] = <char*>zmalloc(c.engine.heap, len(value) + 1)
        memcpy(field[0], <const char*>value, len(value) + 1)

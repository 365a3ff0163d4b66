"""Clients as Python sees them: a view of a client_t; see engine.pyi.

A client has at most one view, which is made when Python first sees it and lives as long as somebody holds it. When the
client goes first, the view is told, and from then on it raises ClientGone whatever it is asked but `gone`: no view is a
dangling pointer. Both ends of the pair are changed with the GIL held.
"""

from cpython.ref cimport PyObject
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from cachefleet_server.core.engine cimport (
    CLASS_PRIMARY, CLIENT_AUTHENTICATED, CLIENT_BLOCKED, CLIENT_CAPA_REDIRECT, CLIENT_CLOSE_AFTER_COMMAND,
    CLIENT_CLOSE_AFTER_REPLY, CLIENT_CLOSE_ASAP, CLIENT_DIRTY_CAS, CLIENT_EXECUTING, CLIENT_FAILED,
    CLIENT_IMPORT_SOURCE, CLIENT_MONITOR, CLIENT_MULTI, CLIENT_NO_EVICT, CLIENT_NO_TOUCH, CLIENT_REPLY_OFF,
    CLIENT_REPLY_SKIP, CLIENT_REPLY_SKIP_NEXT, CLIENT_UNIX_SOCKET, CLIENT_WRITABLE_WAIT, arg_t, client_info_t, client_t,
    command_t)
from cachefleet_server.core.wake cimport client_close_asap
from cachefleet_server.ds.zmalloc cimport zcalloc, zfree, zmalloc
from cachefleet_server.keyspace.broadcast cimport broadcast_join
from cachefleet_server.keyspace.channels cimport LISTEN_CHANNEL, LISTEN_PATTERN, LISTEN_SHARD, subscriptions
from cachefleet_server.keyspace.tracking cimport (
    TRACK_BCAST, TRACK_BROKEN, TRACK_CACHING, TRACK_NOLOOP, TRACK_ON, TRACK_OPTIN, TRACK_OPTOUT, tracker, tracker_t,
    tracking_off, tracking_on)
from cachefleet_server.keyspace.transaction cimport transaction_count, transaction_memory
from cachefleet_server.keyspace.watch cimport watch_count
from cachefleet_server.reactor.connection cimport client_memory
from cachefleet_server.resp.input cimport input_unparsed

from cachefleet_server.errors import ClientGone

cdef extern from "<arpa/inet.h>" nogil:
    """
    #include <sys/socket.h>
    #include <sys/un.h>
    """
    ctypedef unsigned int socklen_t
    cdef struct sockaddr:
        unsigned short sa_family
    cdef struct sockaddr_storage:
        pass
    cdef struct in_addr:
        pass
    cdef struct in6_addr:
        pass
    cdef struct sockaddr_in:
        in_addr sin_addr
        unsigned short sin_port
    cdef struct sockaddr_in6:
        in6_addr sin6_addr
        unsigned short sin6_port
    cdef struct sockaddr_un:
        char sun_path[108]
    enum:
        AF_UNIX
        AF_INET
        AF_INET6
        INET6_ADDRSTRLEN
    int getpeername(int fd, sockaddr* address, socklen_t* size)
    int getsockname(int fd, sockaddr* address, socklen_t* size)
    const char* inet_ntop(int family, const void* address, char* text, socklen_t size)
    unsigned short ntohs(unsigned short port)

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


cdef Client client_view(client_t* c):
    cdef Client view
    if c.view != NULL:
        return <Client><PyObject*>c.view
    view = Client.__new__(Client)
    view.c = c
    c.view = <void*>view
    return view


cdef void forget_view(client_t* c) noexcept:
    if c.view != NULL:
        (<Client><PyObject*>c.view).c = NULL
        c.view = NULL


cdef bytes _bytes(const char* p):
    return p if p != NULL else b""


class Track:
    """Bits of Client.tracking; see engine.pyi."""

    ON = TRACK_ON
    BCAST = TRACK_BCAST
    OPTIN = TRACK_OPTIN
    OPTOUT = TRACK_OPTOUT
    NOLOOP = TRACK_NOLOOP
    CACHING = TRACK_CACHING
    BROKEN = TRACK_BROKEN


class ClientFlag:
    """Bits of Client.flags; see engine.pyi."""

    MULTI = CLIENT_MULTI
    DIRTY_CAS = CLIENT_DIRTY_CAS
    CLOSE_AFTER_REPLY = CLIENT_CLOSE_AFTER_REPLY
    CLOSE_ASAP = CLIENT_CLOSE_ASAP
    BLOCKED = CLIENT_BLOCKED
    WRITABLE_WAIT = CLIENT_WRITABLE_WAIT
    REPLY_OFF = CLIENT_REPLY_OFF
    REPLY_SKIP_NEXT = CLIENT_REPLY_SKIP_NEXT
    REPLY_SKIP = CLIENT_REPLY_SKIP
    MONITOR = CLIENT_MONITOR
    AUTHENTICATED = CLIENT_AUTHENTICATED
    NO_EVICT = CLIENT_NO_EVICT
    NO_TOUCH = CLIENT_NO_TOUCH
    UNIX_SOCKET = CLIENT_UNIX_SOCKET
    EXECUTING = CLIENT_EXECUTING
    FAILED = CLIENT_FAILED
    IMPORT_SOURCE = CLIENT_IMPORT_SOURCE
    CAPA_REDIRECT = CLIENT_CAPA_REDIRECT


cdef class Client:
    """A view of a client_t; see engine.pyi."""

    def __dealloc__(self):
        if self.c != NULL:
            self.c.view = NULL

    cdef client_t* live(self) except NULL:
        if self.c == NULL:
            raise ClientGone("the client has gone")
        return self.c

    @property
    def gone(self): return self.c == NULL

    @property
    def id(self): return self.live().id

    @property
    def fd(self): return self.live().fd

    @property
    def resp(self): return self.live().resp

    @resp.setter
    def resp(self, int v): self.live().resp = <uint8_t>v
    @property
    def db(self): return self.live().db.id

    @property
    def flags(self): return self.live().flags

    @property
    def cls(self): return self.live().cls

    @property
    def blocked(self): return self.live().blocked

    @property
    def authenticated(self): return bool(self.live().flags & CLIENT_AUTHENTICATED)

    @property
    def user(self): return "(superuser)" if self.live().cls == CLASS_PRIMARY else "default"

    @property
    def in_multi(self): return bool(self.live().flags & CLIENT_MULTI)

    @property
    def created_ms(self): return self.live().created_ms

    @property
    def last_interaction_ms(self): return self.live().last_interaction_ms

    @property
    def query_buffer(self): return input_unparsed(&self.live().input)

    @property
    def output_bytes(self): return self.live().out.bytes

    @property
    def memory(self): return client_memory(self.live())

    @property
    def net_in(self): return self.live().net_in

    @property
    def net_out(self): return self.live().net_out

    @property
    def commands(self): return self.live().commands

    @property
    def multi_queued(self): return transaction_count(self.live())

    @property
    def multi_memory(self): return transaction_memory(self.live())

    @property
    def argument_bytes(self):
        cdef int i
        cdef size_t total = 0
        if self.live().argv != NULL and self.live() == self.live().engine.current:
            for i in range(self.live().argc):
                total += self.live().argv[i].len
        return total

    @property
    def subscriptions(self):
        return tuple(subscriptions(self.live(), kind) for kind in (LISTEN_CHANNEL, LISTEN_PATTERN, LISTEN_SHARD))

    @property
    def tracking(self):
        """The modes of a client that tracks, where its messages go, its prefixes; None of another."""
        cdef tracker_t* t = tracker(self.live())
        cdef uint32_t i
        if t == NULL:
            return None
        return t.modes, t.redirect, [t.prefixes[i].text[:t.prefixes[i].n] for i in range(t.prefix_count)]

    def track(self, uint32_t modes, Client target, list prefixes not None):
        """Tracks from now on, or in another way. `target`: who is told, None for itself."""
        cdef bytes prefix
        tracking_on(self.live(), target.live() if target is not None else NULL, modes)
        for prefix in prefixes:
            broadcast_join(self.c.engine, tracker(self.c), prefix, len(prefix))

    def track_no_more(self):
        tracking_off(self.live())

    def set_caching(self):
        """CLIENT CACHING, for the next request of a client that tracks."""
        tracker(self.live()).modes |= TRACK_CACHING

    @property
    def watched(self): return watch_count(self.live())

    @property
    def age_ms(self): return self.live().engine.now_ms - self.live().created_ms

    @property
    def idle_ms(self): return self.live().engine.now_ms - self.live().last_interaction_ms

    @property
    def last_command(self):
        cdef command_t* cmd = self.live().last_cmd if self.live().cmd == NULL else self.live().cmd
        return cmd.name.decode() if cmd != NULL else "NULL"

    @property
    def name(self): return _bytes(self.live().info.name) if self.live().info != NULL else b""

    @name.setter
    def name(self, bytes v): _replace(self.live(), &_info(self.live()).name, v)

    @property
    def lib_name(self): return _bytes(self.live().info.lib_name) if self.live().info != NULL else b""

    @lib_name.setter
    def lib_name(self, bytes v): _replace(self.live(), &_info(self.live()).lib_name, v)

    @property
    def lib_ver(self): return _bytes(self.live().info.lib_ver) if self.live().info != NULL else b""

    @lib_ver.setter
    def lib_ver(self, bytes v): _replace(self.live(), &_info(self.live()).lib_ver, v)

    def set_flag(self, uint64_t flag, bint on):
        if on:
            self.live().flags |= flag
        else:
            self.live().flags &= ~flag

    def close(self):
        client_close_asap(self.live())

    def close_after_reply(self):
        """After what has been replied so far, and the running command's reply, are sent."""
        self.live().flags |= CLIENT_CLOSE_AFTER_COMMAND

    def peer(self):
        """"ip:port", or "path:0" of a unix socket."""
        # A unix socket's peer has no name: the path is its own.
        return _address(self.live().fd, not self.live().flags & CLIENT_UNIX_SOCKET)

    def local(self):
        return _address(self.live().fd, False)


cdef str _address(int fd, bint of_peer):
    """Asked of the kernel each time: 0.3 us, where a text kept per connection would cost each of them memory."""
    cdef sockaddr_storage address
    cdef socklen_t size = sizeof(address)
    cdef char text[INET6_ADDRSTRLEN]
    cdef sockaddr* a = <sockaddr*>&address
    cdef sockaddr_in* v4 = <sockaddr_in*>&address
    cdef sockaddr_in6* v6 = <sockaddr_in6*>&address
    cdef bytes path
    if fd < 0:
        return ""
    if (getpeername(fd, a, &size) if of_peer else getsockname(fd, a, &size)) != 0:
        return "?:0"
    if a.sa_family == AF_UNIX:
        path = (<char*>(<sockaddr_un*>a).sun_path)[:max(0, <int>size - <int>sizeof(a.sa_family))]
        return path.rstrip(b"\0").decode("utf-8", "surrogateescape") + ":0"
    if a.sa_family == AF_INET and inet_ntop(AF_INET, &v4.sin_addr, text, sizeof(text)) != NULL:
        return f"{text.decode('ascii')}:{ntohs(v4.sin_port)}"
    if a.sa_family == AF_INET6 and inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof(text)) != NULL:
        return f"[{text.decode('ascii')}]:{ntohs(v6.sin6_port)}"
    return "?:0"


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

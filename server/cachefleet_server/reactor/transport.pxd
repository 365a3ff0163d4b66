"""How a connection's bytes pass its socket: `transport_t` (core/engine.pxd), a constant row that a client points to.

    client_read  --read_fn---->  plain: read(2)            CLIENT.session: what a transport keeps of a connection
    client_write --write_fn--->  plain: write(2)
                 --writev_fn-->  plain: writev(2)

There is one row, `plain`; TLS will be another. The rows differ in more than who makes the system call, so the
reactor (reactor/connection.pyx) holds to a contract that plain sockets alone would not need:

- read, write and writev return how many bytes were moved (> 0), or one of TRANSPORT_*; errno means nothing to callers.
- Reading may have to wait until the socket is writable, and writing until it is readable: a handshake, whenever it
  comes, and new keys are messages of the transport's own. TRANSPORT_WANT_* says for what, whoever was called. While a
  read waits to be writable, epoll is not asked for input: it is there, and would make each tick the next one's cause.
  A write that waits to be readable is tried again after each read, which may have taken in what it waits for.
- What WANT_* stopped is called again with the same bytes: perhaps at another address, perhaps with more behind them. A
  client's output only grows at its end, so this costs nothing.
- Bytes that were counted as written are the kernel's. A transport keeps no output of clients; so nothing has to be
  flushed when there are no replies, and an empty output means that all was sent.
- A short count, of a write, means that the socket is full: the next try waits until it is writable.
- unread_fn: a read would do something now of which epoll cannot know: bytes wait inside the transport. It is asked
  after each read and write, since writing may read; the client is then resumed, and read, in this tick or the next.
- A handshake is no state of the reactor's: until it is done, reads and writes move nothing. It begins with the first
  read. `timeout` ends one that does not get on, as any silent client.
- close_fn: says goodbye as far as the socket takes it now, and frees the session. The descriptor is the reactor's.
- refuse_fn: the same for a connection that will not become a client: one text, if the peer could read it so early.

Cost: an indirect call for each system call, some two nanoseconds.
"""

from cachefleet_server.core.engine cimport transport_t

cdef const transport_t* plain_transport() noexcept nogil

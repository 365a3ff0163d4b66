"""Keyspace events; see events.pxd."""

from libc.stdio cimport snprintf
from libc.string cimport memcpy, strlen

from cachefleet_server.ds.zmalloc cimport zfree, zmalloc
from cachefleet_server.keyspace.channels cimport LISTEN_CHANNEL, channel_publish
from cachefleet_server.keyspace.db cimport NOTIFY_KEYEVENT, NOTIFY_KEYSPACE

cdef enum:
    HEAD_MAX = 32  # bytes of a channel's name in front of the key or event
    NAME_ROOM = 512


cdef void _publish(
    engine_t* e, const char* format, int dbid, const char* tail, size_t nt, const char* message, size_t nm
) noexcept nogil:
    cdef char room[NAME_ROOM]
    cdef char head[HEAD_MAX]
    cdef size_t n = snprintf(head, HEAD_MAX, format, dbid)
    cdef char* channel = &room[0]
    if n + nt > NAME_ROOM:
        channel = <char*>zmalloc(e.heap, n + nt)
    memcpy(channel, head, n)
    memcpy(channel + n, tail, nt)
    channel_publish(e, LISTEN_CHANNEL, channel, n + nt, message, nm, NULL)
    if channel != &room[0]:
        zfree(e.heap, channel)


cdef void event_publish(
    engine_t* e, int event, const char* name, const char* key, size_t nk, int dbid
) noexcept nogil:
    cdef size_t nn = strlen(name)
    if e.notify_flags & NOTIFY_KEYSPACE:
        _publish(e, b"__keyspace@%d__:", dbid, key, nk, name, nn)
    if e.notify_flags & NOTIFY_KEYEVENT:
        _publish(e, b"__keyevent@%d__:", dbid, name, nn, key, nk)

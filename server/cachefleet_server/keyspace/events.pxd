"""Keyspace events: what happens to keys, as messages on channels of their own.

    __keyspace@<db>__:<key>    the event's name        with K in notify-keyspace-events
    __keyevent@<db>__:<event>  the key                 with E

Whoever changes a key says so by `notify` or `key_changed` (keyspace/db), which look at the classes that are asked for
(engine.notify_flags) and come here, by engine.notify_fn, if the event's is among them: nothing else is paid while
nobody asked. An event is published at once,
inside the command, so events have the order in which things happened; it is heard behind the replies that were due
before it, and by the client that caused it behind its own (core/push).
"""

from cachefleet_server.core.engine cimport engine_t

cdef void event_publish(
    engine_t* e, int event, const char* name, const char* key, size_t nk, int dbid) noexcept nogil

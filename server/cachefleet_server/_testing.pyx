"""What tests do to an engine that no user may; in development builds only."""

from libc.stdint cimport int64_t, uint64_t

from cachefleet_server.core.client_class cimport client_set_class
from cachefleet_server.core.clients cimport client_first, client_next
from cachefleet_server.core.clock cimport clock_refresh
from cachefleet_server.core.command cimport command_row
from cachefleet_server.core.engine cimport client_t, held_condition_t
from cachefleet_server.core.journal cimport journal_consumer_t
from cachefleet_server.core.push cimport push_begin, push_end, push_reply_begin
from cachefleet_server.core.reply cimport arg_int64, reply_int, reply_ok
from cachefleet_server.engine cimport Engine
from cachefleet_server.keyspace.held cimport held_add, held_confirmed, held_failed, held_remove
from cachefleet_server.keyspace.journal cimport journal_attach, journal_detach, journal_end
from cachefleet_server.resp.writer cimport out_bulk, out_t


def advance(Engine engine, int64_t ms):
    """Moves the engine's unix time, and everything that expires with it."""
    engine.ptr.clock_offset_us += ms * 1000
    clock_refresh(engine.ptr)


def now_ms(Engine engine):
    """The time that commands see; it stands still between ticks."""
    return engine.ptr.now_ms


def seed_random(Engine engine, uint64_t seed):
    """What samples and draws are made from; not 0."""
    engine.ptr.rng = seed


cdef void _ignore(journal_consumer_t* consumer, const char* data, size_t n, uint64_t offset) noexcept nogil:
    pass


cdef class Condition:
    """A condition of held output that a test confirms by hand, and a journal that is kept for it.

    Counts from its making to `remove`; the journal is on for as long.
    """

    cdef Engine engine
    cdef journal_consumer_t consumer
    cdef held_condition_t condition

    def __cinit__(self, Engine engine not None):
        self.engine = engine
        self.consumer.name = self.condition.name = b"test"
        self.consumer.take_fn = _ignore
        journal_attach(engine.ptr, &self.consumer)
        self.condition.confirmed = journal_end(engine.ptr)
        held_add(engine.ptr, &self.condition)

    def confirm(self, uint64_t offset):
        self.condition.confirmed = offset
        held_confirmed(self.engine.ptr)

    def confirm_all(self):
        self.confirm(journal_end(self.engine.ptr))

    def fail(self):
        held_failed(self.engine.ptr)

    def remove(self):
        held_remove(self.engine.ptr, &self.condition)
        journal_detach(self.engine.ptr, &self.consumer)

    @property
    def journal_end(self):
        return journal_end(self.engine.ptr)

    @property
    def waiting(self):
        return self.engine.ptr.held.waiting != NULL

# ---- commands that push ----------------------------------------------------------------------------------

cdef client_t* _client(client_t* c, int64_t id) noexcept nogil:
    cdef client_t* found = client_first(c.engine)
    while found != NULL and <int64_t>found.id != id:
        found = client_next(found)
    return found


cdef void _words(client_t* c, out_t* out, int first) noexcept nogil:
    cdef int i
    for i in range(first, c.argc):
        out_bulk(out, c.argv[i].ptr, c.argv[i].len)


cdef void pushto_command(client_t* c) noexcept nogil:
    """PUSHTO id word ...: 1 if that client gets it."""
    cdef int64_t id
    cdef client_t* target
    cdef out_t* out
    if not arg_int64(c, &c.argv[1], &id):
        return
    target = _client(c, id)
    out = push_begin(target, c.argc - 2) if target != NULL else NULL
    if out != NULL:
        _words(c, out, 2)
        push_end(target)
    reply_int(c, out != NULL)


cdef void pushself_command(client_t* c) noexcept nogil:
    """PUSHSELF word ...: its reply is a push, as SUBSCRIBE's."""
    cdef out_t* out = push_reply_begin(c, c.argc - 1)
    if out != NULL:
        _words(c, out, 1)


cdef void setclass_command(client_t* c) noexcept nogil:
    """SETCLASS class: CLASS_* of this client."""
    cdef int64_t cls
    if arg_int64(c, &c.argv[1], &cls):
        client_set_class(c, <int>cls)
        reply_ok(c)


def plug_pushes(Engine engine):
    """Commands that push; not part of wheels."""
    command_row(engine.ptr, pushto_command, "pushto", -3, "fast", "keyspace", "", "generic 1.0.0 O(N)",
                "Pushes words to a client.", "id:integer word:string...")
    command_row(engine.ptr, pushself_command, "pushself", -2, "fast", "keyspace", "", "generic 1.0.0 O(N)",
                "Replies by a push.", "word:string...")
    command_row(engine.ptr, setclass_command, "setclass", 2, "fast", "keyspace", "", "generic 1.0.0 O(1)",
                "Changes the class of this client.", "class:integer")

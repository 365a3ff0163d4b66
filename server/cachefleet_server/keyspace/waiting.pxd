"""Clients that wait for keys: what BLPOP, BLMOVE, BZPOPMIN, XREAD BLOCK and the like stand on.

    interest_t of a key: waiters --- waiter_t --- waiter_t           clients in the order in which they came
    client.waiter: wait_t | waiter_t[keys]                           one allocation, and the kept request

A command that finds nothing calls wait_for_keys, and returns without a reply if the client now waits. Its request is
kept (core/request), as the command has it in argv at that moment. A key that changes while somebody waits for it
(signal_modified) is ready, and after each command in its own right, so after EXEC or a script as a whole, waiters are
served (`waiting_serve`): the kept request runs again, through all gates and as any other command. Nobody's next request
can come between a push and the waiter that it was for.

- *Order.* Of a key, who came first is served first. A request that finds nothing once more calls wait_for_keys again
  and keeps its place and its time-out. A chain (BLMOVE into a key that others wait for) goes on until none is ready.
- *Type.* Only who waits for values of the type that the key now has is served. With WAIT_ON_NOKEY also when it is gone
  or has another type; the command then finds the words.
- *A second look.* What a command waits for may come with time alone (an entry that is pending for long enough). It says
  when to look (waiting_look_at), and all that waits for its keys is looked at then.
- *End of the wait* without being served: the time-out and CLIENT UNBLOCK call the command's `over`; a client that goes
  leaves its queues, and one that is about to go is not served.
- *Refusals.* What a gate refuses (OOM, as in Valkey) has its reply and waits no more. A pause holds it back: it stays
  where it is and is served when the pause is over; its time-out comes behind that, and at once if it was due before.
- *Loading.* Nobody is served before the data is there.
- A wait is one call in the statistics, counted when it ends; MONITOR shows it when it begins.

Cost: waiting and leaving O(keys); a change of a key that nobody waits for nothing; serving one client what its command
costs, and waiters of another type are passed over.
"""

from libc.stdint cimport int64_t

from cachefleet_server.core.engine cimport arg_t, client_t, db_t, engine_t
from cachefleet_server.core.request cimport kept_request_t
from cachefleet_server.keyspace.blocked cimport unblock_reply_fn
from cachefleet_server.keyspace.interest cimport interest_t

cdef enum:
    WAIT_ON_NOKEY = 1  # a deleted key, or one of another type, ends the wait, too
    WAIT_ON_TIME = 2  # so may time alone: see waiting_look_at

ctypedef bint (*serve_fn)(client_t* c, kept_request_t* kept) noexcept nogil
    # Runs a kept request; false when a pause holds it back.

cdef bint wait_for_keys(
    client_t* c, arg_t* keys, int count, int type, int flags, int64_t until_ms, unblock_reply_fn over
) noexcept nogil
    # The running command waits until one of these keys of c's database holds a value of `type`. False where nobody may
    # wait (CLIENT_DENY_BLOCKING): the command replies that there is nothing. until_ms: unix time, 0 = for ever; `over`
    # replies when the time is up.
cdef void waiting_look_at(client_t* c, int64_t ms) noexcept nogil
    # Behind a wait_for_keys that was true: whatever becomes of the keys, the request runs again at this unix time if it
    # still waits then. For once, so who comes back to wait says so again.
cdef void waiting_times_changed(interest_t* key) noexcept nogil
    # What those with WAIT_ON_TIME wait for may come earlier than when they last looked.
cdef void waiting_serve(engine_t* e, serve_fn serve) noexcept nogil  # until nothing is ready
cdef void waiting_look_again(engine_t* e) noexcept nogil  # a pause has ended: who was held back is looked at anew
cdef bint waiting_is_held(client_t* c) noexcept nogil
    # A pause held it back, and nobody has looked again: its time-out must wait, too.
cdef bint waiting_sees_new(const client_t* c) noexcept nogil
    # False for who is served because of a stream that was there before: it may have nothing for it.
cdef size_t waiting_memory(const client_t* c) noexcept nogil

# For keyspace/interest and keyspace/blocked.
cdef bint waiting_looks(client_t* c) noexcept nogil
    # Its deadline was for looking again: its keys are ready, and the deadline is that of the wait. Else false.
cdef void waiting_leave(client_t* c) noexcept nogil  # its wait is over: c.waiter is gone
cdef void waiting_changed(interest_t* key) noexcept nogil
cdef void waiting_forget_ready(interest_t* key) noexcept nogil
cdef void waiting_replace_db(db_t* db, db_t* replacement) noexcept nogil
cdef int waiting_check(engine_t* e) noexcept nogil
    # 0; 1 a queue; 2 the counts of keys; 3 the list of what is ready; 4 a client's wait; 5 ready, and not served

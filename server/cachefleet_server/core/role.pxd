"""On whose behalf a request runs is a value: each client points to a row of the table of roles.

A row says which gates a request must pass, who decides that a key's time is over, whether the request may wait, where
its replies go, what an error means, and whether it is journalled and counted. Commands and the dispatcher ask the
role; nothing is inferred from what else the server is doing. A new way in (a script, a slot import) is a new row.

A server that follows a primary is another one for everybody: it changes nothing by itself and refuses writes. The rows
of those that it serves therefore exist twice, and `role_here` says which one counts; who becomes a replica, or ceases
to be one, gives every client its other row at once (keyspace/following.pxd).
"""

from libc.stdint cimport uint32_t

cdef enum:  # role_t.gates: what refuses or holds back a request (reactor/dispatch.pyx). 8 and 9: fenced, lease
    GATE_AUTH = 1 << 0
    GATE_MEMORY = 1 << 1  # maxmemory
    GATE_DISK = 1 << 2  # writes while the data cannot be made safe
    GATE_REPLICAS = 1 << 3  # min-replicas-to-write
    GATE_LOADING = 1 << 4
    GATE_PAUSE = 1 << 5
    GATE_LENGTH = 1 << 6  # proto-max-bulk-len, for values that a command builds
    GATE_REPLICA = 1 << 7  # writes, or everything while the data are stale: what a replica refuses

cdef enum:  # role_t.expiry
    EXPIRY_OWN = 0  # whoever meets an expired key deletes it
    EXPIRY_HIDE = 1  # it is invisible, and somebody else deletes it
    EXPIRY_PRESENT = 2  # a key lives until its source says otherwise

cdef enum:  # role_t.replies
    REPLIES_SENT = 0  # to the connection
    REPLIES_COLLECTED = 1  # in client_t.out, for who made the request
    REPLIES_DISCARDED = 2

cdef enum:
    ROLE_CONNECTION = 0
    ROLE_IN_PROCESS = 1
    ROLE_SERVER = 2
    ROLE_AOF = 3
    ROLE_LINK = 4
    ROLE_REPLICA = 5  # as so many more: ROLE_CONNECTION ... ROLE_SERVER of a replica
    ROLES = 8

cdef struct role_t:
    const char* name
    uint32_t gates  # GATE_*
    int expiry  # EXPIRY_*
    int replies  # REPLIES_*
    bint may_block
    bint errors_fatal  # the first one stays in client_t.out, and CLIENT_FAILED is set
    bint journals
    bint counts  # in statistics, slow log, latency events and MONITOR

cdef const role_t* role_row(int role) noexcept nogil

cdef inline const role_t* role_here(int role, bint following) noexcept nogil:
    return role_row(role + ROLE_REPLICA if following and role <= ROLE_SERVER else role)

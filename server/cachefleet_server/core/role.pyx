"""The table of roles; see role.pxd."""

cdef enum:
    GATES_ALL = (
        GATE_AUTH | GATE_MEMORY | GATE_DISK | GATE_REPLICAS | GATE_LOADING | GATE_PAUSE | GATE_LENGTH)

    GATES_REPLICA = GATES_ALL & ~(GATE_MEMORY | GATE_REPLICAS) | GATE_REPLICA

cdef role_t[ROLES] ROWS  # constant after import

# Whoever connected.
ROWS[ROLE_CONNECTION] = role_t(
    name=b"connection", gates=GATES_ALL, expiry=EXPIRY_OWN, replies=REPLIES_SENT,
    may_block=True, errors_fatal=False, journals=True, counts=True)

# The program that holds the engine. It is let in, and it cannot be made to wait.
ROWS[ROLE_IN_PROCESS] = role_t(
    name=b"in-process", gates=GATES_ALL & ~GATE_AUTH, expiry=EXPIRY_OWN, replies=REPLIES_COLLECTED,
    may_block=False, errors_fatal=False, journals=True, counts=True)

# The server's own work, as DEBUG POPULATE: part of a command that has passed the gates itself.
ROWS[ROLE_SERVER] = role_t(
    name=b"server", gates=0, expiry=EXPIRY_OWN, replies=REPLIES_COLLECTED,
    may_block=False, errors_fatal=False, journals=True, counts=False)

# Commands of an append only file: they were checked and journalled when they first ran. Deletions come from the file,
# too, and a command that fails means that the data would not become what it was.
ROWS[ROLE_AOF] = role_t(
    name=b"AOF loader", gates=0, expiry=EXPIRY_PRESENT, replies=REPLIES_DISCARDED,
    may_block=False, errors_fatal=True, journals=False, counts=False)

# The stream of a primary. Nothing that it sends is questioned, and nothing it has not sent happens: keys end by its
# word. It is journalled as it came (keyspace/following.pxd). A command that fails means that the data differ.
ROWS[ROLE_LINK] = role_t(
    name=b"primary link", gates=0, expiry=EXPIRY_PRESENT, replies=REPLIES_DISCARDED,
    may_block=False, errors_fatal=True, journals=False, counts=True)

# The first three, of a server that follows a primary. What they write, if they may, is nobody else's.
ROWS[ROLE_REPLICA + ROLE_CONNECTION] = role_t(
    name=b"connection of a replica", gates=GATES_REPLICA, expiry=EXPIRY_HIDE, replies=REPLIES_SENT,
    may_block=True, errors_fatal=False, journals=False, counts=True)
ROWS[ROLE_REPLICA + ROLE_IN_PROCESS] = role_t(
    name=b"in-process of a replica", gates=GATES_REPLICA & ~GATE_AUTH, expiry=EXPIRY_HIDE, replies=REPLIES_COLLECTED,
    may_block=False, errors_fatal=False, journals=False, counts=True)
ROWS[ROLE_REPLICA + ROLE_SERVER] = role_t(
    name=b"server that is a replica", gates=0, expiry=EXPIRY_HIDE, replies=REPLIES_COLLECTED,
    may_block=False, errors_fatal=False, journals=False, counts=False)


cdef const role_t* role_row(int role) noexcept nogil:
    return &ROWS[role]

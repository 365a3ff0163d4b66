"""The table of roles; see role.pxd."""

cdef enum:
    GATES_ALL = (
        GATE_AUTH | GATE_MEMORY | GATE_DISK | GATE_REPLICAS | GATE_LOADING | GATE_PAUSE | GATE_LENGTH)

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


cdef const role_t* role_row(int role) noexcept nogil:
    return &ROWS[role]

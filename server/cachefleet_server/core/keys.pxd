"""Which arguments of a command are keys: the key specs of its row, compiled when it is registered.

A spec says where keys begin (at an argument, or behind a keyword) and how they follow (a range by steps, or as many as
an argument says), and what is done with them. command_spec.py has the text form, COMMAND INFO the same in Valkey's
words. COMMAND GETKEYS uses this, and whatever has to know the keys before a command runs.
"""

from libc.stdint cimport uint32_t

from cachefleet_server.core.engine cimport arg_t, command_t, key_spec_t

cdef enum:  # flags of a spec, in the order in which COMMAND names them
    KEY_RO = 1 << 0
    KEY_RW = 1 << 1
    KEY_OW = 1 << 2
    KEY_RM = 1 << 3
    KEY_ACCESS = 1 << 4
    KEY_UPDATE = 1 << 5
    KEY_INSERT = 1 << 6
    KEY_DELETE = 1 << 7
    KEY_NOT_KEY = 1 << 8  # looks like one, as a channel's name
    KEY_INCOMPLETE = 1 << 9  # there may be more keys than the spec finds
    KEY_VARIABLE_FLAGS = 1 << 10  # the arguments decide

    KEYS_RANGE = 0
    KEYS_COUNTED = 1  # "numkeys"
    KEYS_UNKNOWN = 2

    KEYS_INVALID = -1

cdef struct key_ref_t:
    int at  # argument
    uint32_t flags  # KEY_*

cdef int command_keys(const command_t* cmd, int argc, const arg_t* argv, key_ref_t* out, int room) noexcept nogil
    # How many keys these arguments have, in the order of the specs; the first `room` of them are in `out`. O(argc) a
    # spec, whatever numbers a client made up. KEYS_INVALID: they do not fit a spec.
cdef inline bint has_keys(const command_t* cmd) noexcept nogil:
    """Whether any of its arguments may be a key, and not only look like one."""
    cdef int i
    for i in range(cmd.key_spec_count):
        if not cmd.key_specs[i].flags & KEY_NOT_KEY:
            return True
    return False

cdef int keys_compile(command_t* cmd, object spec) except -1  # at registration; spec: CommandSpec
cdef tuple key_flag_words(uint32_t flags)  # as COMMAND names them, in the order of their bits
cdef void keys_free(command_t* cmd) noexcept

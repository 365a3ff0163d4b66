"""The row of sets; contracts in core/types.pxd, the value in core/set_value.pxd.

Saved as SET_INTSET, SET_LISTPACK, or SET: members one by one, which is also how Redis 7.0 gets listpacks. Read are all
three, and become the form that Valkey would make of them.

A set with members that expire is SET_TIMED in our own dialect: each member with its time, eight bytes, -1 without one.
In another's dialect it is SET, and the times are left out: whoever asks for a dialect by name wants it so. As commands,
SADD, then SPEXPIREAT.
"""

from cachefleet_server.core.engine cimport engine_t

cdef void register_set_type(engine_t* e) noexcept nogil

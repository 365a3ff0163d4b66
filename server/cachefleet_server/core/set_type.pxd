"""The row of sets; contracts in core/types.pxd, the value in core/set_value.pxd.

Saved as SET_INTSET, SET_LISTPACK, or SET: members one by one, which is also how Redis 7.0 gets listpacks. Read are all
three, and become the form that Valkey would make of them.
"""

from cachefleet_server.core.engine cimport engine_t

cdef void register_set_type(engine_t* e) noexcept nogil

"""The row of hashes; contracts in core/types.pxd, the value in core/hash_value.pxd.

Saved are a pack as HASH_LISTPACK and a table as HASH, pair by pair (core/members_saving.pxd). Read are all that ever
were: pairs, a zipmap, a ziplist, a listpack. What is read goes into a pack as long as it may be one, then into a
table; a field that comes twice is refused in either.
"""

from cachefleet_server.core.engine cimport engine_t

cdef void register_hash_type(engine_t* e) noexcept nogil

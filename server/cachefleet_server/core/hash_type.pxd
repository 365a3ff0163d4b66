"""The row of hashes; contracts in core/types.pxd, the value in core/hash_value.pxd.

Saved are a pack as HASH_LISTPACK and a table as HASH, pair by pair (core/members_saving.pxd); a table with fields that
expire as HASH_2 of Valkey 9, or as HASH_METADATA of Redis 7.4, as the dialect has it. As commands such fields are
followed by HPEXPIREAT. Read are all forms that ever were (core/hash_loading.pxd).
"""

from cachefleet_server.core.engine cimport engine_t

cdef void register_hash_type(engine_t* e) noexcept nogil

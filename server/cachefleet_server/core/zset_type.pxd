"""The row of sorted sets; contracts in core/types.pxd, the value in core/zset_value.pxd.

A pack is saved as the listpack that Valkey writes for it, at once; a table as ZSET_2, members with scores of eight
bytes, in no order: whoever loads it sorts them, and builds full leaves. Read are all that ever were: scores as text,
scores as bytes, a ziplist, a listpack.

A sorted set with members that expire is ZSET_TIMED in our own dialect: behind each score the member's time, eight
bytes, -1 without one. In another's dialect the times are left out (core/set_type.pxd). As commands, ZADD, then
ZPEXPIREAT.
"""

from cachefleet_server.core.engine cimport engine_t

cdef void register_zset_type(engine_t* e) noexcept nogil

"""The row of streams (core/types.pxd). A stream is always a payload (ds/stream.pxd), however short.

Type bytes 15, 19 and 21 are read; 21 is written, or 19 for Redis 7.0, which lacks the times at which consumers were
active: so files, which it is to read, say that this was when they were seen, and DUMP does not. 61, of our own dialect,
is what a stream with producers (ds/stream_idmp.pxd) takes: 21, and these. A record is the blocks as they are, numbers,
and the groups. What files say is looked at before it is believed: ids rise, counts are right,
each pending entry is one consumer's. 26 and 27, of Redis 8.2 and later, are refused by name.

Saving goes through a share of the stream, so commands change copies of what they touch meanwhile. A step is about
SAVE_STEP bytes: a block, or some entries, or pending ones. As commands a stream is what Valkey makes of it: XADD,
XSETID, XGROUP CREATE, XGROUP CREATECONSUMER and XCLAIM; with producers, XCFGSET and XIDMPRECORD, too, and their counts
are lost.
"""

from cachefleet_server.core.engine cimport engine_t
from cachefleet_server.core.entry cimport entry_payload, entry_t
from cachefleet_server.ds.stream cimport stream_t

cdef inline stream_t* entry_stream(const entry_t* entry) noexcept nogil:
    return <stream_t*>entry_payload(entry)[0]

cdef void register_stream_type(engine_t* e) noexcept nogil

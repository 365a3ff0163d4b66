"""Entries as commands; see aof_rewrite.pxd."""

from cachefleet_server.core.entry cimport E_EXPIRE, entry_expire, entry_key
from cachefleet_server.core.types cimport save_whole
from cachefleet_server.resp.command cimport command_header, command_number, command_word


cdef void rewrite_select(rdb_out_t* out, int dbid) noexcept nogil:
    command_header(&out.buf, c"*", 2)
    command_word(&out.buf, b"SELECT", 6)
    command_number(&out.buf, dbid)


cdef void rewrite_entry(rdb_out_t* out, engine_t* e, const entry_t* entry) noexcept nogil:
    out.delay_us += e.params.rdb_key_save_delay
    save_whole(e, entry, out, True)
    rewrite_expiry(out, entry)


cdef void rewrite_expiry(rdb_out_t* out, const entry_t* entry) noexcept nogil:
    cdef size_t nk
    cdef const char* key = entry_key(entry, &nk)
    if entry.flags & E_EXPIRE:
        command_header(&out.buf, c"*", 3)
        command_word(&out.buf, b"PEXPIREAT", 9)
        command_word(&out.buf, key, nk)
        command_number(&out.buf, entry_expire(entry))

"""Reply values of Python (replies.py) to RESP and back, for Python command rows and in-process use."""

from cachefleet_server.resp.writer cimport out_t

cdef int encode_reply(out_t* o, int resp, object value) except -1
    # Appends value. TypeError leaves the output as it was. Errors are written, not counted: a row's own error reply
    # goes through reply_error_bytes with the bytes of encode_text.
cdef bytes encode_text(object text)  # a str or subclass as UTF-8; surrogate escapes become the bytes they stand for
cdef object decode_reply(const char* p, size_t n)
    # The one reply in p[0:n]. Nulls of both kinds are None; a map or set with unhashable members is a list.
    # ValueError if the bytes are not exactly one reply.

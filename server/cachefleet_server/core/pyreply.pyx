"""Python values to RESP and back; see pyreply.pxd, and replies.py for which value is which type."""

from libc.stdint cimport int64_t
from libc.string cimport memchr

from cachefleet_server.ds.number cimport chars_to_int64
from cachefleet_server.resp.writer cimport (
    mark_t, out_array, out_bignum, out_bool, out_bulk, out_double, out_error, out_int, out_map, out_mark, out_null,
    out_null_array, out_push, out_raw, out_set, out_truncate, out_verbatim)

from cachefleet_server.replies import NO_REPLY, NULL_ARRAY, BigNumber, Error, OrderedSet, Push, Simple, Verbatim


cdef bytes encode_text(object text):
    return text.encode("utf-8", "surrogateescape")


cdef int encode_reply(out_t* o, int resp, object value) except -1:
    cdef mark_t m = out_mark(o)
    try:
        encode_value(o, resp, value)
    except BaseException:
        out_truncate(o, m)
        raise
    return 0


cdef int encode_bytes(out_t* o, bytes value) except -1:
    out_bulk(o, <const char*>value, len(value))
    return 0


cdef int encode_number(out_t* o, int resp, object value) except -1:
    cdef bytes digits
    if isinstance(value, bool):
        out_bool(o, resp, value)
    elif isinstance(value, BigNumber) or not -1 << 63 <= value < 1 << 63:
        digits = b"%d" % value
        out_bignum(o, resp, digits, len(digits))
    else:
        out_int(o, value)
    return 0


cdef int encode_str(out_t* o, object value) except -1:
    cdef bytes text = encode_text(value)
    if isinstance(value, Error):
        out_error(o, text, len(text))
    elif isinstance(value, Simple):
        if b"\r" in text or b"\n" in text:
            raise TypeError(f"a simple string cannot hold line ends: {value!r}")
        out_raw(o, b"+", 1)
        out_raw(o, <const char*>text, len(text))
        out_raw(o, b"\r\n", 2)
    else:
        encode_bytes(o, text)
    return 0


cdef int encode_verbatim(out_t* o, int resp, object value) except -1:
    cdef bytes form = value.format.encode("ascii")
    cdef bytes text = value.text
    if len(form) != 3:
        raise TypeError(f"a verbatim string's format has three letters: {value.format!r}")
    out_verbatim(o, resp, form, text, len(text))
    return 0


cdef int encode_aggregate(out_t* o, int resp, object value) except -1:
    if isinstance(value, dict):
        out_map(o, resp, len(value))
        for key, item in value.items():
            encode_value(o, resp, key)
            encode_value(o, resp, item)
        return 0
    if isinstance(value, Push):
        out_push(o, resp, len(value))
    elif isinstance(value, (set, frozenset, OrderedSet)):
        out_set(o, resp, len(value))
    else:
        out_array(o, len(value))
    for item in value:
        encode_value(o, resp, item)
    return 0


cdef int encode_value(out_t* o, int resp, object value) except -1:
    if isinstance(value, bytes):
        return encode_bytes(o, value)
    if value is None:
        out_null(o, resp)
    elif isinstance(value, int):
        return encode_number(o, resp, value)
    elif isinstance(value, str):
        return encode_str(o, value)
    elif isinstance(value, (list, tuple, dict, set, frozenset)):
        return encode_aggregate(o, resp, value)
    elif isinstance(value, float):
        out_double(o, resp, value)
    elif isinstance(value, Verbatim):
        return encode_verbatim(o, resp, value)
    elif value is NULL_ARRAY:
        out_null_array(o, resp)
    elif value is not NO_REPLY:
        raise TypeError(f"not a reply value: {value!r}")
    return 0


# ---- decoding ----------------------------------------------------------------------------------------

cdef object decode_reply(const char* p, size_t n):
    cdef const char* end = p + n
    value = decode_value(&p, end)
    if p != end:
        raise ValueError(f"{end - p} bytes behind the reply")
    return value


cdef bytes take(const char** at, const char* end, int64_t n):
    """n bytes and their CRLF."""
    cdef const char* p = at[0]
    if n < 0 or end - p < n + 2 or p[n] != b'\r' or p[n + 1] != b'\n':
        raise ValueError("incomplete reply")
    at[0] = p + n + 2
    return p[:n]


cdef bytes take_line(const char** at, const char* end):
    cdef const char* p = at[0]
    cdef const char* cr = <const char*>memchr(p, b'\r', end - p)
    if cr == NULL:
        raise ValueError("incomplete reply")
    return take(at, end, cr - p)


cdef list take_values(const char** at, const char* end, int64_t n):
    cdef list values = []
    cdef int64_t _
    for _ in range(n):
        values.append(decode_value(at, end))
    return values


cdef object decode_sized(char kind, int64_t n, const char** at, const char* end):
    """Types whose line is a length."""
    if kind == b'$' or kind == b'=':
        if n < 0:
            return None
        text = take(at, end, n)
        return text if kind == b'$' else Verbatim(text[:3].decode(), text[4:])
    if n < 0:
        return None
    if kind == b'|':  # attributes say nothing that Python callers need
        take_values(at, end, 2 * n)
        return decode_value(at, end)
    values = take_values(at, end, 2 * n if kind == b'%' else n)
    if kind == b'%':
        pairs = list(zip(values[::2], values[1::2], strict=True))
        try:
            return dict(pairs)
        except TypeError:
            return pairs
    if kind == b'~':
        try:
            return set(values)
        except TypeError:
            return values
    return Push(values) if kind == b'>' else values


cdef object decode_value(const char** at, const char* end):
    cdef int64_t n
    cdef char kind
    cdef bytes line
    if at[0] == end:
        raise ValueError("incomplete reply")
    kind = at[0][0]
    at[0] += 1
    line = take_line(at, end)
    if kind == b'+':
        return Simple(line.decode("utf-8", "surrogateescape"))
    if kind == b'-':
        return Error(line.decode("utf-8", "surrogateescape"))
    if kind == b'_':
        return None
    if kind == b'#':
        return line == b"t"
    if kind == b',':
        return float(line)
    if kind == b'(':
        return BigNumber(line)
    if not chars_to_int64(line, len(line), &n):
        raise ValueError(f"bad length or integer {line!r}")
    if kind == b':':
        return n
    if kind not in b"$=*%~>|":
        raise ValueError(f"unknown reply type {chr(kind)!r}")
    return decode_sized(kind, n, at, end)

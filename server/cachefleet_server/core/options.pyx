"""Options of commands; see options.pxd.

A word is up to 16 letters. It is compared as two numbers, its first and its last eight bytes with bit 0x20 set: of all
bytes only a letter of either case becomes that letter, so equal numbers and lengths mean equal words.
"""

from functools import lru_cache

from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc

from cachefleet_server.ds.intrin cimport cf_load32, cf_load64, cf_unlikely

from cachefleet_server import command_syntax

cdef extern from *:
    """
    #define LOWER 0x2020202020202020ull
    """
    const uint64_t LOWER

WORD_MAX = 16  # letters

OPTIONS = {
    "ABSTTL": OPT_ABSTTL, "ALPHA": OPT_ALPHA, "ASC": OPT_ASC, "ASYNC": OPT_ASYNC, "BLOCK": OPT_BLOCK, "BY": OPT_BY,
    "BYFLOAT": OPT_BYFLOAT, "BYINT": OPT_BYINT, "CH": OPT_CH, "COUNT": OPT_COUNT, "DB": OPT_DB, "DESC": OPT_DESC,
    "ENTRIESADDED": OPT_ENTRIESADDED, "ENTRIESREAD": OPT_ENTRIESREAD, "ENX": OPT_ENX, "EX": OPT_EX, "EXAT": OPT_EXAT,
    "FNX": OPT_FNX, "FORCE": OPT_FORCE, "FREQ": OPT_FREQ, "FULL": OPT_FULL, "FXX": OPT_FXX, "GET": OPT_GET,
    "GT": OPT_GT, "IDLE": OPT_IDLE, "IDLETIME": OPT_IDLETIME, "IDX": OPT_IDX, "IFDEQ": OPT_IFDEQ, "IFDNE": OPT_IFDNE,
    "IFEQ": OPT_IFEQ, "IFNE": OPT_IFNE, "INCR": OPT_INCR, "JUSTID": OPT_JUSTID, "KEEPTTL": OPT_KEEPTTL,
    "LASTID": OPT_LASTID, "LBOUND": OPT_LBOUND, "LEN": OPT_LEN, "LIMIT": OPT_LIMIT, "LT": OPT_LT, "MATCH": OPT_MATCH,
    "MAXDELETEDID": OPT_MAXDELETEDID, "MAXLEN": OPT_MAXLEN, "MINMATCHLEN": OPT_MINMATCHLEN, "MKSTREAM": OPT_MKSTREAM,
    "NOACK": OPT_NOACK, "NOSCORES": OPT_NOSCORES, "NOVALUES": OPT_NOVALUES, "NX": OPT_NX, "PERSIST": OPT_PERSIST,
    "PX": OPT_PX, "PXAT": OPT_PXAT, "RANK": OPT_RANK, "REPLACE": OPT_REPLACE, "RETRYCOUNT": OPT_RETRYCOUNT,
    "SATURATE": OPT_SATURATE, "STORE": OPT_STORE, "SYNC": OPT_SYNC, "TIME": OPT_TIME, "TYPE": OPT_TYPE,
    "UBOUND": OPT_UBOUND, "WITHMATCHLEN": OPT_WITHMATCHLEN, "XX": OPT_XX,
}

cdef inline uint64_t _head(const char* p, size_t n) noexcept nogil:
    if n >= 8:
        return cf_load64(p) | LOWER
    if n >= 4:
        return cf_load32(p) | (<uint64_t>cf_load32(p + n - 4) << 32) | LOWER
    if n == 0:
        return 0
    return <unsigned char>p[0] | (<uint64_t>(<unsigned char>p[n >> 1]) << 8) \
        | (<uint64_t>(<unsigned char>p[n - 1]) << 16) | LOWER


cdef inline uint64_t _tail(const char* p, size_t n) noexcept nogil:
    return cf_load64(p + n - 8) | LOWER if n >= 8 else 0


cdef inline unsigned int _slot(uint64_t head, uint64_t tail) noexcept nogil:
    return <unsigned int>(((head ^ (tail >> 3)) * <uint64_t>0x9E3779B97F4A7C15) >> 58)


cdef bint options_next(option_walk_t* w) noexcept nogil:
    cdef client_t* c = w.client
    cdef const option_t* option
    cdef uint64_t head, tail
    cdef unsigned int at
    if w.at >= c.argc or w.failed:
        return False
    w.word = &c.argv[w.at]
    w.failed = True
    if c.cmd.options == NULL:
        return False
    head = _head(w.word.ptr, w.word.len)
    tail = _tail(w.word.ptr, w.word.len)
    at = _slot(head, tail)
    while True:
        option = &c.cmd.options[at]
        if option.id == OPT_NONE:
            return False
        if option.head == head and option.tail == tail and option.len == w.word.len:
            break
        at = (at + 1) % OPTION_SLOTS
    if cf_unlikely(w.at + option.values >= c.argc):
        return False
    w.option = option.id
    w.value = w.word + 1
    w.at += 1 + option.values
    w.failed = False
    return True


def _words(node):
    """(token, number of values) of an optional argument and its alternatives."""
    if "token" in node:
        values = len(node["arguments"]) if node["type"] == "block" else 0 if node["type"] == "pure-token" else 1
        yield node["token"], values
    elif node["type"] == "oneof":
        for child in node["arguments"]:
            yield from _words(child)


@lru_cache(maxsize=512)
def _table(str syntax):
    return [
        found for node in command_syntax.arguments(syntax, 0) if "optional" in node.get("flags", ())
        for found in _words(node) if found[0] in OPTIONS]


cdef int options_compile(command_t* row, str syntax) except -1:
    cdef bytes word
    cdef option_t* option
    cdef uint64_t head, tail
    cdef unsigned int at
    table = _table(syntax) if "[" in syntax else []
    if not table:
        return 0
    if len(table) > OPTION_SLOTS // 2:
        raise ValueError("too many options")
    row.options = <option_t*>calloc(OPTION_SLOTS, sizeof(option_t))
    if row.options == NULL:
        raise MemoryError
    for token, values in table:
        word = token.encode("ascii")
        if len(word) > WORD_MAX:
            raise ValueError(f"option {token} is too long")
        head, tail = _head(word, len(word)), _tail(word, len(word))
        at = _slot(head, tail)
        while row.options[at].id != OPT_NONE:
            at = (at + 1) % OPTION_SLOTS
        option = &row.options[at]
        option.head = head
        option.tail = tail
        option.len = len(word)
        option.values = values
        option.id = OPTIONS[token]
    return 0

"""Slabs: see slab.pxd.

Invariants, by the number that slab_check returns for their violation:
     1 a listed page has room and the class of its list      2 every page with room, and no other, is listed
     3 free and fresh objects and `used` fill the page       4 an arena is in the list that its free pages ask for
     5 `pages` counts the pages in use                       6 a page knows its slab and arena
     7 slab_bytes is the sum of the objects given out        8 an empty page is the only one of its list
"""

from libc.stdlib cimport calloc, free

from cachefleet_server.ds.intrin cimport (
    cf_cas32, cf_cas_ptr, cf_ctz64, cf_load16, cf_monotonic_us, cf_poison, cf_popcount64, cf_store16, cf_swap32,
    cf_swap_ptr, cf_unlikely, cf_unpoison)
from cachefleet_server.ds.mapping cimport map_aligned, map_drop, map_free
from cachefleet_server.ds.merger cimport merger_add

cdef extern from * nogil:
    """
    #ifdef __SANITIZE_ADDRESS__
    #define SLAB_GAP 16
    #else
    #define SLAB_GAP 0
    #endif
    """
    const int SLAB_GAP  # poisoned bytes behind each object

cdef enum:
    HEADER = 64  # bytes before a page's first object
    ALL_FREE = 0xFFFFFFFF  # slab_arena_t.free
    TAKE_IN = 8  # pages looked at before a class gets a new one


# ---- arenas ------------------------------------------------------------------------------------------

cdef void _arena_leave(slab_t* s, slab_arena_t* a) noexcept nogil:
    if a.prev != NULL:
        a.prev.next = a.next
    else:
        s.arenas[a.list] = a.next
    if a.next != NULL:
        a.next.prev = a.prev


cdef void _arena_enter(slab_t* s, slab_arena_t* a, int list) noexcept nogil:
    a.list = list
    a.prev = NULL
    a.next = s.arenas[list]
    if a.next != NULL:
        a.next.prev = a
    s.arenas[list] = a


cdef slab_arena_t* _arena_new(slab_t* s) noexcept nogil:
    cdef slab_arena_t* a = <slab_arena_t*>calloc(1, sizeof(slab_arena_t))
    if a == NULL:
        return NULL
    a.base = <char*>map_aligned(SLAB_ARENA, SLAB_ARENA)
    if a.base == NULL:
        free(a)
        return NULL
    a.free = <uint32_t>ALL_FREE
    _arena_enter(s, a, ARENA_OPEN)
    return a


cdef void _arena_free(slab_t* s, slab_arena_t* a) noexcept nogil:
    _arena_leave(s, a)
    cf_unpoison(a.base, SLAB_ARENA)
    map_free(a.base, SLAB_ARENA)
    free(a)


# ---- pages --------------------------------------------------------------------------------------------

cdef inline bint _has_room(const slab_page_t* p) noexcept nogil:
    return p.free != 0 or p.fresh * 8 + p.stride <= SLAB_PAGE


cdef inline char* _at(const slab_page_t* p, uint16_t place) noexcept nogil:
    return <char*>p + <size_t>place * 8


cdef void _list(slab_t* s, slab_page_t* p) noexcept nogil:
    cdef slab_page_t** head = &s.with_room[p.size >> 3]
    p.prev = NULL
    p.next = head[0]
    if p.next != NULL:
        p.next.prev = p
    head[0] = p


cdef void _unlist(slab_t* s, slab_page_t* p) noexcept nogil:
    if p.prev != NULL:
        p.prev.next = p.next
    else:
        s.with_room[p.size >> 3] = p.next
    if p.next != NULL:
        p.next.prev = p.prev


cdef slab_page_t* _page_new(slab_t* s, int cls) noexcept nogil:
    cdef slab_arena_t* a = s.arenas[ARENA_OPEN]
    cdef slab_page_t* p
    cdef int i
    if a == NULL:
        a = _arena_new(s)
        if a == NULL:
            return NULL
    i = cf_ctz64(a.free)
    a.free &= a.free - 1
    if a.free == 0:
        _arena_leave(s, a)
        _arena_enter(s, a, ARENA_FULL)
        if s.newest_full != NULL:
            merger_add(s.merger, s.newest_full.base, SLAB_ARENA)
        s.newest_full = a
    p = <slab_page_t*>(a.base + i * SLAB_PAGE)
    p.slab = s
    p.arena = a
    p.remote = 0
    p.size = cls * 8
    p.stride = p.size + SLAB_GAP
    p.free = 0
    p.fresh = HEADER / 8
    p.used = 0
    cf_poison(<char*>p + HEADER, SLAB_PAGE - HEADER)
    _list(s, p)
    s.pages += 1
    return p


cdef void _page_free(slab_t* s, slab_page_t* p) noexcept nogil:
    """An empty page, not listed, goes back to its arena and to the kernel."""
    cdef slab_arena_t* a = p.arena
    cf_unpoison(p, SLAB_PAGE)
    map_drop(p, SLAB_PAGE)
    s.pages -= 1
    if a.free == 0:
        _arena_leave(s, a)
        _arena_enter(s, a, ARENA_OPEN)
        if a == s.newest_full:
            s.newest_full = NULL
    a.free |= <uint32_t>1 << ((<char*>p - a.base) / SLAB_PAGE)
    # One open arena is kept, so that a page that comes and goes does not map and unmap.
    if a.free == <uint32_t>ALL_FREE and s.arenas[ARENA_OPEN].next != NULL:
        _arena_free(s, a)


cdef inline void _drop_empty(slab_t* s, int cls) noexcept nogil:
    """The page of a class that was kept, if it is empty."""
    cdef slab_page_t* p = s.with_room[cls]
    if p != NULL and p.used == 0:
        _unlist(s, p)
        _page_free(s, p)


cdef inline void _given_back(slab_t* s, slab_page_t* p, bint had_room) noexcept nogil:
    """Objects of p were freed: it is listed now, or gone. The last page of a class stays until slab_cron."""
    if not had_room:
        _drop_empty(s, p.size >> 3)
        _list(s, p)
    if p.used == 0 and (p.next != NULL or p.prev != NULL):
        _unlist(s, p)
        _page_free(s, p)


cdef void _take_in(slab_t* s, slab_page_t* p) noexcept nogil:
    """What other threads freed in this page."""
    cdef bint had_room = _has_room(p)
    cdef uint32_t word = cf_swap32(&p.remote, 0)
    cdef uint16_t first = word & 0xFFFF
    cdef uint16_t last = first
    p.used -= word >> 16
    s.taken_in += <size_t>(word >> 16) * p.size
    if p.used:  # else the page goes as a whole
        while p.free and cf_load16(_at(p, last)):
            last = cf_load16(_at(p, last))
        if p.free:
            cf_store16(_at(p, last), p.free)
        p.free = first
    else:
        p.free = 0
        p.fresh = HEADER / 8
        cf_poison(<char*>p + HEADER, SLAB_PAGE - HEADER)
    _given_back(s, p, had_room)


cdef bint _take_in_next(slab_t* s) noexcept nogil:
    """One page; false when there is none."""
    cdef slab_page_t* p = s.taking_in
    if p == NULL:
        p = <slab_page_t*>cf_swap_ptr(<void**>&s.remote_pages, NULL)
        if p == NULL:
            return False
    s.taking_in = p.next_remote  # before the page can be pushed again
    _take_in(s, p)
    return True


# ---- the interface ---------------------------------------------------------------------------------------

cdef slab_t* slab_new(merger_t* merger) noexcept nogil:
    cdef slab_t* s = <slab_t*>calloc(1, sizeof(slab_t))
    if s != NULL:
        s.merger = merger
    return s


cdef void slab_destroy(slab_t* s) noexcept nogil:
    cdef int list
    if s == NULL:
        return
    for list in range(ARENA_LISTS):
        while s.arenas[list] != NULL:
            _arena_free(s, s.arenas[list])
    free(s)


cdef slab_page_t* _find_room(slab_t* s, int cls) noexcept nogil:
    """A page for a class that has none with room."""
    cdef int tries = TAKE_IN
    while tries and _take_in_next(s):
        if s.with_room[cls] != NULL:
            return s.with_room[cls]
        tries -= 1
    return _page_new(s, cls)


cdef void* slab_alloc(slab_t* s, size_t n) noexcept nogil:
    cdef int cls = <int>((n + 7) >> 3)
    cdef slab_page_t* p = s.with_room[cls]
    cdef char* object
    if cf_unlikely(p == NULL):
        p = _find_room(s, cls)
        if p == NULL:
            return NULL
    if p.free:
        object = _at(p, p.free)
        cf_unpoison(object, p.size)
        p.free = cf_load16(object)
    else:
        object = _at(p, p.fresh)
        cf_unpoison(object, p.size)
        p.fresh += p.stride >> 3
    p.used += 1
    if cf_unlikely(not _has_room(p)):
        _unlist(s, p)
    return object


cdef void slab_free(void* object) noexcept nogil:
    cdef slab_page_t* p = slab_page_of(object)
    cdef bint had_room = _has_room(p)
    cf_store16(object, p.free)
    cf_poison(<char*>object + 2, p.size - 2)
    p.free = <uint16_t>((<char*>object - <char*>p) >> 3)
    p.used -= 1
    if cf_unlikely(not had_room or p.used == 0):
        _given_back(p.slab, p, had_room)


cdef void slab_free_remote(void* object) noexcept nogil:
    cdef slab_page_t* p = slab_page_of(object)
    cdef slab_t* s = p.slab
    cdef uint32_t place = <uint32_t>((<char*>object - <char*>p) >> 3)
    cdef uint32_t old = p.remote
    cdef slab_page_t* first
    cf_poison(<char*>object + 2, p.size - 2)
    while True:
        cf_store16(object, old & 0xFFFF)
        if cf_cas32(&p.remote, &old, (((old >> 16) + 1) << 16) | place):
            break
    if old:
        return
    first = s.remote_pages
    while True:
        p.next_remote = first
        if cf_cas_ptr(<void**>&s.remote_pages, <void**>&first, p):
            return


cdef void slab_cron(slab_t* s, int64_t until_us) noexcept nogil:
    cdef int cls
    for cls in range(SLAB_CLASSES):
        _drop_empty(s, cls)
    while _take_in_next(s):
        if cf_monotonic_us() >= until_us:
            return


# ---- check -----------------------------------------------------------------------------------------------

cdef int _check_page(slab_t* s, slab_arena_t* a, slab_page_t* p) noexcept nogil:
    cdef slab_page_t* listed = s.with_room[p.size >> 3]
    cdef size_t objects = p.used
    cdef uint16_t place = p.free
    if p.slab != s or p.arena != a:
        return 6
    while listed != NULL and listed != p:
        listed = listed.next
    if (listed == p) != _has_room(p):
        return 2
    while place:
        objects += 1
        place = cf_load16(_at(p, place))
    if HEADER + objects * p.stride != p.fresh * 8:
        return 3
    return 0


cdef int slab_check(slab_t* s) noexcept nogil:
    cdef size_t pages = 0
    cdef size_t bytes = 0
    cdef int list, i, wrong
    cdef slab_arena_t* a
    cdef slab_page_t* p
    for i in range(SLAB_CLASSES):
        p = s.with_room[i]
        while p != NULL:
            if p.size != i * 8 or not _has_room(p):
                return 1
            if p.used == 0 and (p.prev != NULL or p.next != NULL):
                return 8
            p = p.next
    for list in range(ARENA_LISTS):
        a = s.arenas[list]
        while a != NULL:
            if a.list != list or (a.free != 0) != (list == ARENA_OPEN):
                return 4
            pages += SLAB_PAGES - cf_popcount64(a.free)
            for i in range(SLAB_PAGES):
                if not a.free >> i & 1:
                    p = <slab_page_t*>(a.base + i * SLAB_PAGE)
                    bytes += <size_t>p.used * p.size
                    wrong = _check_page(s, a, p)
                    if wrong:
                        return wrong
            a = a.next
    if pages != s.pages:
        return 5
    return 0 if bytes == slab_bytes(s) else 7

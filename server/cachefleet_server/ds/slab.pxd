"""Small allocations without headers: slabs of equal objects, in steps of 8 bytes.

malloc spends 8 bytes on a header and rounds up to 16: an entry of a 16-byte key and an integer is 32 bytes and takes
48 there.

    arena 2 MB, aligned --> 32 pages of 64 KB, aligned --> page: header 64 | object | object | ...  (all of one class)

A page belongs to one class while it has objects. A pointer leads to its page by its upper bits, so freeing needs no
size. `with_room[c]` lists the pages of class c that can give another object; a full page is in no list. An empty page
goes back to its arena, and its memory to the kernel, at once, but for the last one of its class, which `slab_cron`
takes (values that grow through all classes would leave 4 MB behind); an empty arena is unmapped. So what is idle is
at most what lies in half-filled pages. An arena whose pages are all in use is merged into one huge page as soon as the
next one is full: until then it is still being filled.

Threads: a `slab_t` belongs to one thread. Another one may free through `slab_free_remote`: objects are pushed to their
page's `remote` list, and a page's first pushes the page to `remote_pages`; the owner takes them in by and by
(`slab_cron`, or when a class has no room). Nothing is locked.

What half-filled pages hold beyond their objects is not part of used_memory, although RSS holds it: maxmemory acts on
used_memory, and evicting a key frees its object but hardly ever a page. Counted, the slack would stay while key after
key is evicted for it. It is fragmentation, as in Valkey with jemalloc, and shown as such: INFO's allocator_active has
the pages, allocator_allocated the objects.

Cost: O(1); slab_new, slab_destroy O(arenas). Not accounted here: see zmalloc.pxd. Under ASAN what is not allocated
is poisoned, with a gap behind each object.
"""

from libc.stdint cimport int64_t, uint16_t, uint32_t, uintptr_t

from cachefleet_server.ds.merger cimport merger_t

cdef enum:
    SLAB_MAX = 512  # bytes of the largest object
    SLAB_CLASSES = SLAB_MAX / 8 + 1
    SLAB_PAGE = 64 * 1024
    SLAB_ARENA = 2 * 1024 * 1024
    SLAB_PAGES = SLAB_ARENA / SLAB_PAGE

    ARENA_OPEN = 0  # has free pages
    ARENA_FULL = 1
    ARENA_LISTS = 2

cdef struct slab_arena_t:
    char* base
    uint32_t free  # bit i: page i is not in use
    int list  # ARENA_*
    slab_arena_t* prev
    slab_arena_t* next

cdef struct slab_page_t:  # at the start of a page. Places in it are counted in 8 bytes: 0 is none
    slab_t* slab
    slab_arena_t* arena
    slab_page_t* prev  # with_room
    slab_page_t* next
    slab_page_t* next_remote  # remote_pages
    uint32_t remote  # atomic: objects freed by other threads << 16 | place of the last of them
    uint16_t size  # of an object; stride adds ASAN's gap
    uint16_t stride
    uint16_t free  # first freed object; it holds the place of the next in its first two bytes
    uint16_t fresh  # first object that was never used
    uint16_t used  # objects given out; remotely freed ones count until they are taken in

cdef struct slab_t:
    size_t given  # bytes of objects given out less those freed here; counted by zsmall_*, which know the size
    slab_page_t* with_room[SLAB_CLASSES]
    slab_arena_t* arenas[ARENA_LISTS]
    slab_page_t* remote_pages  # atomic
    slab_page_t* taking_in  # taken from remote_pages, not looked at yet
    slab_arena_t* newest_full  # not merged yet; or NULL
    merger_t* merger  # borrowed
    size_t pages
    size_t taken_in  # bytes ever freed by other threads, as far as they were taken in

cdef slab_t* slab_new(merger_t* merger) noexcept nogil  # NULL without memory
cdef void slab_destroy(slab_t* s) noexcept nogil  # with everything in it
cdef void* slab_alloc(slab_t* s, size_t n) noexcept nogil  # 0 < n <= SLAB_MAX; aligned to 8; NULL without memory
cdef void slab_free(void* p) noexcept nogil  # on the owner's thread
cdef void slab_free_remote(void* p) noexcept nogil  # on any other
cdef void slab_cron(slab_t* s, int64_t until_us) noexcept nogil
    # Frees empty pages; takes in what other threads freed, until that time of the monotonic clock and a little beyond.
cdef int slab_check(slab_t* s) noexcept nogil  # 0, or the number of the first broken invariant (see .pyx)

cdef inline slab_page_t* slab_page_of(const void* p) noexcept nogil:
    return <slab_page_t*>(<uintptr_t>p & ~<uintptr_t>(SLAB_PAGE - 1))

cdef inline size_t slab_bytes(const slab_t* s) noexcept nogil:
    """Bytes of all objects; those that other threads freed count until they are taken in."""
    return s.given - s.taken_in

cdef inline size_t slab_size(const void* p) noexcept nogil:
    """Bytes that may be used at p."""
    return slab_page_of(p).size

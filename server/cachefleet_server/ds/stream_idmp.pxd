"""What producers of a stream have sent lately, so that what they send again is not added twice (Redis 8.6).

    sidmp_t: settings, counts | producers by name
    producer: ring of siid_t, the oldest first | buckets: chains of them by hash

A producer's ids are remembered for `duration_s` from when they came, and the latest `most` of them at most, so the ring
is in order of time and only its oldest ones go. No producer has none. A chain has at most `most` ids, so its hash needs
no secret. Nobody looks at producers that send no more, so with each id that comes some others are looked at: those of
which all is over go, sooner than others come.

All of it and each producer count their owners, as groups do: streams that share them change copies.

Cost: O(log producers) for each id that comes; a new producer and a copy O(producers), a copy of one O(most).
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from cachefleet_server.ds.idtree cimport sid_t
from cachefleet_server.ds.zmalloc cimport heap_t

cdef enum:
    IDMP_DURATION_S = 100  # unless XCFGSET says otherwise
    IDMP_DURATION_S_MAX = 86400
    IDMP_MOST = 100
    IDMP_MOST_MAX = 10000

cdef struct siid_t:
    sid_t id  # of the entry that came with it
    int64_t when  # unix ms
    char* text
    uint32_t len
    uint32_t hash
    uint32_t next  # of its chain: 1 + its place in the ring; 0: none

cdef struct sproducer_t:
    size_t refs  # owners
    siid_t* ring
    uint32_t* buckets  # as `next`
    uint32_t room  # of both: a power of two, or 0
    uint32_t first  # where the oldest is
    uint32_t len
    uint32_t name_len
    char name[0]

cdef struct sidmp_t:
    size_t refs  # owners
    uint32_t duration_s
    uint32_t most
    uint64_t added  # ever
    uint64_t duplicates
    sproducer_t** producers  # by name
    uint32_t len
    uint32_t room
    uint32_t look_at  # the next one to look at

cdef inline const siid_t* idmp_at(const sproducer_t* p, uint32_t i) noexcept nogil:
    """The i-th oldest."""
    return &p.ring[(p.first + i) & (p.room - 1)]

cdef inline bint idmp_is_over(const sidmp_t* m, const siid_t* iid, int64_t now_ms) noexcept nogil:
    return now_ms - iid.when >= <int64_t>m.duration_s * 1000

cdef sidmp_t* idmp_new(heap_t* h) noexcept nogil
cdef void idmp_release(heap_t* h, sidmp_t* m) noexcept nogil  # NULL is fine
cdef sidmp_t* idmp_own(heap_t* h, sidmp_t** place) noexcept nogil  # to write; made, if there is none
cdef void idmp_clear(heap_t* h, sidmp_t* m) noexcept nogil  # settings and counts stay
cdef const siid_t* idmp_find(
    const sidmp_t* m, const char* name, size_t nn, const char* text, size_t n, int64_t now_ms) noexcept nogil
    # What this producer sent, if that is remembered.
cdef void idmp_add(
    heap_t* h, sidmp_t* m, const char* name, size_t nn, const char* text, size_t n, const sid_t* id, int64_t when,
    int64_t now_ms) noexcept nogil
    # What idmp_find does not find; it counts as no older than what the producer sent before.
cdef void idmp_count(const sidmp_t* m, int64_t now_ms, uint64_t* producers, uint64_t* iids) noexcept nogil
    # That are not over.

cdef size_t idmp_effort(const sidmp_t* m) noexcept nogil  # about how many allocations it has; 0 for NULL
cdef size_t idmp_memory(const sidmp_t* m) noexcept nogil
cdef int idmp_check(const sidmp_t* m) noexcept nogil
    # 0, or the first that is not so. 1: owners; 2: settings; 3: order of producers; 4: a ring; 5: its order; 6: a chain

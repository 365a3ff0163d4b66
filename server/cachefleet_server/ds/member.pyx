"""Making, changing and freeing elements: see member.pxd."""

from libc.string cimport memcpy

from cachefleet_server.ds.intrin cimport cf_usable_size
from cachefleet_server.ds.slab cimport SLAB_MAX, slab_size
from cachefleet_server.ds.zmalloc cimport zfree, zmalloc, zsmall_alloc, zsmall_free


cdef inline void* _alloc(heap_t* h, size_t size) noexcept nogil:
    return zsmall_alloc(h, size) if size <= SLAB_MAX else zmalloc(h, size)


cdef inline void _free(heap_t* h, void* p, size_t size) noexcept nogil:
    if size <= SLAB_MAX:
        zsmall_free(h, p)
    else:
        zfree(h, p)


cdef inline size_t _usable(const void* p, size_t size) noexcept nogil:
    return slab_size(p) if size <= SLAB_MAX else cf_usable_size(<void*>p)


cdef void* member_new(heap_t* h, int form, const char* key, size_t n, const char* value, size_t value_n) noexcept nogil:
    cdef char* p = <char*>_alloc(h, member_size_of(form, n, value_n))
    cdef char* bytes = length_write(p + member_words(form), n)
    memcpy(bytes, key, n)
    if form & MEMBER_HASH:
        memcpy(length_write(bytes + n, value_n), value, value_n)
    return p


cdef void* member_dup(heap_t* h, const void* p, int form) noexcept nogil:
    cdef size_t size = member_size(p, form)
    cdef void* fresh = _alloc(h, size)
    memcpy(fresh, p, size)
    return fresh


cdef void member_free(heap_t* h, void* p, int form) noexcept nogil:
    _free(h, p, member_size(p, form))


cdef size_t member_memory(const void* p, int form) noexcept nogil:
    return _usable(p, member_size(p, form))


cdef void* member_set_value(heap_t* h, void* p, int form, const char* value, size_t n) noexcept nogil:
    cdef size_t key_n
    cdef const char* key = member_key(p, form, &key_n)
    cdef size_t before = member_size(p, form)
    cdef size_t size = member_size_of(form, key_n, n)
    cdef size_t room = _usable(p, before)
    cdef void* fresh
    # At most an eighth may lie idle: a value that shrinks for good gives its memory back.
    if (size <= SLAB_MAX) == (before <= SLAB_MAX) and size <= room and room - size <= room / 8 + 7:
        memcpy(length_write(<char*>key + key_n, n), value, n)
        return p
    fresh = member_new(h, form, key, key_n, value, n)
    memcpy(fresh, p, member_words(form))
    _free(h, p, before)
    return fresh


cdef void* member_set_form(heap_t* h, void* p, int form, int new_form) noexcept nogil:
    cdef size_t before = member_size(p, form)
    cdef size_t skip = 8 if form & MEMBER_TTL else 0
    cdef size_t gap = 8 if new_form & MEMBER_TTL else 0
    cdef char* fresh = <char*>_alloc(h, before - skip + gap)
    memcpy(fresh + gap, <char*>p + skip, before - skip)
    _free(h, p, before)
    return fresh

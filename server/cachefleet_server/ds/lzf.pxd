"""LZF compression as RDB files use it (format only; written from the format's description)."""

cdef size_t lzf_compress(const void* src, size_t n, void* dst, size_t cap) noexcept nogil  # 0: does not fit in cap
cdef size_t lzf_decompress(const void* src, size_t n, void* dst, size_t cap) noexcept nogil  # 0: corrupt

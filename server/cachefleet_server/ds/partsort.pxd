"""The first elements of an array in their order, without sorting the rest.

Bentley and McIlroy's quicksort ("Engineering a Sort Function", 1993): the pivot is a median of three, or of three such
medians; elements that equal it are gathered at both ends and swapped into the middle. A part that holds no wanted place
is left as it is. Redis and Valkey do the same where a command has a limit, and nothing here depends on chance: so equal
elements come in the order in which they give them.

O(n + wanted log wanted) in the mean, O(n^2) at worst, which who knows the pivots can bring about; on a stack of
O(log n) in any case, since the shorter part is sorted first. Elements are words of 8 bytes.
"""

ctypedef int (*compare_t)(const void* a, const void* b) noexcept nogil  # negative, zero or positive

cdef void sort_part(void* base, size_t n, size_t size, compare_t compare, size_t first, size_t last) noexcept nogil
    # Afterwards the places `first` to `last`, both included, hold what a sorted array has there.

"""Packs of sorted sets: the order (score, then the member's bytes), bounds in it, and changes that keep it.

A bound is a place between two members: all that sort before it are in front. Binary search over the groups, then over
at most PACK_GROUP members. The rank of a member is the position where pack_find has found it.

Bounds by bytes alone (ZRANGEBYLEX) mean something only if all scores are equal. No score is NaN.
"""

from cachefleet_server.ds.pack cimport pack_at_t, pack_edit_t, pack_item_t

cdef struct pack_bound_t:
    double score
    const char* member
    size_t len
    bint by_score
    bint by_member  # with by_score: among equal scores
    bint after  # what equals the bound is in front, too

cdef void pack_bound(const char* data, size_t len, const pack_bound_t* bound, pack_at_t* at) noexcept nogil
    # The position of the first member that is not in front, which is how many are, and its offset (`value` and `next`
    # are not set): the count and the end if all are.

cdef inline void pack_score_bound(
        const char* data, size_t len, double score, bint after, pack_at_t* at) noexcept nogil:
    """Of the first member with a score of at least `score`; after: above it."""
    cdef pack_bound_t bound
    bound.score = score
    bound.member = NULL
    bound.len = 0
    bound.by_score = True
    bound.by_member = False
    bound.after = after
    pack_bound(data, len, &bound, at)

cdef inline void pack_lex_bound(
        const char* data, size_t len, const char* member, size_t n, bint after, pack_at_t* at) noexcept nogil:
    """Of the first member whose bytes are at least these; after: above them."""
    cdef pack_bound_t bound
    bound.score = 0
    bound.member = member
    bound.len = n
    bound.by_score = False
    bound.by_member = True
    bound.after = after
    pack_bound(data, len, &bound, at)

cdef size_t pack_plan_score(
    const char* data, size_t len, const pack_item_t* member, const pack_at_t* found, double score,
    pack_edit_t* edit) noexcept nogil
    # A member with its score: inserted where it belongs, or, if `found` is where pack_find has found it, re-scored,
    # which moves it in the same edit. As pack_plan_put.

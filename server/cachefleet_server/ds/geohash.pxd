"""Positions on the Earth as 52-bit numbers, in the order of a Z curve; distances; what ranges a search must look at.

    bit 51 50 49 48 ... 1 0
        lon lat lon lat  ...      26 bits each: the place in [-180, 180] and [-85.05112878, 85.05112878] (Web Mercator)

A sorted set holds such a number as a score. Its upper 2s bits name a cell of a grid of 2^s by 2^s: all positions in a
cell are one range of scores. A search takes the cell of its centre, at the step s where the cell is about as large as
the area, and the eight around it, less those that the area's bounding box does not touch: up to 9 ranges, then every
member in them is judged exactly (`geo_within`).

Redis and Valkey print distances to 4 places and give unsorted results in the order of the ranges, so what is computed
here is what they compute, operation by operation: the same Earth (a sphere of 6372797.560856 m), the haversine formula,
the same estimate of the step, the same order of ranges. Their quirks are kept: at exactly +180 or +85.05112878 the
place is 2^26, one bit too many, and the number has more than 52; a range is left out if it equals the last one before
it, but none is compared with the first. One is not kept: where the centre of a polygon is beyond 85.05112878, Valkey
looks at cells that it has not set; here all that lies in the polygon is found.

Nothing here allocates. Cost: O(1) each; a member in a range two sines, a cosine, an arcsine, or nothing where its
latitude alone is too far away (measured: 23 ns with 40 % within, Valkey 47 with its sorted set); a polygon's sides.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef enum:
    GEO_STEP_MAX = 26
    GEO_RANGES_MAX = 9
    GEO_TEXT_CHARS = 11

    GEO_CIRCLE = 0
    GEO_BOX = 1
    GEO_POLYGON = 2

cdef struct geo_point_t:
    double lon
    double lat

cdef struct geo_range_t:  # scores from `low` up to and without `high`
    uint64_t low
    uint64_t high

cdef struct geo_shape_t:
    int kind
    geo_point_t centre  # a polygon's is computed
    double unit_m  # metres in a unit of the lengths below
    double radius  # of a circle
    double width  # of a box
    double height
    const geo_point_t* vertices  # of a polygon; borrowed as long as the search is used
    size_t vertex_count  # 3 or more

cdef struct geo_search_t:
    geo_shape_t shape
    double radius_m  # of a circle, or around the rest
    double width_m
    double height_m
    double lat_rad_max  # a member whose latitude differs by more cannot be within
    double lon_rad  # of the centre
    double lat_rad
    double lat_cos
    int step
    int count
    geo_range_t ranges[GEO_RANGES_MAX]  # in the order in which peers look at them

cdef bint geo_valid(double lon, double lat) noexcept nogil  # in the ranges above; not NaN
cdef uint64_t geo_encode(double lon, double lat) noexcept nogil  # a valid position
cdef geo_point_t geo_decode(uint64_t bits) noexcept nogil  # the middle of the smallest cell
cdef uint64_t geo_bits(double score) noexcept nogil
    # Of any score, as a peer on x86 converts it: a sorted set may hold scores that are no positions.
cdef void geo_text(uint64_t bits, char* out) noexcept nogil
    # GEO_TEXT_CHARS: the geohash of the world (www.geohash.org), whose latitudes reach from -90 to 90.
cdef double geo_distance(geo_point_t a, geo_point_t b) noexcept nogil  # metres
cdef int geo_distance_text(char* out, double distance) noexcept nogil
    # As replies show it: four places, the product by 10000 rounded to even. Length; at most DOUBLE_CHARS_MAX.
cdef void geo_search(geo_search_t* search, const geo_shape_t* shape) noexcept nogil
    # What the shape, around a valid centre, needs. A polygon is a map's: straight lines between degrees, its centre the
    # mean of its corners on the sphere.
cdef bint geo_within(const geo_search_t* search, geo_point_t at, double* distance_m) noexcept nogil
    # distance_m: from the centre; set if it is within.

"""Geohash: encoding, distances, ranges of a search. The theory is in geohash.pxd."""

from libc.math cimport asin, atan2, cos, fabs, llrint, sin, sqrt

from cachefleet_server.ds.number cimport int64_to_chars

cdef extern from *:
    """
    #define GEO_LAT_MAX 85.05112878
    #define GEO_LON_MAX 180.0
    #define GEO_EARTH_M 6372797.560856
    #define GEO_MERCATOR_M 20037726.37
    #define GEO_RADIAN (M_PI / 180.0)
    /* How much farther than the limit a difference of latitudes is before it decides alone: far more than rounding. */
    #define GEO_LAT_MARGIN (1 + 1e-9)
    /* The nine cells in the order in which they are looked at: the centre's, N, S, E, W, NE, NW, SE, SW. */
    static const signed char geo_east[9] = {0, 0, 0, 1, -1, 1, -1, 1, -1};
    static const signed char geo_north[9] = {0, 1, -1, 0, 0, 1, 1, -1, -1};
    """
    const double GEO_LAT_MAX
    const double GEO_LON_MAX
    const double GEO_EARTH_M
    const double GEO_MERCATOR_M
    const double GEO_RADIAN
    const double GEO_LAT_MARGIN
    const signed char[9] geo_east
    const signed char[9] geo_north

cdef enum:
    STEPS_SUBTRACTED = 2  # so that the area is within the nine cells in nearly all cases
    LAT_POLAR = 66  # degrees: cells are narrow here, so take larger ones
    LAT_POLAR_MORE = 80

    NORTH = 1  # places among the nine
    SOUTH = 2
    EAST = 3
    WEST = 4

cdef struct cell_t:
    uint32_t x  # longitude, in cells from -180
    uint32_t y

cdef struct box_t:
    double west
    double south
    double east
    double north


# ---- numbers -------------------------------------------------------------------------------------

cdef inline uint64_t _spread(uint64_t v) noexcept nogil:
    """32 bits to the even ones of 64."""
    v = (v | v << 16) & <uint64_t>0x0000FFFF0000FFFF
    v = (v | v << 8) & <uint64_t>0x00FF00FF00FF00FF
    v = (v | v << 4) & <uint64_t>0x0F0F0F0F0F0F0F0F
    v = (v | v << 2) & <uint64_t>0x3333333333333333
    return (v | v << 1) & <uint64_t>0x5555555555555555


cdef inline uint32_t _gather(uint64_t v) noexcept nogil:
    """And back."""
    v &= <uint64_t>0x5555555555555555
    v = (v | v >> 1) & <uint64_t>0x3333333333333333
    v = (v | v >> 2) & <uint64_t>0x0F0F0F0F0F0F0F0F
    v = (v | v >> 4) & <uint64_t>0x00FF00FF00FF00FF
    v = (v | v >> 8) & <uint64_t>0x0000FFFF0000FFFF
    return <uint32_t>(v | v >> 16)


cdef inline uint32_t _place(double v, double max, int step) noexcept nogil:
    """In [-max, max], in 2^step parts. The upper end is a part of its own."""
    return <uint32_t>((v + max) / (max + max) * (<uint64_t>1 << step))


cdef inline double _edge(uint64_t place, double max, int step) noexcept nogil:
    """The lower end of a part."""
    return -max + <double>place / (<uint64_t>1 << step) * (max + max)


cdef inline double _middle(uint32_t place, double max) noexcept nogil:
    cdef double v = (_edge(place, max, GEO_STEP_MAX) + _edge(<uint64_t>place + 1, max, GEO_STEP_MAX)) / 2
    if v > max:
        return max
    return -max if v < -max else v


cdef bint geo_valid(double lon, double lat) noexcept nogil:
    return -GEO_LON_MAX <= lon <= GEO_LON_MAX and -GEO_LAT_MAX <= lat <= GEO_LAT_MAX


cdef uint64_t geo_encode(double lon, double lat) noexcept nogil:
    return _spread(_place(lat, GEO_LAT_MAX, GEO_STEP_MAX)) | _spread(_place(lon, GEO_LON_MAX, GEO_STEP_MAX)) << 1


cdef geo_point_t geo_decode(uint64_t bits) noexcept nogil:
    cdef geo_point_t at
    at.lon = _middle(_gather(bits >> 1), GEO_LON_MAX)
    at.lat = _middle(_gather(bits), GEO_LAT_MAX)
    return at


cdef uint64_t geo_bits(double score) noexcept nogil:
    cdef double half = 9223372036854775808.0  # 2^63
    if -half <= score < half:
        return <uint64_t><int64_t>score
    if half <= score < 2 * half:
        return <uint64_t><int64_t>(score - half) ^ <uint64_t>1 << 63
    return 0 if score > 0 else <uint64_t>1 << 63


cdef void geo_text(uint64_t bits, char* out) noexcept nogil:
    cdef const char* alphabet = b"0123456789bcdefghjkmnpqrstuvwxyz"
    cdef geo_point_t at = geo_decode(bits)
    cdef int i
    bits = _spread(_place(at.lat, 90, GEO_STEP_MAX)) | _spread(_place(at.lon, GEO_LON_MAX, GEO_STEP_MAX)) << 1
    for i in range(GEO_TEXT_CHARS - 1):
        out[i] = alphabet[bits >> (2 * GEO_STEP_MAX - 5 * (i + 1)) & 31]
    out[GEO_TEXT_CHARS - 1] = c"0"  # 52 bits are 10 characters and a rest, which peers do not print


# ---- distances -----------------------------------------------------------------------------------

cdef inline double _haversine(double lon_rad, double lat_rad, double lat_cos, double lon2_rad, double lat2_rad) \
        noexcept nogil:
    cdef double v = sin((lon2_rad - lon_rad) / 2)
    cdef double u
    if v == 0:
        return GEO_EARTH_M * fabs(lat2_rad - lat_rad)
    u = sin((lat2_rad - lat_rad) / 2)
    return 2.0 * GEO_EARTH_M * asin(sqrt(u * u + lat_cos * cos(lat2_rad) * v * v))


cdef double geo_distance(geo_point_t a, geo_point_t b) noexcept nogil:
    cdef double lat_rad = a.lat * GEO_RADIAN
    return _haversine(a.lon * GEO_RADIAN, lat_rad, cos(lat_rad), b.lon * GEO_RADIAN, b.lat * GEO_RADIAN)


cdef int geo_distance_text(char* out, double distance) noexcept nogil:
    cdef double scaled = distance * 10000
    cdef int64_t value
    cdef int n, i
    if not scaled < 9e18:  # no distance on the Earth, even in units of a millimetre
        return 0
    value = llrint(scaled)
    n = int64_to_chars(out, value // 10000)
    value %= 10000
    out[n] = c"."
    for i in range(4, 0, -1):
        out[n + i] = c"0" + value % 10
        value //= 10
    return n + 5


cdef bint geo_within(const geo_search_t* search, geo_point_t at, double* distance_m) noexcept nogil:
    cdef double lat_rad = at.lat * GEO_RADIAN
    cdef double lon_rad = at.lon * GEO_RADIAN
    cdef double lat_cos
    if fabs(lat_rad - search.lat_rad) > search.lat_rad_max:
        return False
    if search.shape.kind == GEO_BOX:
        if GEO_EARTH_M * fabs(lat_rad - search.lat_rad) > search.height_m / 2:
            return False
        lat_cos = cos(lat_rad)
        if _haversine(lon_rad, lat_rad, lat_cos, search.lon_rad, lat_rad) > search.width_m / 2:
            return False
    elif search.shape.kind == GEO_POLYGON and not _inside(&search.shape, at):
        return False
    distance_m[0] = _haversine(search.lon_rad, search.lat_rad, search.lat_cos, lon_rad, lat_rad)
    return search.shape.kind != GEO_CIRCLE or not distance_m[0] > search.radius_m


cdef bint _inside(const geo_shape_t* shape, geo_point_t at) noexcept nogil:
    """A line to the east crosses an odd number of the polygon's sides."""
    cdef const geo_point_t* a = &shape.vertices[shape.vertex_count - 1]
    cdef const geo_point_t* b
    cdef bint inside = False
    cdef size_t i
    for i in range(shape.vertex_count):
        b = &shape.vertices[i]
        if (b.lat > at.lat) != (a.lat > at.lat):
            if at.lon < (a.lon - b.lon) * (at.lat - b.lat) / (a.lat - b.lat) + b.lon:
                inside = not inside
        a = b
    return inside


# ---- what a search looks at ----------------------------------------------------------------------

cdef int _step_for(double radius_m, double lat) noexcept nogil:
    """Cells of about the radius."""
    cdef int step = 1
    if radius_m == 0:
        return GEO_STEP_MAX
    while radius_m < GEO_MERCATOR_M:
        radius_m *= 2
        step += 1
    step -= STEPS_SUBTRACTED
    if fabs(lat) > LAT_POLAR:
        step -= 1
    if fabs(lat) > LAT_POLAR_MORE:
        step -= 1
    return min(max(step, 1), <int>GEO_STEP_MAX)


cdef box_t _bounds(const geo_shape_t* shape) noexcept nogil:
    """Degrees that the shape reaches to; beyond the poles or the date line, if it does. A parallel on the side of the
    pole is the shorter one, so the shape reaches over more degrees there."""
    cdef double lon = shape.centre.lon
    cdef double lat = shape.centre.lat
    cdef double height_m = shape.unit_m * (shape.height / 2 if shape.kind == GEO_BOX else shape.radius)
    cdef double width_m = shape.unit_m * (shape.width / 2 if shape.kind == GEO_BOX else shape.radius)
    cdef double lat_delta = height_m / GEO_EARTH_M / GEO_RADIAN
    cdef double parallel = (lat - lat_delta if lat < 0 else lat + lat_delta) * GEO_RADIAN
    cdef double lon_delta = width_m / GEO_EARTH_M / cos(parallel) / GEO_RADIAN
    return box_t(lon - lon_delta, lat - lat_delta, lon + lon_delta, lat + lat_delta)


cdef box_t _polygon_bounds(geo_shape_t* shape, double* radius_m) noexcept nogil:
    """Also its centre, and a radius around that which holds the box."""
    cdef box_t box = box_t(GEO_LON_MAX, GEO_LAT_MAX, -GEO_LON_MAX, -GEO_LAT_MAX)
    cdef const geo_point_t* at
    cdef double x = 0
    cdef double y = 0
    cdef double z = 0
    cdef double lat_cos
    cdef size_t i
    for i in range(shape.vertex_count):
        at = &shape.vertices[i]
        box = box_t(min(box.west, at.lon), min(box.south, at.lat), max(box.east, at.lon), max(box.north, at.lat))
        lat_cos = cos(at.lat * GEO_RADIAN)
        x += lat_cos * cos(at.lon * GEO_RADIAN)
        y += lat_cos * sin(at.lon * GEO_RADIAN)
        z += sin(at.lat * GEO_RADIAN)
    shape.centre.lon = atan2(y, x) / GEO_RADIAN
    shape.centre.lat = atan2(z, sqrt(x * x + y * y)) / GEO_RADIAN
    radius_m[0] = max(
        max(geo_distance(shape.centre, geo_point_t(box.west, box.north)),
            geo_distance(shape.centre, geo_point_t(box.east, box.north))),
        max(geo_distance(shape.centre, geo_point_t(box.west, box.south)),
            geo_distance(shape.centre, geo_point_t(box.east, box.south))))
    return box


cdef inline cell_t _neighbour(cell_t cell, int east, int north, int step) noexcept nogil:
    """Around the world, in both directions. A place that is not moved keeps its bit too many."""
    cdef uint32_t mask = (<uint32_t>1 << step) - 1
    if east:
        cell.x = (cell.x + east) & mask
    if north:
        cell.y = (cell.y + north) & mask
    return cell


cdef void _cells(cell_t* cells, const geo_shape_t* shape, int step) noexcept nogil:
    """The centre's, and those around it."""
    cdef int i
    # A polygon's centre may be nearer to a pole than any position. Peers then look at cells at random.
    cdef double lat = max(-GEO_LAT_MAX, min(shape.centre.lat, GEO_LAT_MAX))
    cells[0].x = _place(shape.centre.lon, GEO_LON_MAX, step)
    cells[0].y = _place(lat, GEO_LAT_MAX, step)
    for i in range(1, GEO_RANGES_MAX):
        cells[i] = _neighbour(cells[0], geo_east[i], geo_north[i], step)


cdef bint _cover(const cell_t* cells, const box_t* box, int step) noexcept nogil:
    """The cells north, south, east and west of the centre reach at least as far as the box."""
    return not (
        _edge(<uint64_t>cells[NORTH].y + 1, GEO_LAT_MAX, step) < box.north
        or _edge(cells[SOUTH].y, GEO_LAT_MAX, step) > box.south
        or _edge(<uint64_t>cells[EAST].x + 1, GEO_LON_MAX, step) < box.east
        or _edge(cells[WEST].x, GEO_LON_MAX, step) > box.west
    )


cdef inline bint _touched(const cell_t* centre, int i, const box_t* box, int step) noexcept nogil:
    """The box reaches beyond the centre's cell on the side where cell i is."""
    return not (
        (geo_north[i] < 0 and _edge(centre.y, GEO_LAT_MAX, step) < box.south)
        or (geo_north[i] > 0 and _edge(<uint64_t>centre.y + 1, GEO_LAT_MAX, step) > box.north)
        or (geo_east[i] < 0 and _edge(centre.x, GEO_LON_MAX, step) < box.west)
        or (geo_east[i] > 0 and _edge(<uint64_t>centre.x + 1, GEO_LON_MAX, step) > box.east)
    )


cdef void geo_search(geo_search_t* search, const geo_shape_t* shape) noexcept nogil:
    cdef cell_t cells[GEO_RANGES_MAX]
    cdef box_t box
    cdef uint64_t bits
    cdef int i, shift
    cdef int last = 0  # the cell of the last range, but for the centre's
    search.shape = shape[0]
    shape = &search.shape
    search.radius_m = shape.radius * shape.unit_m
    search.width_m = shape.width * shape.unit_m
    search.height_m = shape.height * shape.unit_m
    if shape.kind == GEO_POLYGON:
        box = _polygon_bounds(&search.shape, &search.radius_m)
    else:
        box = _bounds(shape)
    if shape.kind == GEO_BOX:
        search.radius_m = sqrt(
            (shape.width / 2) * (shape.width / 2) + (shape.height / 2) * (shape.height / 2)) * shape.unit_m
    search.lon_rad = shape.centre.lon * GEO_RADIAN
    search.lat_rad = shape.centre.lat * GEO_RADIAN
    search.lat_cos = cos(search.lat_rad)
    search.lat_rad_max = search.radius_m / GEO_EARTH_M * GEO_LAT_MARGIN
    search.step = _step_for(search.radius_m, shape.centre.lat)
    _cells(cells, shape, search.step)
    if search.step > 1 and not _cover(cells, &box, search.step):
        search.step -= 1
        _cells(cells, shape, search.step)
    shift = 2 * (GEO_STEP_MAX - search.step)
    search.count = 0
    for i in range(GEO_RANGES_MAX):
        if search.step > 1 and not _touched(&cells[0], i, &box, search.step):
            continue
        if last and cells[i].x == cells[last].x and cells[i].y == cells[last].y:
            continue
        bits = _spread(cells[i].y) | _spread(cells[i].x) << 1
        search.ranges[search.count] = geo_range_t(bits << shift, (bits + 1) << shift)
        search.count += 1
        last = i

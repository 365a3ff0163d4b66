"""Random commands of positions; see grammar.py."""

from __future__ import annotations

from math import atan2, cos, degrees, hypot, radians, sin
from typing import TYPE_CHECKING

from fleettest.grammar_words import Word, words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fleettest.grammar import Draw

CITIES = [(b"13.361389", b"38.115556"), (b"15.087269", b"37.502669"), (b"-0.1278", b"51.5074"), (b"179.9", b"-84.9")]
METRES = {b"m": 1.0, b"KM": 1000.0, b"ft": 0.3048, b"mi": 1609.34}


def geo_key(draw: Draw) -> Word:
    return draw.key_of(18)


def place(draw: Draw) -> list[Word]:
    kind = draw.rng.random()
    if kind < 0.3:
        return list(draw.rng.choice(CITIES))
    if kind < 0.6:
        return [b"%.9f" % draw.rng.gauss(13.4, 0.5), b"%.9f" % draw.rng.gauss(38.1, 0.5)]
    if kind < 0.95:
        return [b"%.9f" % draw.rng.uniform(-180, 180), b"%.9f" % draw.rng.uniform(-85, 85)]
    return [draw.pick(b"180", b"-180", b"181", b"a", b"nan", b"1e300"), draw.pick(b"85.05112878", b"90", b"-inf", b"")]


def over_a_pole(corners: Sequence[tuple[float, float]]) -> bool:
    """A polygon's middle is beyond the positions' last latitude: a peer then looks at cells that it has not set."""
    x = sum(cos(radians(lat)) * cos(radians(lon)) for lon, lat in corners)
    y = sum(cos(radians(lat)) * sin(radians(lon)) for lon, lat in corners)
    return abs(degrees(atan2(sum(sin(radians(lat)) for _, lat in corners), hypot(x, y)))) > 85


def polygon(draw_place: Callable[[], Sequence[Word]], corners: int) -> list[Word]:
    """Words of places whose middle is not over a pole; what is no number is left to the servers."""
    while True:
        words = [word for _ in range(corners) for word in draw_place()]
        try:
            numbers = [float(word) for word in words]
            if not over_a_pole(list(zip(numbers[::2], numbers[1::2], strict=True))):
                return words
        except ValueError:
            return words


def city(draw: Draw) -> Word:
    return b"m%d" % draw.rng.randrange(40) if draw.chance(0.9) else draw.value()


def placed(draw: Draw) -> list[Word]:
    """Now and then so many that the sorted set is a large one."""
    count = draw.rng.choice([1, 1, 2, 5, 20])
    made = [word for _ in range(count) for word in (*place(draw), city(draw))]
    return made if draw.chance(0.97) else made[:-1]


def add_options(draw: Draw) -> list[Word]:
    return draw.some(0.3, lambda: [draw.pick(b"NX", b"xx")], lambda: [b"CH"], lambda: [b"XX"])


def unit(draw: Draw) -> Word:
    return draw.rng.choice(list(METRES)) if draw.chance(0.95) else draw.pick(b"", b"x", b"KMS")


def lengths(draw: Draw, count: int) -> list[Word]:
    """So many, and their unit."""
    name = unit(draw)
    made = [b"%.6f" % (10 ** draw.rng.uniform(2, 7.3) / METRES.get(name, 1.0)) for _ in range(count)]
    if draw.chance(0.05):
        made[-1] = draw.pick(b"-1", b"a", b"", b"0", b"1e300", b"inf")
    return [*made, name]


def radius(draw: Draw) -> list[Word]:
    return lengths(draw, 1)


def centre(draw: Draw) -> list[Word]:
    return [b"FROMMEMBER", city(draw)] if draw.chance(0.5) else [b"fromlonlat", *place(draw)]


def area(draw: Draw) -> list[Word]:
    if draw.chance(0.1):
        corners = draw.rng.randrange(2, 6)
        return [b"BYPOLYGON", b"%d" % corners, *polygon(lambda: place(draw), corners)]
    shape = [b"BYRADIUS", *radius(draw)] if draw.chance(0.5) else [b"bybox", *lengths(draw, 2)]
    return [*centre(draw), *shape] if draw.chance(0.95) else [*shape, *centre(draw)]


def order(draw: Draw) -> list[Word]:
    any_ = [b"ANY"] if draw.chance(0.3) else []
    return draw.some(0.4, lambda: [draw.pick(b"ASC", b"desc")], lambda: [b"COUNT", draw.count(), *any_], lambda: any_)


def shown(draw: Draw) -> list[Word]:
    return draw.some(0.3, lambda: [b"WITHDIST"], lambda: [b"withcoord"], lambda: [b"WITHHASH"])


def stored(draw: Draw) -> list[Word]:
    return [draw.pick(b"STORE", b"storedist"), geo_key(draw)] if draw.chance(0.9) else shown(draw)


def stored_distance(draw: Draw) -> list[Word]:
    return draw.some(0.4, lambda: [b"STOREDIST"])


def cities(draw: Draw) -> list[Word]:
    return [city(draw) for _ in range(draw.rng.randrange(4))]


def some_unit(draw: Draw) -> list[Word]:
    return draw.some(0.6, lambda: [unit(draw)])


GEO_WRITES = [
    words(b"GEOADD", geo_key, placed),
    words(b"GEOADD", geo_key, placed),
    words(b"GEOADD", geo_key, add_options, placed),
    words(b"GEOSEARCHSTORE", geo_key, geo_key, area, order, stored_distance),
    words(b"GEORADIUS", geo_key, place, radius, order, stored),
    words(b"GEORADIUSBYMEMBER", geo_key, city, radius, order, stored),
]
GEO_READS = [
    words(b"GEOPOS", geo_key, cities),
    words(b"GEOHASH", geo_key, cities),
    words(b"GEODIST", geo_key, city, city, some_unit),
    words(b"GEOSEARCH", geo_key, area, order, shown),
    words(b"GEOSEARCH", geo_key, area, order, shown),
    words(b"GEORADIUS", geo_key, place, radius, order, shown),
    words(b"GEORADIUS_RO", geo_key, place, radius, order, shown),
    words(b"GEORADIUSBYMEMBER", geo_key, city, radius, order, shown),
    words(b"GEORADIUSBYMEMBER_RO", geo_key, city, radius, order, shown),
]

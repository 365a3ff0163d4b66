"""Geo commands against the real Valkey, byte for byte, in both protocols."""

from __future__ import annotations

import random

import pytest

from fleettest.client import Arg
from fleettest.grammar_geo import polygon
from fleettest.reference import Pair
from fleettest.scripts import both_ways, script

pytestmark = [pytest.mark.server, pytest.mark.differential]

CITIES: list[list[Arg]] = [
    ["SET", "str", "x"],
    ["GEOADD", "g", 13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania"],
]
SCRIPTS = {
    "add": """
        GEOADD g
        GEOADD g 1 2
        GEOADD g NX XX 1
        GEOADD g NX XX 1 2 m
        GEOADD g CH CH CH
        GEOADD g 1 2 m 3
        GEOADD g a 2 m
        GEOADD g 1 b m
        GEOADD g 200 2 m
        GEOADD g 1e308 -1e308 m
        GEOADD g inf 2 m
        GEOADD g nan 2 m
        GEOADD g 1 2 m 181 5 n
        GEOADD g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania
        GEOADD g CH 13.361389 38.115556 Palermo 15.087269 37.502668 Catania
        GEOADD g NX CH 1 1 Palermo
        GEOADD g XX CH 1 1 new
        GEOADD nog XX 1 1 new
        GEOADD str 1 2 m
        GEOADD str a 2 m
        ZRANGE g 0 -1 WITHSCORES
    """,
    "members": """
        GEODIST g Palermo
        GEODIST g Palermo Catania
        GEODIST g Palermo Catania KM
        GEODIST g Palermo Catania x
        GEODIST g Palermo Catania km x
        GEODIST nog a b x
        GEODIST str a b
        GEODIST g a Catania
        GEODIST nog a b
        GEOPOS g
        GEOPOS g Palermo x
        GEOPOS nog a b
        GEOPOS str a
        GEOHASH g
        GEOHASH g Palermo x
        GEOHASH nog a b
        GEOHASH str a
    """,
    "radius": """
        GEORADIUS g 15 37 200 km
        GEORADIUS g 15 37 200
        GEORADIUS g 15 37 x km
        GEORADIUS g 15 37 -1 km
        GEORADIUS g 15 37 1 q
        GEORADIUS g 15 a 1 q
        GEORADIUS g 15 337 1 q
        GEORADIUS nog 15 337 1 q
        GEORADIUS nog 15 37 1 q
        GEORADIUS str 15 37 1 q
        GEORADIUS g 15 37 200 km WITHDIST
        GEORADIUS g 15 37 200 km WITHHASH WITHCOORD WITHDIST
        GEORADIUS g 15 37 200 km COUNT
        GEORADIUS g 15 37 200 km COUNT a
        GEORADIUS g 15 37 200 km COUNT 0
        GEORADIUS g 15 37 200 km COUNT -1
        GEORADIUS g 15 37 200 km COUNT 1
        GEORADIUS g 15 37 200 km COUNT 1 ANY
        GEORADIUS g 15 37 200 km ANY
        GEORADIUS g 15 37 200 km ANY COUNT 1
        GEORADIUS g 15 37 200 km DESC
        GEORADIUS g 15 37 200 km DESC ASC
        GEORADIUS g 15 37 200 km STORE
        GEORADIUS g 15 37 200 km STORE d
        ZRANGE d 0 -1 WITHSCORES
        GEORADIUS g 15 37 200 km STOREDIST d
        ZRANGE d 0 -1 WITHSCORES
        GEORADIUS g 15 37 200 km STORE d WITHDIST
        GEORADIUS g 15 37 200 km STORE d STOREDIST d2
        GEORADIUS g 15 37 200 km STOREDIST d STORE d2
        GEORADIUS nog 15 37 200 km STORE d
        GEORADIUS g 15 37 200 km STORE d COUNT 1 DESC
        ZRANGE d 0 -1
        GEORADIUS g 15 37 200 km FOO
        GEORADIUS g 15 37 200 km FROMMEMBER Palermo
        GEORADIUS_RO g 15 37 200 km STORE d
        GEORADIUS_RO g 15 37 200 km
        GEORADIUSBYMEMBER g Palermo 200 km WITHDIST
        GEORADIUSBYMEMBER g x 200 km WITHDIST
        GEORADIUSBYMEMBER nog x 200 km WITHDIST
        GEORADIUSBYMEMBER nog x 200 q WITHDIST
        GEORADIUSBYMEMBER g x a km WITHDIST
        GEORADIUSBYMEMBER nog x 200 km FOO
        GEORADIUSBYMEMBER nog x 200 km STORE d
        GEORADIUSBYMEMBER_RO g Palermo 200 km STORE d
    """,
    "search": """
        GEOSEARCH g
        GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km
        GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200
        GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km ASC
        GEOSEARCH g FROMLONLAT 15 37 FROMMEMBER Palermo BYRADIUS 200 km
        GEOSEARCH g FROMMEMBER Palermo FROMLONLAT 15 37 BYRADIUS 200 km
        GEOSEARCH g FROMMEMBER Palermo FROMMEMBER Palermo BYRADIUS 200 km
        GEOSEARCH g FROMLONLAT 15 37 FROMLONLAT 15 37 BYRADIUS 200 km
        GEOSEARCH g FROMMEMBER x BYRADIUS 200 km
        GEOSEARCH nog FROMMEMBER x BYRADIUS 200 km
        GEOSEARCH nog FROMMEMBER x BYRADIUS 200 km FROMLONLAT 1 2
        GEOSEARCH nog FROMMEMBER x BYRADIUS 200 q
        GEOSEARCH g FROMMEMBER Palermo
        GEOSEARCH g FROMMEMBER Palermo ASC COUNT 1
        GEOSEARCH g BYRADIUS 200 km ASC COUNT 1
        GEOSEARCH g BYRADIUS 200 km BYBOX 1 1 km
        GEOSEARCH g FROMMEMBER Palermo BYRADIUS 200 km BYBOX 1 1 km
        GEOSEARCH g FROMMEMBER Palermo BYBOX 1 1 km BYRADIUS 200 km
        GEOSEARCH g FROMMEMBER Palermo BYBOX 1 1 km BYBOX 1 1 km
        GEOSEARCH g FROMMEMBER Palermo BYRADIUS 1 km BYRADIUS 1 km
        GEOSEARCH g FROMMEMBER Palermo BYBOX a 1 km
        GEOSEARCH g FROMMEMBER Palermo BYBOX 1 a km
        GEOSEARCH g FROMMEMBER Palermo BYBOX -1 1 km
        GEOSEARCH g FROMMEMBER Palermo BYBOX 1 -1 q
        GEOSEARCH g FROMMEMBER Palermo BYBOX 1 1 q
        GEOSEARCH g FROMMEMBER Palermo BYBOX 1 1
        GEOSEARCH g FROMMEMBER Palermo BYBOX 400 400 km WITHDIST WITHHASH WITHCOORD DESC
        GEOSEARCH g FROMMEMBER Palermo BYRADIUS 400 km STORE d
        GEOSEARCH g FROMMEMBER Palermo BYRADIUS 400 km STOREDIST
        GEOSEARCH g FROMMEMBER Palermo BYRADIUS 400 km ANY
        GEOSEARCH g FROMMEMBER Palermo BYRADIUS 400 km COUNT 0
        GEOSEARCH g BYPOLYGON
        GEOSEARCH g BYPOLYGON 3
        GEOSEARCH g BYPOLYGON 3 10 30 10 40 20
        GEOSEARCH g BYPOLYGON 3 10 30 10 40 20 40
        GEOSEARCH g BYPOLYGON 3 10 30 10 40 20 40 WITHDIST
        GEOSEARCH g BYPOLYGON 3 10 30 10 40 20 40 30
        GEOSEARCH g BYPOLYGON 2 10 30 10 40
        GEOSEARCH g BYPOLYGON 0 10 30 10 40
        GEOSEARCH g BYPOLYGON -1 10 30 10 40
        GEOSEARCH g BYPOLYGON a 10 30 10 40 20 40
        GEOSEARCH g BYPOLYGON 3 a 30 10 40 20 40
        GEOSEARCH g BYPOLYGON 3 10 300 10 40 20 40
        GEOSEARCH g BYPOLYGON 9223372036854775807 10 300 10 40 20 40
        GEOSEARCH g BYPOLYGON 4611686018427387905 10 300 10 40 20 40
        GEOSEARCH g FROMMEMBER Palermo BYPOLYGON 3 10 30 10 40 20 40
        GEOSEARCH g FROMMEMBER x BYPOLYGON 3 10 30 10 40 20 40
        GEOSEARCH nog FROMMEMBER x BYPOLYGON 3 10 30 10 40 20 40
        GEOSEARCH g FROMLONLAT 1 1 BYPOLYGON 3 10 30 10 40 20 40
        GEOSEARCH g BYPOLYGON 3 10 30 10 40 20 40 FROMLONLAT 1 1
        GEOSEARCH g BYPOLYGON 3 10 30 10 40 20 40 FROMMEMBER Palermo
        GEOSEARCH g BYPOLYGON 3 10 30 10 40 20 40 BYRADIUS 1 km
        GEOSEARCH g BYPOLYGON 3 10 30 10 40 20 40 BYBOX 1 1 km
        GEOSEARCH g BYRADIUS 1 km BYPOLYGON 3 10 30 10 40 20 40
        GEOSEARCH g FROMLONLAT 1 1 BYRADIUS 1 km BYPOLYGON 3 10 30 10 40 20 40
        GEOSEARCH g BYPOLYGON 3 10 30 10 40 20 40 BYPOLYGON 3 10 30 10 40 20 40
        GEOSEARCH nog BYPOLYGON 3 10 30 10 40 20 40
        GEOSEARCHSTORE d g
        GEOSEARCHSTORE d g FROMMEMBER Palermo BYRADIUS 400 km
        ZRANGE d 0 -1 WITHSCORES
        GEOSEARCHSTORE d g FROMMEMBER Palermo BYRADIUS 400 km STOREDIST
        ZRANGE d 0 -1 WITHSCORES
        GEOSEARCHSTORE d g FROMMEMBER Palermo BYRADIUS 400 km WITHDIST
        GEOSEARCHSTORE d g FROMMEMBER Palermo BYRADIUS 400 km STORE x
        GEOSEARCHSTORE d g FROMMEMBER Palermo BYPOLYGON 3 10 30 10 40 20 40
        GEOSEARCHSTORE d g BYPOLYGON 3 10 30 10 40 20 40
        GEOSEARCHSTORE d g BYPOLYGON 3 10 30 10 40 20 40 STOREDIST
        ZRANGE d 0 -1 WITHSCORES
        GEOSEARCHSTORE d nog FROMMEMBER Palermo BYRADIUS 400 km
        GEOSEARCHSTORE d nog FROMLONLAT 1 1 BYRADIUS 400 km
        EXISTS d
        GEOSEARCHSTORE d str FROMLONLAT 1 1 BYRADIUS 400 km
        GEOSEARCHSTORE d str FROMLONLAT 1 1 BYRADIUS 400 q
        GEOSEARCHSTORE str g FROMMEMBER Palermo BYRADIUS 400 km
        TYPE str
    """,
    "more": """
        geosearch g BYPOLYGON 2 10 30 10 40
        GEOSEARCHSTORE d g BYPOLYGON 2 10 30 10 40 20
        GEOSEARCH g BYPOLYGON 4 10 30 10 40 20 40
        GEOSEARCH g BYPOLYGON 2147483648 10 30 10 40 20 40
        GEOSEARCH g BYPOLYGON -9223372036854775808 10 30 10 40 20 40
        geosearch g ASC COUNT 1 ANY WITHDIST
        geosearch g FROMMEMBER Palermo ASC COUNT 1 ANY
        GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 1e300 km
        GEOSEARCH g FROMLONLAT 15 37 BYRADIUS inf km WITHDIST
        GEOSEARCH g FROMLONLAT 15 37 BYRADIUS nan km
        GEOSEARCH g FROMLONLAT 180 85.05112878 BYRADIUS 5000 mi WITHDIST ASC
        GEOSEARCH g FROMLONLAT -180 -85.05112878 BYBOX 50000 50000 km WITHDIST DESC
        ZADD z 1 a -5 b 1e300 c 3479447370796909 Catania inf d
        GEOPOS z a b c d
        GEOHASH z a b c d
        GEODIST z a b
        GEORADIUS z 15 37 5000 km WITHHASH
        GEORADIUS g 15 37 200 km STORE g
        ZRANGE g 0 -1 WITHSCORES
        EXPIRE g 1000
        GEOSEARCHSTORE g g FROMLONLAT 15 37 BYRADIUS 100 km
        ZRANGE g 0 -1
        TTL g
        GEOSEARCHSTORE g g FROMLONLAT 0 0 BYRADIUS 1 km
        EXISTS g
        GEOADD big NX CH 1 1 a 2 2 b 3 3 c
        GEOADD big NX XX 1 1 a 2 2 b
        GEOADD big xx ch 1 2 a 2 2 b 3 4 d
        OBJECT ENCODING big
        GEORADIUSBYMEMBER big a 1000 km COUNT 2 ASC WITHDIST
        GEORADIUSBYMEMBER_RO big a 1000 km DESC WITHCOORD
    """,
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_script(pair: Pair, name: str) -> None:
    both_ways(pair, [*CITIES, *script(SCRIPTS[name])])


def place(rng: random.Random) -> tuple[float, float]:
    if rng.random() < 0.5:
        return rng.gauss(13.4, 0.3), rng.gauss(38.1, 0.3)
    return rng.uniform(-180, 180), rng.uniform(-85, 85)


@pytest.mark.parametrize("members", [30, 700])
def test_random_searches(pair: Pair, rng: random.Random, members: int) -> None:
    """In both forms of a sorted set: all options, distances to the last digit, order and what is stored."""
    pair.flush()
    pair.pipeline([["GEOADD", "g", *map(repr, place(rng)), f"m{i}"] for i in range(members)])
    for _ in range(150):
        centre: list[Arg] = ["FROMMEMBER", f"m{rng.randrange(members)}"]
        if rng.random() < 0.5:
            centre = ["FROMLONLAT", *map(repr, place(rng))]
        unit = rng.choice(["m", "km", "ft", "MI"])
        size = repr(10 ** rng.uniform(2, 7.3) / {"m": 1, "km": 1000, "ft": 0.3, "MI": 1609}[unit])
        area: list[Arg] = ["BYRADIUS", size, unit] if rng.random() < 0.5 else ["BYBOX", size, size, unit]
        if rng.random() < 0.2:
            corners = rng.randrange(3, 7)
            centre, area = [], ["BYPOLYGON", corners, *polygon(lambda: [b"%r" % v for v in place(rng)], corners)]
        count = rng.choice([[], [], ["COUNT", 3], ["COUNT", 5, "ANY"], ["COUNT", 50, "ANY"]])
        shown = rng.sample(["WITHDIST", "WITHHASH", "WITHCOORD"], rng.randrange(4))
        order = rng.choice([[], ["ASC"], ["DESC"]])
        pair.run("GEOSEARCH", "g", *centre, *area, *count, *order, *shown)
        pair.run("GEOSEARCHSTORE", "d", "g", *centre, *area, *count, *order, *rng.choice([[], ["STOREDIST"]]))
        pair.run("ZRANGE", "d", 0, -1, "WITHSCORES")
        pair.run("OBJECT", "ENCODING", "d") if pair.run("EXISTS", "d") else None
        lon, lat = map(repr, place(rng))
        pair.run("GEORADIUS", "g", lon, lat, size, unit, *count, *order, *shown)
        pair.run("GEORADIUSBYMEMBER_RO", "g", f"m{rng.randrange(members)}", size, unit, *count, *order, *shown)


@pytest.mark.parametrize("members", [6, 7, 8, 41, 200])
@pytest.mark.parametrize("places", [1, 3, 30])
def test_the_order_of_equal_distances(pair: Pair, rng: random.Random, members: int, places: int) -> None:
    """Members that share a place come in Valkey's order, whatever a limit leaves out."""
    pair.flush()
    spots = [(rng.uniform(13, 14), rng.uniform(38, 39)) for _ in range(places)]
    pair.pipeline([["GEOADD", "g", *map(repr, rng.choice(spots)), f"m{i}"] for i in range(members)])
    for count in (1, 3, members // 2, members - 1, members, members + 1):
        for order in ("ASC", "DESC"):
            pair.run("GEOSEARCH", "g", "FROMLONLAT", 13.5, 38.5, "BYRADIUS", 500, "km", "COUNT", count, order)


@pytest.mark.parametrize(
    "command",
    [
        *("GEOADD g 1 1 new", "GEOADD g 15.087269 37.502669 Catania", "GEOADD g NX 1 1 Catania", "GEOADD d XX 1 1 x"),
        *("GEORADIUS g 15 37 200 km STORE d", "GEORADIUS g 0 0 1 m STORE d", "GEORADIUS g 15 37 200 km"),
        *("GEOSEARCHSTORE d g FROMLONLAT 15 37 BYRADIUS 200 km", "GEOSEARCHSTORE d n FROMLONLAT 15 37 BYRADIUS 2 km"),
    ],
)
def test_what_changes_a_watched_key(pair: Pair, command: str) -> None:
    for key in ("g", "d"):
        pair.flush()
        pair.pipeline([*CITIES, ["WATCH", key], command.split(), ["MULTI"], ["EXEC"]])

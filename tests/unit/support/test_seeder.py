"""The seeder: a seed is one sequence, and what is lost or done twice shows."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from cachefleet_server.engine import Engine
from fleettest.seeder import KINDS, Seeder, assert_same, capture, digest, fill, run

pytestmark = pytest.mark.unit


@pytest.fixture
def engines() -> Iterator[tuple[Engine, Engine]]:
    both = Engine(), Engine()
    yield both
    for engine in both:
        engine.close()


def test_a_seed_makes_one_sequence() -> None:
    one, two = (Seeder(random.Random(7)) for _ in range(2))
    two.draw.now_s = one.draw.now_s
    assert one.fill() == two.fill()
    assert one.mutate(300) == two.mutate(300)
    assert one.upheave() == two.upheave()


def test_every_type_and_database_is_there(engines: tuple[Engine, Engine], rng: random.Random) -> None:
    fill(engines[0], Seeder(rng, keys=500))
    data = capture(engines[0])
    assert len(data) == 500
    assert {kind for kind, _, _ in data.values()} == {kind.name for kind in KINDS}
    assert {db for db, _ in data} == {0, 1, 7, 15}
    assert 0 < sum(expire != -1 for _, _, expire in data.values()) < 250


@pytest.mark.parametrize("times", [0, 2])
def test_what_is_lost_or_done_twice_shows(engines: tuple[Engine, Engine], rng: random.Random, times: int) -> None:
    seeder = Seeder(rng)
    steps = seeder.fill()
    for engine in engines:
        run(engine, steps)
    assert_same(capture(engines[1]), capture(engines[0]))
    assert digest(engines[1]) == digest(engines[0])
    counts = [step for step in seeder.mutate(300) if step[1][0] == b"INCR" and step[1][1].startswith(b"count:")]
    assert len(counts) > 50
    at = rng.randrange(len(counts))
    run(engines[0], counts)
    run(engines[1], [*counts[:at], *counts[at : at + 1] * times, *counts[at + 1 :]])
    with pytest.raises(AssertionError, match=r"different: [01] keys"):
        assert_same(capture(engines[1]), capture(engines[0]))
    assert digest(engines[1]) != digest(engines[0])

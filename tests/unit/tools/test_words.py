"""Small things that tools decide by: which dialect a server reads, and what a time is."""

from __future__ import annotations

import pytest

from cachefleet_server.tools import dialects
from cachefleet_server.tools.aof_truncate import a_time

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("facts", "name"),
    [
        ({"redis_version": "7.0.15"}, "redis-7.0"),
        ({"redis_version": "7.2.4"}, "redis-7.2"),
        ({"redis_version": "7.4.1"}, "redis-7.4"),
        ({"redis_version": "8.10.0"}, "redis-8"),
        ({"redis_version": "7.2.4", "valkey_version": "7.2.5"}, "valkey-7.2"),
        ({"redis_version": "7.2.4", "valkey_version": "8.1.0"}, "valkey-8"),
        ({"redis_version": "7.2.4", "valkey_version": "9.1.2"}, "valkey-9"),
        ({"redis_version": "7.2.4", "valkey_version": "9.1.2", "cachefleet_version": "0.1.0"}, "cachefleet"),
        ({"redis_version": "6.2.9"}, None),
        ({}, None),
    ],
)
def test_the_dialect_of_a_server(facts: dict[str, str], name: str | None) -> None:
    found = dialects.of_server(facts)
    assert (found and found.name) == name


def test_times() -> None:
    assert a_time("1796083200") == 1796083200
    assert a_time("2026-12-01T00:00:00") == a_time("2026-12-01T00:00:00Z") == a_time("2026-12-01 01:00:00+01:00")
    assert a_time("2026-12-01") == a_time("2026-12-01T00:00:00")
    for word in ("", "yesterday", "-5", "9" * 40):
        with pytest.raises(ValueError):
            a_time(word)

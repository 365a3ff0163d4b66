"""What parameters fill of the engine: names and numbers."""

from __future__ import annotations

import pytest

from cachefleet_server.config.config import Config
from cachefleet_server.config.engine_fields import fields
from cachefleet_server.config.params import PARAMS
from cachefleet_server.engine import Engine

pytestmark = pytest.mark.unit

ROWS = {row.name: row for row in PARAMS}


def filled(name: str, text: str) -> dict[str, int]:
    row, config = ROWS[name], Config()
    config.set([(name, text)], protected=True)
    return dict(fields(row.kind, row.engine, config.value(name)))


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("hz", "20", {"hz": 20}),
        ("import-mode", "yes", {"import_mode": 1}),
        ("maxmemory", "1kb", {"maxmemory": 1024}),
        ("maxmemory", "18446744073709551615", {"maxmemory": 2**63 - 1}),
        ("maxmemory-policy", "ALLKEYS-LFU", {"maxmemory_policy": 6}),
        ("notify-keyspace-events", "", {"notify_flags": 0}),
        ("notify-keyspace-events", "KEn", {"notify_flags": 1 | 2 | 1 << 13}),
        ("notify-keyspace-events", "A", {"notify_flags": 0b1011111111100}),
        (
            "client-output-buffer-limit", "normal 1 2 3 replica 4 5 6 pubsub 7 8 9",
            {
                "output_limit_hard.0": 1, "output_limit_soft.0": 2, "output_limit_soft_seconds.0": 3,
                "output_limit_hard.1": 4, "output_limit_soft.1": 5, "output_limit_soft_seconds.1": 6,
                "output_limit_hard.2": 7, "output_limit_soft.2": 8, "output_limit_soft_seconds.2": 9,
            },
        ),
    ],
)  # fmt: skip
def test_fields_of_a_value(name: str, text: str, wanted: dict[str, int]) -> None:
    assert filled(name, text) == wanted


def test_the_engine_takes_all_of_them() -> None:
    engine, config = Engine(), Config()
    try:
        for row in (row for row in PARAMS if row.engine):
            for name, number in fields(row.kind, row.engine, config.value(row.name)):
                engine.set_param(name, number)
    finally:
        engine.close()

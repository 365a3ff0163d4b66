"""Parameters that are accepted and not acted upon: each is read somewhere, or says that nothing comes of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cachefleet_server.config.config import Config
from cachefleet_server.config.params import PARAMS, Param
from cachefleet_server.config.parser import text_lines
from fleettest.instance import ROOT

pytestmark = pytest.mark.unit

SERVER = ROOT / "server" / "cachefleet_server"
TABLES = ("params.py", "fields.pyx", "engine.pxd")  # they name all parameters and act on none
SHOWN = {"io-threads"}  # by INFO or /metrics, and that is all


def sources() -> dict[str, str]:
    paths = [path for path in SERVER.rglob("*.p*") if path.suffix in (".py", ".pyx", ".pxd")]
    return {str(path): path.read_text() for path in paths if path.name not in TABLES}


def is_read(row: Param, text: str) -> bool:
    """By its name as a literal, as the beginning of a formatted one, or by its field of the engine."""
    literals = "|".join(re.escape(name) for name in row.names)
    beginnings = "|".join(re.escape(row.name[: i + 1]) for i, char in enumerate(row.name) if char == "-")
    return bool(
        re.search(rf'"(?:{literals})"', text)
        or (beginnings and re.search(rf'(?:value|flag|number|text)\(f"(?:{beginnings})\{{', text))
        or (row.engine and re.search(rf"(?:params|e)\.{row.engine}\b|params\.{row.engine}_hard\b", text))
    )


def test_every_parameter_is_read_or_says_that_it_is_not() -> None:
    text = "\n".join(sources().values())
    read = {row.name for row in PARAMS if is_read(row, text)} - SHOWN
    silent = [row.name for row in PARAMS if row.name not in read and not row.unused and not row.needs]
    assert silent == [], "accepted, never read, and nobody is told: say so in `unused`"
    used = [row.name for row in PARAMS if row.unused and row.name in read]
    assert used == [], "it is read: it is no longer `unused`"


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ('config.flag("set-proc-title")', True), ("config.text(f'set-proc')", False), ("set-proc-title", False),
        ('config.value(f"set-{what}")', True), ('log(f"set-{what}")', False),
    ],
)  # fmt: skip
def test_what_counts_as_read(text: str, read: bool) -> None:
    (row,) = (row for row in PARAMS if row.name == "set-proc-title")
    assert is_read(row, text) == read


def test_what_has_no_effect_is_told_when_it_is_set() -> None:
    config = Config()
    config.load(text_lines("io-threads 4\ntls-key-file-pass hunter2\nlua-time-limit 5000\nhz 20\n", "test"), {})
    assert config.unused(row.name for row in PARAMS) == [
        "io-threads 4 has no effect: one thread serves all connections",
        "tls-key-file-pass ... has no effect: TLS is not supported by this version of the server",
    ]
    assert config.unused(["HZ", "lua-time-limit"]) == []
    config.set([("lua-time-limit", "1"), ("io-threads", "1")])
    told = "busy-reply-threshold 1 has no effect: scripts are not supported by this version of the server"
    assert config.unused(["lua-time-limit", "io-threads", "busy-reply-threshold"]) == [told]


@pytest.mark.parametrize("row", [row for row in PARAMS if row.unused], ids=lambda row: row.name)
def test_reasons_read_as_the_end_of_a_sentence(row: Param) -> None:
    assert not row.unused.endswith(".")
    assert not row.needs
    assert not row.engine


def test_the_tables_exist() -> None:
    found = {path.name for path in Path(SERVER).rglob("*.p*")}
    assert found >= set(TABLES)

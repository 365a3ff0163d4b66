"""The operator's view of the server's parameters: the data is the server's own, and so is every word."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from cachefleet_operator.api.parameters import (
    OWNERS,
    PARAMETERS,
    UNBUILT,
    Parameter,
    canonical,
    find,
    is_live,
    resolve,
)
from cachefleet_parameters import kinds
from cachefleet_server.config.params import PARAMS, Param
from fleettest import server_parameters
from fleettest.client import Connection, Error
from fleettest.instance import Instance

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[3]
FILE = ROOT / "operator" / "cachefleet_operator" / "api" / "server_parameters.json"
LIMITS = "client-output-buffer-limit"
NUMBERS = (kinds.Memory, kinds.Integer, kinds.IpAddress, kinds.OutputLimits, kinds.SavePoints, kinds.OomScores)
REFUSAL = "ERR CONFIG SET failed (possibly related to argument '{}') - "

# Setting them breaks the connection that asks, or is refused for what the machine says and not for the value.
NOT_SET_LIVE = {
    "port", "bind", "protected-mode", "maxclients", "locale-collate", "oom-score-adj", "oom-score-adj-values",
    "requirepass", "maxmemory-clients", "timeout",
}  # fmt: skip
PROBES = (
    "", "zz!", "0", "1", "-1", "7", "yes", "NO", "100", "101", "1kb", "5%", "99999999999", "1 2", "3600 1 60 10000",
    "KEA", "default", "SAVE now", "pubsub 1mb 2kb 3", "replica 0 0 0 normal 1 2 3", "volatile-LRU", "everysec", "json",
    "9223372036854775807", "50 99.9", "1gb", "010", "65536b", "2g",
)  # fmt: skip


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    """To a server of the test's own, which may break its parameters."""
    with Instance("cachefleet", directory=tmp_path) as server, server.connect() as connection:
        yield connection


def shown(name: str, value: str, default: str | None = None) -> str:
    """What CONFIG GET would show, or the complaint after a "!"."""
    try:
        return canonical(name, value, default)
    except ValueError as error:
        return f"!{error}"


def test_the_file_is_the_servers_table() -> None:
    assert FILE.read_text() == server_parameters.text(), "make generated"


@pytest.mark.parametrize(("parameter", "row"), list(zip(PARAMETERS, PARAMS, strict=True)), ids=lambda row: row.name)
def test_a_row_makes_the_servers_kind(parameter: Parameter, row: Param) -> None:
    """What a folder is called in the end, a server knows alone."""
    assert parameter.kind == (kinds.Text() if row.name == "dir" else row.kind)


@pytest.mark.parametrize(("name", "value", "default", "wanted"), [
    (LIMITS, "replica 1kb 0 0", None, "normal 0 0 0 slave 1024 0 0 pubsub 33554432 8388608 60"),
    (LIMITS, "replica 1kb 0 0", "normal 1 1 1 slave 2 2 2 pubsub 3 3 3", "normal 1 1 1 slave 1024 0 0 pubsub 3 3 3"),
    (LIMITS, "", "normal 1 1 1 slave 2 2 2 pubsub 3 3 3", "normal 1 1 1 slave 2 2 2 pubsub 3 3 3"),
    (LIMITS, "", "", "normal 0 0 0 slave 0 0 0 pubsub 0 0 0"),
    ("timeout", "007", "5", "!argument couldn't be parsed into an integer"),
    ("dir", "/no/such/folder", None, "/no/such/folder"),
    ("maxmemory", "1kb\0x", None, "1024"),
    ("availability-zone", "a\0b", None, "a\0b"),
    ("cluster-enabled", "no", None, "no"),
    ("cluster-enabled", "yes", None, "!cluster mode is not supported by this version of the server"),
])  # fmt: skip
def test_canonical(name: str, value: str, default: str | None, wanted: str) -> None:
    assert shown(name, value, default) == wanted


@pytest.mark.server
def test_canonical_is_what_a_server_answers(connection: Connection) -> None:
    """Every parameter that CONFIG SET changes, every probe: the same value shown, or the same words of refusal."""
    wrong = []
    for parameter in PARAMETERS:
        if not parameter.live or parameter.name in NOT_SET_LIVE:
            continue
        for probe in PROBES:
            connection.call("CONFIG", "SET", parameter.name, parameter.default)  # what a value leaves out
            reply = connection.call("CONFIG", "SET", parameter.name, probe)
            answer = connection.call("CONFIG", "GET", parameter.name)[1].decode()
            if isinstance(reply, Error):
                answer = "!" + reply.removeprefix(REFUSAL.format(parameter.name))
            if shown(parameter.name, probe) != answer:
                wrong.append((parameter.name, probe, shown(parameter.name, probe), answer))
    assert not wrong


@pytest.mark.server
def test_live_is_what_a_server_lets_change(connection: Connection) -> None:
    for parameter in PARAMETERS:
        reply = connection.call("CONFIG", "SET", parameter.name, "\0")
        refused = isinstance(reply, Error) and reply.endswith(("set immutable config", "set protected config"))
        assert parameter.live is not refused, (parameter.name, reply)


@pytest.mark.parametrize("value", ["9" * 5000, "9" * 5000 + "%", "9" * 5000 + "kb", "1\n"])
def test_hostile_values_are_refused_in_words(value: str) -> None:
    for parameter in PARAMETERS:
        if isinstance(parameter.kind, NUMBERS):
            with pytest.raises(ValueError, match=r"(?i)argument|invalid|limit|save"):
                canonical(parameter.name, value)


def test_names() -> None:
    assert resolve("Slave-Priority") == "replica-priority"
    assert resolve("No-Such") == "no-such"
    assert find("no-such") is None
    assert is_live("maxmemory") and is_live("LUA-time-limit")
    assert not is_live("databases") and not is_live("dir") and not is_live("no-such")
    with pytest.raises(ValueError, match="unknown parameter"):
        canonical("no-such", "1")


def test_every_row_of_the_tables_means_a_parameter() -> None:
    for glob in OWNERS:
        assert any(fnmatchcase(p.name, glob) for p in PARAMETERS), glob


def test_secrets_are_never_parameters_of_the_spec() -> None:
    """spec.config lies in a ConfigMap for everybody to read."""
    assert [p.name for p in PARAMETERS if p.secret and not p.owner and not p.unbuilt] == []
    assert {p.name for p in PARAMETERS if p.secret} > {"requirepass", "hash-seed"}


def test_what_the_server_does_not_build_is_unbuilt() -> None:
    assert {p.name: p.needs for p in PARAMETERS if p.needs} == {
        row.name: row.needs for row in PARAMS if row.needs
    }
    assert {p.name: p.unbuilt for p in PARAMETERS if p.unbuilt} == {
        row.name: row.feature for row in PARAMS if row.needs or row.feature in UNBUILT
    }
    assert set(UNBUILT) <= {row.feature for row in PARAMS}

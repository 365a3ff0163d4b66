"""The operator's view of the server's parameters: the data is the server's own, and so is every word."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachefleet_operator.api.parameter_kinds import KINDS
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
from cachefleet_server.config.config import Config, SetError
from cachefleet_server.config.params import PARAMS
from fleettest import server_parameters
from fleettest.client import Connection, Error
from fleettest.instance import Instance

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[3]
FILE = ROOT / "operator" / "cachefleet_operator" / "api" / "server_parameters.json"
REFUSAL = "ERR CONFIG SET failed (possibly related to argument '{}') - "

# What the pieces of a value may be, fit for the kind or not.
WORDS = (
    "", " ", "0", "1", "7", "-1", "-2001", "01", "+1", "2147483648", "9223372036854775807", "9223372036854775808",
    "18446744073709551615", "18446744073709551616", "9" * 40, "5%", "101%", "0%", "9" * 40 + "%", "1kb", "2MB",
    "3g", "1t", "1.5", "99.9", "nan", "1e400", "yes", "NO", "Save", "nosave", "default", "normal", "REPLICA", "slave",
    "pubsub", "KEA", "g$lshzxetd", "En", "allkeys-lru", "always", "77", "1000", "a/b", "..", "x", "{title}", "{x}",
    "127.0.0.1", "01.2.3.4", "::1", "fe80::1%lo", "é", "K", "3%",
)  # fmt: skip
VALUES = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12),
    st.sampled_from(WORDS),
    st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join),
)
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


def shown_by(config: Config, name: str, value: str) -> str:
    """What the server's own table shows after the value was set, or its complaint after a "!"."""
    row = config.find(name)
    assert row is not None
    try:
        config.set([(name, value)], protected=True)
    except SetError as error:
        return f"!{error}"
    return config.shown(row.name)


def shown(name: str, value: str) -> str:
    try:
        return canonical(name, value)
    except ValueError as error:
        return f"!{error}"


def test_the_file_is_the_servers_table() -> None:
    assert FILE.read_text() == server_parameters.text(), "make generated"


def settable(kind: str) -> list[Parameter]:
    """Those whose values the operator can tell. Only the server knows what a folder is called in the end."""
    return [p for p in PARAMETERS if p.kind == kind and kind != "Folder"]


class Writable(Config):
    """The server's table with nothing immutable: a file may set what CONFIG SET refuses before it sees the value."""

    def __init__(self) -> None:
        super().__init__()
        self._rows = {name: replace(row, immutable=False) for name, row in self._rows.items()}


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"Folder"}))
@given(value=VALUES, data=st.data())
def test_canonical_is_what_the_servers_table_shows(kind: str, value: str, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(settable(kind))).name
    assert shown(name, value) == shown_by(Writable(), name, value)


@given(st.sampled_from(PARAMETERS), VALUES)
def test_what_was_shown_is_taken_back_unchanged(parameter: Parameter, value: str) -> None:
    try:
        first = canonical(parameter.name, value)
    except ValueError:
        first = parameter.default
    assert canonical(parameter.name, first) == first


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


@pytest.mark.parametrize("value", ["9" * 5000, "9" * 5000 + "%", "9" * 5000 + "kb", "\0", "1\n"])
def test_hostile_values_are_refused_in_words(value: str) -> None:
    for parameter in PARAMETERS:
        if parameter.kind in ("Memory", "Integer", "Octal", "IpAddress", "OutputLimits", "SavePoints", "OomScores"):
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

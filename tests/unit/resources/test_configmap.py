"""The configuration file: what is in it, and that the server reads back exactly what the spec says, whatever it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachefleet_operator.api import names
from cachefleet_operator.api.parameters import PARAMETERS, is_live
from cachefleet_operator.resources.configmap import (
    SHOWN_CHARACTERS_MAX,
    annotated,
    config_file,
    config_map,
    parameters,
    restart_annotation,
    restart_parameters,
)
from cachefleet_server.config.config import Config
from cachefleet_server.config.parser import option_lines, text_lines
from cachefleet_server.errors import ConfigError
from fleettest.snapshots import cache


def load(text: str) -> Config:
    """The server's own configuration, with this file."""
    config = Config()
    config.load(list(text_lines(text, "cachefleet.conf")), {})
    return config


# Spec -> parameters that must come of it.
SPECS: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({}, {"appendonly": "yes", "appendfsync": "everysec", "save": "", "maxmemory-policy": "noeviction",
          "maxmemory": str((256 - 48) * (1 << 20) * 85 // 100), "log-format": "json", "protected-mode": "no"}),
    ({"persistence": {"mode": "snapshot"}}, {"appendonly": "no", "save": "3600 1 300 100"}),
    ({"persistence": {"mode": "snapshot", "schedule": []}}, {"appendonly": "no", "save": ""}),
    ({"persistence": {"mode": "none"}}, {"appendonly": "no", "save": ""}),
    ({"persistence": {"fsync": "always"}}, {"appendfsync": "always"}),
    ({"persistence": {"fsync": "never"}}, {"appendfsync": "no"}),
    ({"memory": {"limit": "1Gi", "maxmemoryPercent": 50, "evictionPolicy": "allkeys-lru"}},
     {"maxmemory": str((1024 - 48) * (1 << 20) // 2), "maxmemory-policy": "allkeys-lru"}),
    ({"config": {"slave-lazy-flush": "NO"}}, {"replica-lazy-flush": "no"}),
    ({"config": {"client-query-buffer-limit": "1mb"}}, {"client-query-buffer-limit": "1048576"}),
    ({"config": {"log-format": "logfmt"}}, {"log-format": "logfmt"}),
    ({"auth": {"mode": "none"}}, {"protected-mode": "no"}),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "wanted"), SPECS, ids=[str(spec) for spec, _ in SPECS])
def test_parameters(spec: dict[str, Any], wanted: dict[str, str]) -> None:
    found = parameters(cache(**spec))
    assert wanted.items() <= found.items()
    assert list(found) == sorted(found)


@pytest.mark.parametrize(("spec", "wanted"), SPECS, ids=[str(spec) for spec, _ in SPECS])
def test_the_server_reads_what_was_meant(spec: dict[str, Any], wanted: dict[str, str]) -> None:
    of = cache(**spec)
    config = load(config_map(of)["data"][names.CONFIG_FILE])
    assert {name: config.shown(name) for name in parameters(of)} == parameters(of)


@pytest.mark.parametrize("config", [
    {"no-such-parameter": "1"}, {"timeout": "soon"}, {"timeout 1\nport": "1"}, {"": ""}, {"include": "/etc/passwd"},
    {"databases": "0"},
], ids=str)  # fmt: skip
def test_what_validation_refuses_is_not_written(config: dict[str, str]) -> None:
    assert parameters(cache(config=config)) == parameters(cache())


@pytest.mark.parametrize("name", ["maxmemory", "save", "appendonly", "protected-mode", "MAXMEMORY"])
def test_what_other_fields_own_is_theirs(name: str) -> None:
    assert parameters(cache(config={name: "no"})) == parameters(cache())


def test_two_names_of_one_parameter_give_the_same_whatever_their_order() -> None:
    names_of_one = {"slowlog-max-len": "5", "commandlog-slow-execution-max-len": "6"}
    other_order = dict(reversed(names_of_one.items()))
    assert parameters(cache(config=names_of_one)) == parameters(cache(config=other_order))


HOSTILE = [
    "", " ", "a b", "#", "# no comment", '"', "'", "\\", '\\"', "a\nport 1", "\r\n", "\t", "\0", "\x07\b", "\x7f",
    "é", "日本語", "\U0001f600", "\x85\u2028", "\\x41", "$(SERVER_PORT)", "${HOME}", "%s", "'a' 'b'",
    "a" * 10_000, "--port",
]  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE, ids=ascii)
def test_hostile_values(value: str) -> None:
    """A parameter that takes any text."""
    of = cache(config={"availability-zone": value})
    file = config_map(of)["data"][names.CONFIG_FILE]
    assert file.isascii()
    config = load(file)
    assert config.text("availability-zone") == value
    assert config.number("port") == 6379


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_value_reads_back(value: str) -> None:
    (line,) = text_lines(config_file({"x": value}), "f")
    assert line.words == ("x", value)


def test_every_parameter_can_be_written_with_its_default(tmp_path: Path) -> None:
    values = {p.name: p.default for p in PARAMETERS if p.name != "dir"}
    config = load(config_file(values))
    assert {name: config.shown(name) for name in values} == values


def test_restart_parameters_are_those_that_cannot_be_set_and_differ_from_the_default() -> None:
    of = cache(config={"databases": "4", "timeout": "9", "tcp-backlog": "511"})
    assert restart_parameters(of) == {"databases": "4"}
    assert not [name for name in restart_parameters(of) if is_live(name)]


def test_long_values_are_hashed_in_the_annotation() -> None:
    (name,) = (p.name for p in PARAMETERS if p.name == "server-cpulist")
    long = [cache(config={name: "0-" + "9" * count}) for count in (100, 101)]
    shown = [json.loads(restart_annotation(of))[name] for of in long]
    assert shown[0].startswith("sha256:")
    assert shown[0] != shown[1]
    assert len(shown[0]) < 40
    just = "0-" + "9" * (SHOWN_CHARACTERS_MAX - 2)
    assert (annotated(just), annotated(just + "9")[:7]) == (just, "sha256:")


@pytest.mark.parametrize(("mode", "starts"), [("none", True), ("generated", False)])
def test_an_empty_password_is_meant_only_where_there_is_no_auth(tmp_path: Path, mode: str, starts: bool) -> None:
    """The pod's template is the same with auth and without: it always names the file of the password."""
    text = config_map(cache(auth={"mode": mode}))["data"][names.CONFIG_FILE]
    password = tmp_path / "password"
    password.write_text("")
    config = Config()
    lines = [*text_lines(text, "cachefleet.conf"), *option_lines(["--requirepass-file", str(password)])]
    if starts:
        config.load(lines, {})
        assert config.text("requirepass") == ""
    else:
        with pytest.raises(ConfigError, match="The secret is empty"):
            config.load(lines, {})
    password.write_text("secret")
    config.load(lines, {})
    assert config.text("requirepass") == "secret"

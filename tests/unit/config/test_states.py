"""Which parameters cannot change in which state of the server: CONFIG SET and SIGHUP ask the same table."""

from __future__ import annotations

import pytest

from cachefleet_server.config.config import Config, SetError, StateError, UnknownParameter
from cachefleet_server.config.params import LOADING, PARAMS, SAVING, STATES, STOPPING
from cachefleet_server.config.parser import text_lines
from cachefleet_server.errors import ConfigError

pytestmark = pytest.mark.unit

LIVE = frozenset(row.name for row in PARAMS if not row.immutable)
REFUSED = {LOADING: {"appendonly", "dir", "repl-diskless-load"}, SAVING: {"dir"}, STOPPING: LIVE}


def in_state(*states: str) -> Config:
    config = Config()
    config.states = lambda: states
    return config


@pytest.mark.parametrize("state", STATES)
def test_what_cannot_be_set(state: str) -> None:
    config = in_state(state)
    for name in LIVE - REFUSED[state]:
        config.set([(name, config.shown(name))], protected=True)
    for name in REFUSED[state]:
        with pytest.raises(StateError) as caught:
            config.set([(name, config.shown(name))], protected=True)
        error = caught.value
        assert (error.name, error.state, str(error)) == (name, state, STATES[state])


@pytest.mark.parametrize("state", STATES)
def test_what_cannot_be_reloaded(state: str) -> None:
    """All or nothing: what may change waits for what may not."""
    changes = {"appendonly": "yes", "repl-diskless-load": "swapdb", "hz": "20", "dir": "/"}
    for name, value in changes.items():
        config = in_state(state)
        lines = list(text_lines(f"timeout 7\n{name} {value}\ndatabases 7\n", "test"))
        if name in REFUSED[state] or state == STOPPING:
            with pytest.raises(ConfigError, match=r" cannot change now: .*\. Send SIGHUP again later"):
                config.reload(lines, {})
            assert (config.number("timeout"), config.value(name)) == (0, config.default(name))
            config.states = tuple
        changed, fixed = config.reload(lines, {})
        assert (sorted(changed), fixed) == (sorted(("timeout", name)), ["databases"])
        assert config.shown(name) == value


def test_nothing_is_refused_without_a_reason() -> None:
    in_state(LOADING, SAVING).set([("hz", "20"), ("maxmemory", "1mb"), ("save", ""), ("appendfsync", "always")])


@pytest.mark.parametrize(
    ("pairs", "error"),
    [
        ([("appendonly", "yes"), ("nope", "1")], StateError),
        ([("nope", "1"), ("appendonly", "yes")], UnknownParameter),
        ([("databases", "1"), ("appendonly", "yes")], SetError),
        ([("appendonly", "yes"), ("databases", "1")], StateError),
        ([("hz", "x"), ("appendonly", "yes")], StateError),
        ([("appendonly", "x"), ("appendonly", "x")], StateError),
    ],
)
def test_the_first_complaint_counts(pairs: list[tuple[str, str]], error: type[SetError]) -> None:
    with pytest.raises(SetError) as caught:
        in_state(LOADING).set(pairs)
    assert type(caught.value) is error

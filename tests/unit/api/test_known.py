"""What is believed of a server that has said nothing, and that what it says is all of what it knows."""

from __future__ import annotations

import pytest

from cachefleet_operator.api import parameters
from cachefleet_operator.api.known import HIDDEN, expected, learned, own
from cachefleet_operator.api.parameters import PARAMETERS
from cachefleet_operator.resources.configmap import DEFAULTS
from cachefleet_operator.resources.configmap import parameters as written
from cachefleet_server.config.params import PARAMS
from fleettest.snapshots import cache

PARTS = "client-output-buffer-limit"


@pytest.mark.parametrize(
    ("tag", "knows"),
    [("1.2.0", True), ("v1.2.0", True), ("1.2", True), ("1.2.0-rc1", True), ("1.10.0", True), ("2.0.0", True),
     ("1.1.9", False), ("0.9", False), ("", False), ("latest", False), ("1", False), ("1.2.0.0", False),
     ("\u0661.\u0662.\u0663", False), ("9" * 5000 + ".1.1", False)],
    ids=ascii,
)  # fmt: skip
def test_a_version_has_what_came_before_it(monkeypatch: pytest.MonkeyPatch, tag: str, knows: bool) -> None:
    monkeypatch.setattr(parameters, "SINCE", {"timeout": "1.2.0"})
    found = expected(tag, "3.0.0")
    assert ("timeout" in found, "databases" in found) == (knows, True)


def test_defaults_are_known_of_our_own_version_alone() -> None:
    assert expected("1.0.0", "1.0.0") == own()
    assert {fact.default for fact in expected("1.0.1", "1.0.0").values()} == {None}
    assert learned({p.name: "x" for p in PARAMETERS}, "1.0.0", "1.0.0") == own()


def test_a_parameter_of_a_later_version_is_never_believed_of_a_server_that_does_not_show_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parameters, "SINCE", {"hash-seed": "1.2.0"})
    assert "hash-seed" not in learned({"timeout": "0"}, "1.2.0", "1.2.0")
    assert "requirepass" in learned({"timeout": "0"}, "1.2.0", "1.2.0"), "which is not looked at"


@pytest.mark.parametrize(
    ("says", "kept"),
    [("normal 1 2 3 slave 4 5 6 pubsub 7 8 9", "normal 1 2 3 slave 4 5 6 pubsub 7 8 9"), ("", own()[PARTS].default),
     ("junk", None), ("normal 1 2 x", None), ("normal 1 2 3 " * 1000 + "4", None)],
    ids=lambda text: str(text)[:30],
)  # fmt: skip
def test_what_a_value_leaves_out_stays_as_a_server_has_it(says: str, kept: str | None) -> None:
    assert learned({PARTS: says}, "2.0.0", "1.0.0")[PARTS].default == kept


def test_hidden_are_those_that_a_server_shows_only_by_name() -> None:
    assert {row.name for row in PARAMS if row.hidden} == HIDDEN


def test_since_names_parameters_that_are() -> None:
    assert parameters.SINCE.keys() <= {p.name for p in PARAMETERS}


def test_what_the_operator_decides_can_change_live() -> None:
    """Else a newer operator that decides otherwise would restart every pod."""
    decided = {*DEFAULTS, *written(cache())}
    assert [name for name in decided if not own()[name].live] == []

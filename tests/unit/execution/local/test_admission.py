"""Admission without an API server: defaults, rules and words."""

from __future__ import annotations

from typing import Any

import pytest

from cachefleet_operator.api.v1alpha1 import Cache, Rule
from cachefleet_operator.execution.local.admission import Invalid, admit, is_transition, models
from cachefleet_operator.execution.local.cel import holds
from fleettest.rules import CASES, ODD_NAME, Case, name_of
from fleettest.rules import manifest as case_manifest


def manifest(name: str = "orders", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "cachefleet.io/v1alpha1", "kind": "Cache", "metadata": {"name": name}, "spec": spec}


def rules() -> list[Rule]:
    return list(dict.fromkeys(rule for model in models() for rule in model.RULES))


def test_every_rule_is_broken_by_some_case_and_kept_by_another() -> None:
    said = {case.said for case in CASES}
    assert {rule.message for rule in rules()} == said - {""}
    for rule in rules():
        cases = [case for case in CASES if case.said == rule.message]
        assert is_transition(rule) == all(case.before is not None for case in cases)


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_a_case_breaks_the_one_rule_that_it_is_for(case: Case) -> None:
    old = admit(case_manifest(case.before), None) if case.before is not None else None
    if not case.said:
        admit(case.manifest(), old)
        return
    with pytest.raises(Invalid) as caught:
        admit(case.manifest(), old)
    assert caught.value.faults == [f"{case.at}: {case.said}" if case.at else case.said]


def test_a_rule_that_cannot_be_evaluated_is_broken() -> None:
    """As the API server has it: no such field, another type, text that is no quantity."""
    for expression in ("self.a == 1", "self.b < 3", "quantity(self.b).compareTo(quantity('1')) == 0"):
        assert not holds(expression, {"b": "text"})
    assert holds("quantity(self.b).compareTo(quantity('1Ki')) == 0", {"b": "1024"})
    assert not holds("self.b.matches('^a$')", {"b": "a\n"})


def test_a_transition_rule_does_not_speak_of_a_new_object() -> None:
    assert admit(manifest(persistence={"mode": "none"}), None).spec.persistence.mode == "none"


def test_an_empty_image_is_none() -> None:
    assert admit(manifest(image="", version="1.2.3"), None).spec.version == "1.2.3"


def test_defaults_are_filled_in() -> None:
    assert admit(manifest(), None) == Cache.model_validate(manifest())


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ({"memory": {"limits": "1Gi"}}, "spec.memory.limits: unknown field"),
        ({"pod_template": {}}, "spec.pod_template: unknown field (did you mean podTemplate?)"),
        ({"persistence": {"schedule": [{"secs": 1}]}}, "spec.persistence.schedule[0].secs: unknown field"),
        ({"persistence": {"mode": "rdb"}}, "spec.persistence.mode: must be 'none', 'snapshot' or 'aof', not 'rdb'"),
        ({"memory": {"limit": "1GB"}}, "spec.memory.limit: quantities must match"),
        ({"instances": 11}, "spec.instances: must be less than or equal to 10, not 11"),
        ({"config": {"hz": 10.5}}, "spec.config.hz: must be an integer or a string"),
        ({"config": []}, "spec.config: must be an object"),
    ],
)  # fmt: skip
def test_faults_name_the_field(spec: dict[str, Any], fault: str) -> None:
    with pytest.raises(Invalid) as caught:
        admit(manifest(**spec), None)
    assert any(found.startswith(fault) for found in caught.value.faults), caught.value.faults


@pytest.mark.parametrize("name", ["Bad", "a_b", "a-", "-a", "9to5", "shop.orders", "\u00e4"])
def test_of_an_odd_name_the_whole_rule_is_said(name: str) -> None:
    with pytest.raises(Invalid) as caught:
        admit(manifest(name), None)
    assert caught.value.faults == [ODD_NAME]


@pytest.mark.parametrize("metadata", [None, 5, {}, {"name": 7}, {"name": "a", "namespace": "../.."}, {"name": "a/b"}])
def test_odd_metadata_is_refused(metadata: Any) -> None:
    with pytest.raises(Invalid, match="metadata"):
        admit({**manifest(), "metadata": metadata}, None)


@pytest.mark.parametrize("spec", [5, "x", []])
def test_a_spec_that_is_none_is_refused(spec: Any) -> None:
    with pytest.raises(Invalid, match="spec"):
        admit({**manifest(), "spec": spec}, None)


def test_what_kubectl_get_prints_can_be_used() -> None:
    """`kubectl get cache -o yaml` has a status and metadata that are the server's; both are ignored."""
    printed = manifest()
    printed["metadata"] |= {"uid": "u", "generation": 7, "resourceVersion": "9", "creationTimestamp": "2026-01-01",
                            "managedFields": [{"manager": "kubectl"}], "finalizers": ["x"]}  # fmt: skip
    printed["status"] = {"phase": "Running", "conditions": [{"type": "Ready"}]}
    assert admit(printed, None) == admit(manifest(), None)


def test_everything_wrong_is_said_at_once() -> None:
    with pytest.raises(Invalid) as caught:
        admit(manifest(memory={"limit": "1Mi"}, auth={"mode": "secret"}, unknown=1), None)
    assert len(caught.value.faults) == 3


@pytest.mark.parametrize(
    "spec",
    [
        {f"field{n}": 1 for n in range(10_000)},
        {"config": {f"no-such-{n}": 1.5 for n in range(400)}},
        {"persistence": {"schedule": [{"secs": n} for n in range(1000)]}},
        {"x" * 100_000: 1, "config": {"y" * 100_000: 1.5}},
    ],
)
def test_words_are_few_however_much_is_wrong(spec: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as caught:
        admit(manifest(**spec), None)
    assert len(caught.value.faults) <= 11 and len(str(caught.value)) < 5000

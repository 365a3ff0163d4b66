"""Admission without an API server: defaults, rules and words."""

from __future__ import annotations

from typing import Any

import pytest

from cachefleet_operator.api.v1alpha1 import Cache, Rule
from cachefleet_operator.execution.local.admission import TWINS, Invalid, admit, is_transition, models


def manifest(name: str = "orders", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "cachefleet.io/v1alpha1", "kind": "Cache", "metadata": {"name": name}, "spec": spec}


def rules() -> list[Rule]:
    return list(dict.fromkeys(rule for model in models() for rule in model.RULES))


def test_every_rule_of_the_models_has_a_twin_and_every_twin_a_rule() -> None:
    assert {rule.expression for rule in rules()} == set(TWINS)


ODD_NAME = (
    "metadata.name must begin with a letter and have lower case letters, digits and inner dashes only, no dots: "
    "Services carry it"
)
# One manifest that breaks each rule, and for transition rules what was there before.
BROKEN: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
    "memory.limit must be at least 96Mi": (manifest(memory={"limit": "95Mi"}), None),
    "storage.storageClassName is immutable": (
        manifest(persistence={"storage": {"storageClassName": "fast"}}), manifest()
    ),
    "persistence.mode cannot change to or from none: the volume would appear or vanish": (
        manifest(persistence={"mode": "none"}), manifest()
    ),
    "auth.mode secret needs auth.secretRef, and only that mode has one": (manifest(auth={"mode": "secret"}), None),
    "version is a tag of the default image: it cannot stand beside image": (manifest(image="a:1", version="1"), None),
    "the memory limit is spec.memory.limit": (manifest(resources={"limits": {"memory": "1Gi"}}), None),
    "metadata.name must be at most 40 characters: objects and pods add to it": (manifest("a" * 41), None),
    ODD_NAME: (manifest("1st.cache"), None),
    "durability.copies above 1 go with mode replicated, and only there": (
        manifest(instances=3, durability={"copies": 2}), None
    ),
    "durability.copies must be less than instances: the primary itself does not count": (
        manifest(instances=2, durability={"mode": "replicated", "copies": 2}), None
    ),
    "metadata.name must not end with -shard- and a number: shards of other Caches are called so": (
        manifest("orders-shard-1"), None
    ),
    "loadBalancerClass goes with type LoadBalancer, and only there": (
        manifest(services={"primary": {"type": "NodePort", "loadBalancerClass": "a/b"}}), None
    ),
    "loadBalancerSourceRanges go with type LoadBalancer, and only there": (
        manifest(services={"replicas": {"loadBalancerSourceRanges": ["10.0.0.0/8"]}}), None
    ),
    "externalTrafficPolicy goes with types NodePort and LoadBalancer, and only there": (
        manifest(services={"primary": {"externalTrafficPolicy": "Local"}}), None
    ),
    "loadBalancerClass cannot change while type is LoadBalancer": (
        manifest(services={"primary": {"type": "LoadBalancer"}}),
        manifest(services={"primary": {"type": "LoadBalancer", "loadBalancerClass": "a/b"}}),
    ),
}  # fmt: skip


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.message)
def test_each_rule_refuses_what_breaks_it_and_nothing_else(rule: Rule) -> None:
    assert rule.message in BROKEN, "a new rule needs its row in BROKEN"
    bad, before = BROKEN[rule.message]
    old = admit(before, None) if before is not None else None
    assert is_transition(rule) == (old is not None)
    with pytest.raises(Invalid) as caught:
        admit(bad, old)
    assert [fault for fault in caught.value.faults if fault.endswith(rule.message)] == caught.value.faults
    assert old is None or admit(before or {}, old) == old


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

"""Every object of a few Caches as YAML under golden/, and what must hold of all of them."""

from __future__ import annotations

import copy
import hashlib
import json
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import yaml

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Object, Site
from cachefleet_operator.api.v1alpha1 import Cache
from cachefleet_operator.execution.local.cel import holds
from cachefleet_operator.resources.desired import OPTIONAL_KINDS, desired
from cachefleet_operator.resources.diff import stamp
from cachefleet_operator.resources.secrets import auth_secret, binding_secret, server_password_secret
from fleettest.snapshots import SITE, cache

Named = tuple[str, tuple[Object, ...]]

GOLDEN = Path(__file__).with_name("golden")

SECRETS = (auth_secret(cache()), server_password_secret(cache()), binding_secret(cache()))
# Of the pod templates of generation 1. Another value means that an upgrade of the operator restarts every pod of every
# Cache.
TEMPLATES = {
    "default": "988461fbed3e5a56",
    "full": "982d000f6a0f017f",
}


class Dumper(yaml.SafeDumper):
    """Texts of several lines as such."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


Dumper.add_representer(str, _text)


def of_kind(objects: tuple[Object, ...], kind: str) -> Any:
    (found,) = (obj for obj in objects if obj["kind"] == kind)
    return found


def test_golden(named: Named, update_goldens: bool) -> None:
    name, objects = named
    path = GOLDEN / f"{name}.yaml"
    text = yaml.dump_all(json.loads(json.dumps(objects)), Dumper=Dumper, sort_keys=True, width=120, explicit_start=True)
    if update_goldens:
        path.write_text(text)
    assert path.read_text() == text, "if this is meant: pytest tests/unit/resources --update-goldens"


@pytest.mark.parametrize("named", sorted(TEMPLATES), indirect=True)
def test_an_upgrade_of_the_operator_restarts_no_pod(named: Named) -> None:
    template = of_kind(named[1], "StatefulSet")["spec"]["template"]
    assert hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:16] == TEMPLATES[named[0]]


def test_every_object_is_ours_and_the_caches(named: Named) -> None:
    for obj in (*named[1], *SECRETS):
        meta = obj["metadata"]
        assert meta["namespace"] == "shop"
        assert names.labels("orders").items() <= meta["labels"].items()
        (owner,) = meta["ownerReferences"]
        assert owner == {
            "apiVersion": "cachefleet.io/v1alpha1", "kind": "Cache", "name": "orders", "uid": "u-1",
            "controller": True, "blockOwnerDeletion": True,
        }  # fmt: skip


def test_two_caches_never_want_one_name(named: Named) -> None:
    """X + one suffix is Y + another only if one ends with the other."""
    suffixes: dict[str, set[str]] = {}
    for obj in (*named[1], *SECRETS):
        suffixes.setdefault(obj["kind"], set()).add(obj["metadata"]["name"].removeprefix("orders"))
    suffixes["ConfigMap"] |= {name("") for name in (names.configmap_accepted, names.configmap_parameters)}
    assert {obj["metadata"]["name"] for obj in SECRETS} == set(names.secrets("orders"))
    for kind, of_kind in suffixes.items():
        for one, other in permutations(of_kind, 2):
            assert not one.endswith(other), f"{kind}s {one} and {other} of two Caches can meet"


@pytest.mark.parametrize("shard", [1, 12])
def test_no_cache_is_called_as_the_shard_of_another(shard: int) -> None:
    """So whatever a shard's objects are called after it, they meet no other Cache's."""
    rule = next(rule for rule in Cache.RULES if "-shard-" in rule.expression)
    assert holds(rule.expression, {"metadata": {"name": "orders-shard"}})
    assert not holds(rule.expression, {"metadata": {"name": f"orders-shard-{shard}"}})


def test_selectors_find_the_pods_and_no_others(named: Named) -> None:
    by_kind = {obj["kind"]: obj["spec"] for obj in named[1] if "spec" in obj}
    pod = by_kind["StatefulSet"]["template"]["metadata"]["labels"]
    selectors = [by_kind[kind]["selector"]["matchLabels"] for kind in ("StatefulSet", "PodDisruptionBudget")]
    selectors += [obj["spec"]["selector"] for obj in named[1] if obj["kind"] == "Service"]
    if "NetworkPolicy" in by_kind:
        selectors.append(by_kind["NetworkPolicy"]["podSelector"]["matchLabels"])
    for selector in selectors:
        own = {key: value for key, value in selector.items() if key not in (names.LABEL_ROLE, names.LABEL_READS)}
        assert own.items() <= pod.items()
        assert own[names.LABEL_CACHE] == "orders"


def test_pods_come_after_what_they_need(named: Named) -> None:
    kinds = [obj["kind"] for obj in named[1]]
    assert max(kinds.index(kind) for kind in ("ServiceAccount", "ConfigMap", "Service")) < kinds.index("StatefulSet")


def test_builders_are_functions_of_their_arguments(named: Named) -> None:
    """Twice the same, nothing changed by stamping, and plain JSON."""
    before = copy.deepcopy(named[1])
    stamped = [stamp(obj) for obj in named[1]]
    assert list(before) == list(named[1])
    assert json.loads(json.dumps(stamped)) == stamped


def test_what_can_be_switched_off_is_optional() -> None:
    everything = Site("i", "1", kinds=frozenset(("PodMonitor",)))
    off = cache(networkPolicy={"enabled": False}, monitoring={"enabled": False})
    kinds = [{obj["kind"] for obj in desired(of, everything, "i:1")} for of in (cache(), off)]
    assert kinds[0] - kinds[1] == {"NetworkPolicy", "PodMonitor"}
    assert kinds[0] - kinds[1] <= OPTIONAL_KINDS
    assert not kinds[1] & OPTIONAL_KINDS


def test_no_object_holds_a_password(named: Named) -> None:
    for obj in (*named[1], *SECRETS):
        assert obj["kind"] != "Secret" or not {"data", "stringData"} & obj.keys()


def test_the_operators_version_and_place_are_in_no_template() -> None:
    elsewhere = Site("other/image", "9.9.9", "other", {"a": "b"}, frozenset(("PodMonitor",)), "other.local")
    templates = [of_kind(desired(cache(), site, "i:1"), "StatefulSet") for site in (SITE, elsewhere)]
    assert templates[0] == templates[1]

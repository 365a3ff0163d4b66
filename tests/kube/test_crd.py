"""The CRD as a real API server takes it: rules and their words, defaults, pruning, kubectl's explain, scale and get."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cachefleet_operator.api.crd import NAME, crd, schema
from cachefleet_operator.api.parse import parse
from cachefleet_operator.api.v1alpha1 import (
    API_VERSION,
    BindingStatus,
    CacheSpec,
    CacheStatus,
    Condition,
    Member,
    PodStatus,
    Position,
    RecordedPrimary,
    Refusal,
    Topology,
)
from fleettest.kube import Kube
from fleettest.rules import CASES, Case, manifest, name_of

pytestmark = pytest.mark.kube

CHART = Path(__file__).resolve().parents[2] / "charts" / "cachefleet"

# spec -> what the API server says of its schema; for the rules see fleettest.rules
REFUSED = (
    ({"memory": {"limit": "1Gx"}}, "spec.memory.limit in body should match"),
    ({"auth": {"mode": "secret", "secretRef": {}}}, "spec.auth.secretRef.name: Required value"),
    ({"instances": 11}, "spec.instances in body should be less than or equal to 10"),
    ({"instances": 0}, "spec.instances in body should be greater than or equal to 1"),
    ({"persistence": {"fsync": "no"}}, 'supported values: "always", "everysec", "never"'),
    ({"services": {"primary": {"type": "LoadBalancer", "loadBalancerSourceRanges": ["10.0.0.1"]}}},
     "spec.services.primary.loadBalancerSourceRanges[0] in body must be of type cidr"),
    ({"persistence": {"mode": "disk"}}, 'supported values: "none", "snapshot", "aof"'),
    ({"config": {"activerehashing": True}}, "must be of type integer,string"),
    ({"networkPolicy": {"clients": [{}] * 65}}, "must have at most 64 items"),
    ({"config": {f"x-{n}": "1" for n in range(513)}}, "spec.config: Too many: 513: must have at most 512"),
    ({"config": {"hz": "1" * 16385}}, "spec.config.hz: Too long: may not be more than 16384"),
)  # fmt: skip


@pytest.fixture(scope="module")
def caches(kube: Kube) -> Kube:
    """A cluster that knows Caches."""
    kube.apply(crd(), "--force-conflicts")
    kube.kubectl("wait", "--for=condition=Established", f"crd/{NAME}", "--timeout=60s")
    kube.wait_for(lambda: kube.kubectl("explain", "caches.spec"))
    return kube


@pytest.fixture(scope="module")
def shared_namespace(kube: Kube) -> Iterator[str]:
    with kube.new_namespace("crd") as name:
        yield name


@pytest.fixture
def namespace(caches: Kube, shared_namespace: str) -> Iterator[str]:
    """Without Caches at the beginning of each test; one for all, because making one takes longer than most tests."""
    yield shared_namespace
    caches.kubectl("delete", "caches", "--all", "-n", shared_namespace)


def cache(namespace: str, spec: dict[str, Any] | None = None, name: str = "orders") -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "Cache",
        "metadata": {"name": name, "namespace": namespace},
        **({"spec": spec} if spec is not None else {}),
    }


def words(text: str) -> str:
    """What kubectl wrote, on one line, without the value that the API server repeats for objects."""
    return " ".join(text.split()).replace('Invalid value: "object": ', "Invalid value: ")


def test_nothing_of_the_definition_is_dropped(caches: Kube) -> None:
    live = caches.get("crd", NAME)
    (version,), (wanted,) = live["spec"]["versions"], crd()["spec"]["versions"]
    assert version == wanted
    conditions = {condition["type"]: condition["status"] for condition in live["status"]["conditions"]}
    assert conditions["NamesAccepted"] == "True"
    assert "NonStructuralSchema" not in conditions


@pytest.mark.parametrize(("spec", "said"), REFUSED)
def test_refused(caches: Kube, namespace: str, spec: dict[str, Any], said: str) -> None:
    assert said in words(caches.refused(manifest(spec, namespace)))


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_rules(caches: Kube, namespace: str, case: Case) -> None:
    """That each is broken by some case: unit/execution/local/test_admission."""
    stored: Any = None
    if case.before is not None:
        caches.apply(manifest(case.before, namespace))
        stored = caches.get("cache", case.name, namespace)["spec"]
    if case.said:
        said = words(caches.refused(case.manifest(namespace)))
        assert f"{case.at}: Invalid value: {case.said}" in said if case.at else case.said in said
        assert stored is None or caches.get("cache", case.name, namespace)["spec"] == stored
    else:
        caches.apply(case.manifest(namespace))
        assert caches.get("cache", case.name, namespace)["metadata"]["generation"] == 1 + (stored is not None)


def test_a_field_of_ours_is_taken_away_by_every_way_to_apply(caches: Kube, namespace: str) -> None:
    """The documented `$patch: replace` is stored by the plain `kubectl apply`, too, which loses a null."""
    context = {"$patch": "replace", "runAsNonRoot": True}
    for wanted in ({"runAsUser": 5}, context):
        manifest = cache(namespace, {"podTemplate": {"spec": {"securityContext": wanted}}}, "plain")
        caches.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    stored = caches.get("cache", "plain", namespace)["spec"]["podTemplate"]["spec"]["securityContext"]
    assert stored == context


@pytest.mark.parametrize("spec", [None, {}, {"memory": {}, "persistence": {"storage": {}}}])
def test_defaults_are_filled_in(caches: Kube, namespace: str, spec: dict[str, Any] | None) -> None:
    caches.apply(cache(namespace, spec))
    stored = caches.get("cache", "orders", namespace)
    assert stored["spec"] == CacheSpec().wire()
    assert parse(stored).spec == CacheSpec()
    assert "status" not in stored


def test_numbers_where_people_write_them(caches: Kube, namespace: str) -> None:
    spec = {
        "memory": {"limit": 2**30},
        "config": {"maxclients": 500, "loglevel": "notice"},
        "resources": {"requests": {"cpu": 1}},
    }
    caches.apply(cache(namespace, spec))
    read = parse(caches.get("cache", "orders", namespace)).spec
    assert (read.memory.limit, read.config["maxclients"], read.resources.requests) == (str(2**30), "500", {"cpu": "1"})


def test_unknown_fields(caches: Kube, namespace: str) -> None:
    """kubectl says so; whoever does not ask for that loses them. What is free-form keeps everything."""
    pod = {"affinity": {"nodeAffinity": {"x": [1, {"y": True}]}}, "priorityClassName": "high"}
    peer = {"podSelector": {"matchLabels": {"app": "shop"}}}
    spec = {"podTemplate": {"spec": pod}, "networkPolicy": {"clients": [peer]}, "memory": {"max": 1}, "x": 1}
    manifest = cache(namespace, spec)
    assert re.search(r"\.spec\.(x|memory\.max): field not declared in schema", caches.refused(manifest))
    caches.kubectl("create", "--validate=ignore", "-f", "-", stdin=json.dumps(manifest))
    stored = caches.get("cache", "orders", namespace)["spec"]
    assert stored["podTemplate"]["spec"] == pod
    assert stored["networkPolicy"]["clients"] == [peer]
    assert "x" not in stored and "max" not in stored["memory"]


def full_status() -> CacheStatus:
    """Every field with a value that is not its default."""
    at = "2030-01-02T03:04:05Z"
    return CacheStatus(
        phase="Running", message="everything is as it should be", observed_generation=1,
        conditions=(
            Condition(type="Ready", status="True", reason="Serving", message="m", last_transition_time=at,
                      observed_generation=1),
            Condition(type="ConfigApplied", status="False", reason="Pending", message="m", last_transition_time=at,
                      observed_generation=1),
        ),
        topology=Topology(
            epoch=3, tenure=2, kind="continued", primary=RecordedPrimary(pod="orders-0", disk="d0", run="r0"),
            members=(Member(pod="orders-0", disk="d0", claim_uid="u0"),), acks=1, start=Position(tenure=1, offset=7),
            data_set="s", durability="replicated", reason="m", handed_over=2, down_since=at,
        ),
        primary="orders-0", ready="1/1", instances=1, selector="cachefleet.io/cache=orders", version="1.2.3",
        template_generation=1, image="registry.test/server:1.2.3", default_version="1.2.3", memory="12Mi/176Mi",
        endpoint="orders-rw:6379", binding=BindingStatus(name="orders-binding"),
        read_endpoint="orders-ro:6379",
        pods=(PodStatus(name="orders-0", role="primary", ready=True, version="1.2.3", used_memory=2**40, last_save=at,
                        link="up", lag_seconds=1, offset=2**40, message="m"),),
        restart_required=("databases: 16 -> 8",), sampled_at=at,
        refusals=(Refusal(target="orders-0", subject="hz", wish="5", message="no", at=at),),
    )  # fmt: skip


def set_status(kube: Kube, namespace: str, status: CacheStatus) -> None:
    kube.patch("cache", "orders", namespace, {"status": status.wire()}, "--subresource=status")


def test_a_status_is_kept_whole_and_apart(caches: Kube, namespace: str) -> None:
    status = full_status()
    assert all(getattr(status, name) != field.default for name, field in CacheStatus.model_fields.items())
    caches.apply({**cache(namespace, {}), "status": status.wire()})
    assert "status" not in caches.get("cache", "orders", namespace)
    set_status(caches, namespace, status)
    stored = caches.get("cache", "orders", namespace)
    assert stored["status"] == status.wire()
    assert stored["metadata"]["generation"] == 1
    assert parse(stored).status == status


def test_conditions_are_keyed_by_type(caches: Kube, namespace: str) -> None:
    caches.apply(cache(namespace))
    twice = full_status().model_copy(update={"conditions": full_status().conditions[:1] * 2})
    with pytest.raises(AssertionError, match=re.escape('status.conditions[1]: Duplicate value: {"type":"Ready"}')):
        set_status(caches, namespace, twice)


def test_columns(caches: Kube, namespace: str) -> None:
    caches.apply(cache(namespace))
    set_status(caches, namespace, full_status())
    plain = caches.kubectl("get", "cfc", "-n", namespace).splitlines()
    assert re.split(r"  +", plain[0].strip()) == ["NAME", "PHASE", "READY", "PRIMARY", "VERSION", "MEMORY", "AGE"]
    row = re.split(r"  +", plain[1].strip())
    assert row[:-1] == ["orders", "Running", "1/1", "orders-0", "1.2.3", "12Mi/176Mi"]
    wide = caches.kubectl("get", "caches", "-n", namespace, "-o", "wide").splitlines()
    assert re.split(r"  +", wide[1].strip())[-5:] == [
        "aof", "Pending", "orders-rw:6379", "registry.test/server:1.2.3", "everything is as it should be"
    ]  # fmt: skip
    for category in ("all", "cachefleet"):
        assert "orders" in caches.kubectl("get", category, "-n", namespace, "-o", "name")


def test_scale(caches: Kube, namespace: str) -> None:
    caches.apply(cache(namespace))
    set_status(caches, namespace, full_status())
    caches.kubectl("scale", "cache", "orders", "-n", namespace, "--current-replicas=1", "--replicas=2")
    assert caches.get("cache", "orders", namespace)["spec"]["instances"] == 2
    scale = yaml.safe_load(
        caches.kubectl("get", "cache", "orders", "-n", namespace, "--subresource=scale", "-o", "yaml")
    )
    assert scale["spec"] == {"replicas": 2}
    assert scale["status"] == {"replicas": 1, "selector": "cachefleet.io/cache=orders"}
    with pytest.raises(AssertionError, match="less than or equal to 10"):
        caches.kubectl("scale", "cache", "orders", "-n", namespace, "--replicas=11")


@pytest.mark.parametrize("path", ["", "spec", "spec.persistence", "spec.podTemplate", "status.conditions"])
def test_explain_reads_as_documentation(caches: Kube, path: str) -> None:
    node = schema()
    for name in filter(None, path.split(".")):
        node = node["properties"][name]
        node = node.get("items", node)
    shown = words(caches.kubectl("explain", f"cache.{path}".rstrip("."), f"--api-version={API_VERSION}"))
    assert node["description"] in shown or path == "status.conditions"  # of a list, its own description is shown
    for name, field in node["properties"].items():
        assert f"{name} <" in shown
        assert field.get("description", "") in shown


def test_helm_reads_the_template(kube: Kube) -> None:
    name = "templates/crd-caches.yaml"
    command = ("template", "fleet", str(CHART), "--kube-version", "1.34")
    rendered = yaml.safe_load(kube.helm(*command, "--show-only", name))
    assert rendered["spec"] == crd()["spec"]
    assert rendered["metadata"]["name"] == NAME
    assert rendered["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert rendered["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"
    assert "CustomResourceDefinition" not in kube.helm(*command, "--set", "crds.install=false")

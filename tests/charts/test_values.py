"""values.schema.json: it describes every value, and what it refuses is said in words that name the value."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from fleettest.helm import CHARTS, VALUES, Helm, Refused

# chart, --set arguments -> what helm says
REFUSED = (
    ("cachefleet", "replica=2", "additional properties 'replica' not allowed"),
    ("cachefleet", "replicas=two", "at '/replicas': got string, want integer"),
    ("cachefleet", "replicas=10", "at '/replicas': maximum: got 10, want 9"),
    ("cachefleet", "namespaces={Shop}", "at '/namespaces/0': 'Shop' does not match pattern"),
    ("cachefleet", "namespaces=shop", "at '/namespaces': got string, want array"),
    ("cachefleet", "logLevel=loud", "at '/logLevel': value must be one of 'debug', 'info', 'warning', 'error'"),
    ("cachefleet", "concurrency=0", "at '/concurrency': minimum: got 0, want 1"),
    ("cachefleet", "probeSeconds=0", "at '/probeSeconds': minimum: got 0, want 1"),
    ("cachefleet", "image.repo=x", "at '/image': additional properties 'repo' not allowed"),
    ("cachefleet", "image.repository=a b", "at '/image/repository': 'a b' does not match pattern"),
    ("cachefleet", "image.pullPolicy=Sometimes", "value must be one of 'Always', 'IfNotPresent', 'Never'"),
    ("cachefleet", "image.digest=sha256:1", "at '/image/digest': 'sha256:1' does not match pattern"),
    ("cachefleet", "fullnameOverride=Caches", "at '/fullnameOverride': 'Caches' does not match pattern"),
    ("cachefleet", "extraEnv[0].name=CACHEFLEET_LOG_LEVEL,extraEnv[0].value=x", "at '/extraEnv/0/name': 'not' failed"),
    ("cachefleet", "extraEnv[0].value=x", "at '/extraEnv/0': missing property 'name'"),
    ("cachefleet", "topologySpreadConstraints[0].maxSkew=1", "missing property 'topologyKey'"),
    ("cachefleet", "serviceMonitor.interval=30", "at '/serviceMonitor/interval'"),
    ("cachefleet", "caches.labels.a=b c", "at '/caches/labels/a': 'b c' does not match pattern"),
    ("cachefleet", "caches.labels.a b=c", "at '/caches/labels': additional properties 'a b' not allowed"),
    ("cachefleet", "caches.storageClassName=Fast", "at '/caches/storageClassName': 'Fast' does not match pattern"),
    ("cachefleet", "caches.storageClass=fast", "at '/caches': additional properties 'storageClass' not allowed"),
    ("cachefleet", "caches.fixedUser=never", "at '/caches/fixedUser': got string, want boolean"),
    ("cachefleet", "podMonitor.interval=30", "at '/podMonitor/interval'"),
    ("cachefleet", "podMonitor.enabled=maybe", "at '/podMonitor/enabled': got string, want boolean"),
    ("cachefleet", "dashboards.labels.grafana=1", "at '/dashboards/labels/grafana': got number, want string"),
    ("cachefleet", "imagePullSecrets[0].nam=x", "at '/imagePullSecrets/0': missing property 'name'"),
    ("cachefleet", "resources.limit.cpu=1", "at '/resources': additional properties 'limit' not allowed"),
    ("cachefleet", "prometheusRule.alerts.CacheDown.enabled=false", "additional properties 'CacheDown' not allowed"),
    ("cachefleet", "prometheusRule.alerts.CachefleetNotReady.threshold=10m", "'10m' does not match pattern"),
    ("cachefleet", "prometheusRule.alerts.CachefleetNotReady.threshold=-1", "minimum: got -1, want 0"),
    ("cachefleet", "prometheusRule.alerts.CachefleetNotReady.for=600", "got number, want string"),
    ("cachefleet", "prometheusRule.alerts.CachefleetNotReady.when=x", "additional properties 'when' not allowed"),
    ("cachefleet", "prometheusRule.alerts.CachefleetServerDown.threshold=2", "additional properties 'threshold' not"),
    ("cachefleet", "prometheusRule.alerts.CachefleetServerDown.severity=bad", "must be one of 'critical', 'warning'"),
    ("cache", "spec.memory.limits=1Gi", "at '/spec/memory': additional properties 'limits' not allowed"),
    ("cache", "spec.memory.limit=1Gx", "at '/spec/memory/limit'"),
    ("cache", "spec.memory.maxmemoryPercent=99", "at '/spec/memory/maxmemoryPercent': maximum: got 99, want 95"),
    ("cache", "spec.persistence.mode=disk", "value must be one of 'none', 'snapshot', 'aof'"),
    ("cache", "spec.persistence.fsync=true", "at '/spec/persistence/fsync'"),
    ("cache", "spec.monitoring.interval=1d", "at '/spec/monitoring/interval': '1d' does not match pattern"),
    ("cache", "spec.paused=yes", "at '/spec/paused': got string, want boolean"),
    ("cache", "spec.config.activerehashing=true", "at '/spec/config/activerehashing'"),
    ("cache", "spec.memory=null", "at '/spec/memory': got null, want object"),
    ("cache", "spec.auth.mode=null", "at '/spec/auth/mode': got null, want string"),
    ("cache", "name=9to5", "at '/name': '9to5' does not match pattern"),
    ("cache", f"name={'a' * 41}", "at '/name': maxLength: got 41, want 40"),
    ("cache", "sepc.paused=true", "additional properties 'sepc' not allowed"),
)  # fmt: skip
# Values that are as they come: whatever is in them belongs to Kubernetes or to the user.
OPEN = (
    *("podSecurityContext", "securityContext", "podSecurityContext.seccompProfile", "securityContext.capabilities"),
    *("extraEnv", "topologySpreadConstraints"),
    "global",
    "resources.requests",
    "resources.limits",
    "resources.claims",
    "affinity",
    "tolerations",
)


ALERTS = CHARTS / "cachefleet" / "files" / "alerts.yaml"


def schema_of(chart: str) -> dict[str, Any]:
    return dict(json.loads((CHARTS / chart / "values.schema.json").read_text()))


def fields(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, field in node.get("properties", {}).items():
        place = f"{path}.{name}".lstrip(".")
        yield place, field
        yield from fields(field, place)


def values(node: Any, path: str = "") -> Iterator[str]:
    for name, value in node.items() if isinstance(node, dict) else ():
        place = f"{path}.{name}".lstrip(".")
        yield place
        yield from values(value, place)


@pytest.mark.parametrize(("chart", "given", "said"), REFUSED)
def test_refused_in_words(helm: Helm, chart: str, given: str, said: str) -> None:
    with pytest.raises(Refused) as refusal:
        helm.template(chart, "default", "--set", given)
    words = str(refusal.value)
    assert "values don't meet the specifications of the schema" in words
    assert said in words, words


def test_every_value_has_a_default_and_a_description() -> None:
    described = dict(fields(schema_of("cachefleet")))
    given = set(values(yaml.safe_load((CHARTS / "cachefleet" / "values.yaml").read_text())))
    inner = {path for path in given if path not in described}
    assert {path for path in inner if path.rpartition(".")[0] not in (*OPEN, "dashboards.labels")} == set()
    assert set(described) - given - set(OPEN) == set()
    assert [path for path, field in described.items() if not field["description"].endswith(".")] == []


def test_the_schema_knows_every_alert_and_which_has_a_threshold() -> None:
    patterns = schema_of("cachefleet")["properties"]["prometheusRule"]["properties"]["alerts"]["patternProperties"]
    words = {
        kind["$ref"].rpartition("/")[2]: re.fullmatch(r"\^Cachefleet\((.*)\)\$", pattern)
        for pattern, kind in patterns.items()
    }
    known = {kind: [f"Cachefleet{name}" for name in found[1].split("|")] for kind, found in words.items() if found}
    rows = [row for group in yaml.safe_load(ALERTS.read_text())["groups"] for row in group["rules"]]
    assert known == {
        "alert with a threshold": [row["alert"] for row in rows if "threshold" in row],
        "alert": [row["alert"] for row in rows if "threshold" not in row],
    }


@pytest.mark.parametrize("chart", ["cachefleet", "cache"])
def test_no_object_takes_what_it_does_not_know(chart: str) -> None:
    objects = [("", schema_of(chart)), *fields(schema_of(chart))]
    assert [path for path, node in objects if "properties" in node and node["additionalProperties"] is not False] == []


def test_a_parent_chart_may_set_globals(helm: Helm) -> None:
    for chart in ("cachefleet", "cache"):
        helm.template(chart, "default", "--set", "global.registry=x")


def test_the_full_values_set_everything() -> None:
    """So that a golden shows what each value does; `openshift` has what excludes a value of `full`."""
    files = [VALUES / f"cachefleet-{name}.yaml" for name in ("full", "openshift")]
    set_there = {path for file in files for path in values(yaml.safe_load(file.read_text()))}
    unset = {path for path, field in fields(schema_of("cachefleet")) if "properties" not in field} - set_there
    elsewhere = {
        "namespaces", "crds.install", "rbac.create", "rbac.aggregate", "rbac.serviceBinding", "networkPolicy.enabled",
    }  # fmt: skip
    assert unset - elsewhere - {"global", "resources.claims", "serviceAccount.create"} == set()


# -- null: `podMonitor:` with nothing below it

BLOCKS = {
    "image": ("repository", "pullPolicy"), "server": ("repository",), "caches": (), "namespaces": (),
    "serviceAccount": (), "rbac": (), "crds": (), "networkPolicy": (), "podMonitor": ("interval",),
    "serviceMonitor": ("interval",), "prometheusRule": (), "dashboards": (),
}  # fmt: skip


def nulls(values: dict[str, Any]) -> list[str]:
    """Every value that may be null, as --set says it."""
    found = []
    for name, value in values.items():
        if name not in BLOCKS:
            found.append(f"{name}=null")
        elif isinstance(value, dict):
            found += [f"{name}.{inner}=null" for inner in value if inner not in BLOCKS[name]]
    return found


def test_a_block_that_is_null_is_refused_by_name(helm: Helm) -> None:
    with pytest.raises(Refused) as refused:
        helm.template("cachefleet", "default", "--set", ",".join(f"{block}=null" for block in BLOCKS))
    assert f"without a value: {', '.join(BLOCKS)}; leave it out for the default" in str(refused.value)
    inner = [f"{block}.{field}" for block in sorted(BLOCKS) for field in BLOCKS[block]]
    with pytest.raises(Refused) as refused:
        helm.template("cachefleet", "default", "--set", ",".join(f"{path}=null" for path in inner))
    assert f"without a value: {', '.join(inner)}; leave it out" in str(refused.value)


def test_two_monitors_are_refused(helm: Helm) -> None:
    """Each operator would be counted twice, and two leaders alarm people."""
    with pytest.raises(Refused, match="podMonitor and serviceMonitor: with both"):
        helm.template("cachefleet", "default", "--set", "podMonitor.enabled=true,serviceMonitor.enabled=true")


def test_every_other_value_may_be_null(helm: Helm) -> None:
    values = yaml.safe_load((CHARTS / "cachefleet" / "values.yaml").read_text())
    blocks = {name for name, value in values.items() if isinstance(value, dict) and value}
    assert set(BLOCKS) == blocks - {"resources", "podSecurityContext", "securityContext"} | {"namespaces"}
    assert helm.template("cachefleet", "default", "--set", ",".join(nulls(values)))
    on = "podMonitor.enabled=true,prometheusRule.enabled=true,dashboards.enabled=true"
    shown = [null for null in nulls(values) if not null.endswith(".enabled=null")]
    assert helm.template("cachefleet", "default", "--set", ",".join([on, *shown]))


def test_a_cache_of_nulls_is_the_default(helm: Helm) -> None:
    (cache,) = helm.template("cache", "default", "--set", "spec=null,labels=null,annotations=null,name=null")
    assert (cache["metadata"]["name"], cache["spec"]) == ("fleet", {})

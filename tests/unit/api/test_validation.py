"""problems(cache): one row a problem, its words compared whole; and every example of what is fine."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachefleet_operator.api import names, validation
from cachefleet_operator.api.parameters import PARAMETERS
from cachefleet_operator.api.v1alpha1 import Cache
from cachefleet_operator.api.validation import (
    DEPTH_MAX,
    GUESSES_MAX,
    PROBLEMS_MAX,
    VALUES_MAX,
    problems,
)
from cachefleet_operator.resources.podspec import pod_template
from fleettest.snapshots import cache

pytestmark = pytest.mark.unit

POD = "spec.podTemplate.spec"
LABEL = "must be lower case letters, digits and inner dashes, at most 63"
OURS = "belongs to the operator"
PATCH = "would remove what is the operator's"
NODE = "is refused: a cache shares no namespace with its node"


def pod(**spec: Any) -> dict[str, Any]:
    return {"podTemplate": {"spec": spec}}


def server(**fields: Any) -> dict[str, Any]:
    return pod(containers=[{"name": "server", **fields}])


def unchecked(**spec: Any) -> Cache:
    """What the models would refuse, from a CRD that is older than them."""
    config = spec.pop("config", {})
    made = cache(**spec)
    return made.model_copy(update={"spec": made.spec.model_copy(update={"config": config})})


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        *(({"auth": {"mode": "secret", "secretRef": {"name": f"orders-{ours}"}}},
           f"spec.auth.secretRef.name: orders-{ours} {OURS}; name a Secret of your own")
          for ours in ("auth", "server-password", "binding")),
        # spec.config
        ({"config": {"no-such": "1"}}, "spec.config.no-such: unknown parameter"),
        ({"config": {"maxmemory": "1gb"}},
         "spec.config.maxmemory: is set by spec.memory.limit and spec.memory.maxmemoryPercent"),
        ({"config": {"MaxMemory-Policy": "noeviction"}},
         "spec.config.MaxMemory-Policy: is set by spec.memory.evictionPolicy"),
        ({"config": {"requirepass": "x"}}, "spec.config.requirepass: is set by spec.auth"),
        ({"config": {"slaveof": "h 1"}}, "spec.config.slaveof: is set by spec.instances"),
        ({"config": {"port": 6380}}, f"spec.config.port: {OURS}"),
        ({"config": {"metrics-port": 1}}, f"spec.config.metrics-port: {OURS}"),
        ({"config": {"min-slaves-to-write": 1}}, f"spec.config.min-slaves-to-write: {OURS}"),
        ({"config": {"cluster-enabled": "no"}}, "spec.config.cluster-enabled: cluster mode is not built yet"),
        ({"config": {"tls-ciphers": "x"}}, "spec.config.tls-ciphers: TLS is not built yet"),
        ({"config": {"activedefrag": "yes"}}, "spec.config.activedefrag: active defragmentation is not built yet"),
        ({"config": {"hz": "many"}}, "spec.config.hz: argument couldn't be parsed into an integer"),
        ({"config": {"maxclients": 0}}, "spec.config.maxclients: argument must be between 1 and 4294967295 inclusive"),
        ({"config": {"hash-max-listpack-entries": 1, "hash-max-ziplist-entries": 1}},
         "spec.config.hash-max-ziplist-entries: sets the same parameter as hash-max-listpack-entries"),
        ({"config": {"hz": 1, "HZ": 1}}, "spec.config.HZ: sets the same parameter as hz"),
        # amounts
        ({"memory": {"limit": "-1Gi"}}, "spec.memory.limit: must be positive"),
        ({"persistence": {"storage": {"size": 0}}}, "spec.persistence.storage.size: must be positive"),
        ({"memory": {"limit": "9Ei"}}, "spec.memory.limit: is out of range"),
        ({"resources": {"requests": {"cpu": "-1"}}}, "spec.resources.requests.cpu: must be positive"),
        ({"resources": {"requests": {"memory": "257Mi"}}},
         "spec.resources.requests.memory: 257Mi is more than spec.memory.limit, 256Mi"),
        ({"resources": {"requests": {"cpu": 2}, "limits": {"cpu": "1500m"}}},
         "spec.resources.requests.cpu: 2 is more than spec.resources.limits.cpu, 1500m"),
        # labels and annotations
        ({"podTemplate": {"labels": {names.LABEL_APP: "x"}}}, f"spec.podTemplate.labels: {names.LABEL_APP} {OURS}"),
        ({"podTemplate": {"labels": {names.LABEL_ROLE: "x"}}}, f"spec.podTemplate.labels: {names.LABEL_ROLE} {OURS}"),
        ({"podTemplate": {"labels": {names.LABEL_READS: "x"}}}, f"spec.podTemplate.labels: {names.LABEL_READS} {OURS}"),
        ({"podTemplate": {"annotations": {"cachefleet.io/x": ""}}},
         f"spec.podTemplate.annotations: cachefleet.io/x {OURS}"),
        ({"services": {"primary": {"annotations": {names.ANNOTATION_APPLIED: ""}}}},
         f"spec.services.primary.annotations: {names.ANNOTATION_APPLIED} {OURS}"),
        ({"services": {"replicas": {"annotations": {names.ANNOTATION_APPLIED: ""}}}},
         f"spec.services.replicas.annotations: {names.ANNOTATION_APPLIED} {OURS}"),
        ({"services": {"primary": {"labels": {names.LABEL_CACHE: "x"}}}},
         f"spec.services.primary.labels: {names.LABEL_CACHE} {OURS}"),
        ({"services": {"replicas": {"labels": {names.LABEL_CACHE: "x"}}}},
         f"spec.services.replicas.labels: {names.LABEL_CACHE} {OURS}"),
        ({"monitoring": {"labels": {names.LABEL_CACHE: "x"}}}, f"spec.monitoring.labels: {names.LABEL_CACHE} {OURS}"),
        # overrides of the pod
        (pod(hostNetwork=True), f"{POD}.hostNetwork: {NODE}"),
        (pod(hostPID=False), f"{POD}.hostPID: {NODE}"),
        (pod(restartPolicy="Never"), f"{POD}.restartPolicy: is always Always in a StatefulSet"),
        (pod(subdomain="x"), f"{POD}.subdomain: is the StatefulSet's to give"),
        (pod(containers=None), f"{POD}.containers: must be a list"),
        (pod(containers=["server"]), f"{POD}.containers[0]: must be an object with a name"),
        (pod(volumes={"name": "x"}), f"{POD}.volumes: must be a list"),
        (pod(volumes=[{"name": "x"}, {"name": "data"}]), f"{POD}.volumes[1]: the name data {OURS}"),
        (pod(initContainers=[{"name": "server"}]), f"{POD}.initContainers[0]: the name server {OURS}"),
        (pod(volumes=[{"name": "/home/someone"}]), f"{POD}.volumes[0].name: {LABEL}"),
        (pod(volumes=[{"name": "x"}, {"name": "../data-orders-0"}]), f"{POD}.volumes[1].name: {LABEL}"),
        (pod(containers=[{"name": "a.b"}]), f"{POD}.containers[0].name: {LABEL}"),
        (pod(initContainers=[{"name": "a" * 64}]), f"{POD}.initContainers[0].name: {LABEL}"),
        (server(image="x"), f"{POD}.containers[0].image: is set by spec.image or spec.version"),
        (server(resources={}), f"{POD}.containers[0].resources: is set by spec.memory.limit and spec.resources"),
        (server(args=[]), f"{POD}.containers[0].args: {OURS}; parameters of the server are in spec.config"),
        (server(command=["sh"]), f"{POD}.containers[0].command: {OURS}"),
        (server(startupProbe={}),
         f"{POD}.containers[0].startupProbe: is the operator's: a slow disk must not kill a server that loads"),
        (server(lifecycle={}), f"{POD}.containers[0].lifecycle: is the operator's: a pod saves before it stops"),
        (server(env=[{"name": names.ENV_PORT, "value": "1"}]),
         f"{POD}.containers[0].env[0]: {names.ENV_PORT} {OURS}"),
        (server(env=[{"name": "A"}, {"name": "CACHEFLEET_REQUIREPASS", "value": "1"}]),
         f"{POD}.containers[0].env[1]: CACHEFLEET_REQUIREPASS {OURS}"),
        (server(env=None), f"{POD}.containers[0].env: must be a list"),
        (server(volumeMounts=[{"name": "x", "mountPath": "/data/"}]),
         f"{POD}.containers[0].volumeMounts[0]: /data/ would hide /data, which {OURS}"),
        (server(volumeMounts=[{"name": "x", "mountPath": "/mnt/../data/deep"}]),
         f"{POD}.containers[0].volumeMounts[0]: /mnt/../data/deep would hide /data, which {OURS}"),
        # directives of strategic merge, where they would remove what is ours
        ({"podTemplate": {"spec": {"$patch": "replace"}}}, f"{POD}.$patch: {PATCH}"),
        (pod(containers=[{"name": "server", "$patch": "delete"}]), f"{POD}.containers[0].$patch: {PATCH}"),
        (pod(volumes=[{"$patch": "replace"}]), f"{POD}.volumes[0]: must be an object with a name"),
        (server(env=[{"name": "A", "$patch": "replace"}]), f"{POD}.containers[0].env[0].$patch: {PATCH}"),
        (pod(affinity={"$retainKeys": []}),
         f"{POD}.affinity.$retainKeys: of the directives of strategic merge only $patch is supported"),
    ],
)  # fmt: skip
def test_one_problem(spec: dict[str, Any], problem: str) -> None:
    assert problems(cache(**spec)) == (problem,)


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"config": {"maxclients": 500, "lua-time-limit": "100", "notify-keyspace-events": "KEA", "databases": 4,
                    "client-output-buffer-limit": "pubsub 64mb 16mb 30", "enable-debug-command": "local"}},
        {"persistence": {"mode": "none"}, "auth": {"mode": "secret", "secretRef": {"name": "x"}}},
        {"resources": {"requests": {"memory": "256Mi", "cpu": 0}, "limits": {"cpu": "50m"}}},
        {"podTemplate": {"labels": {"team": "shop"}, "annotations": {"x/y": "z"}}},
        {"networkPolicy": {"clients": [{"podSelector": {"matchLabels": {"app": "shop"}}}]}},
        pod(
            affinity={"$patch": "replace", "podAntiAffinity": {}}, tolerations=[{"operator": "Exists"}],
            nodeSelector={"disk": "ssd"}, priorityClassName="high", serviceAccountName="shop", securityContext=None,
            volumes=[{"name": "extra", "emptyDir": {}}],
            initContainers=[{"name": "prepare", "image": "x", "command": ["true"]}],
            containers=[
                {"name": "server", "env": [{"name": "TZ", "value": "UTC"}],
                 "volumeMounts": [{"name": "extra", "mountPath": "/database"}]},
                {"name": "sidecar", "image": "x", "args": ["y"], "env": [{"name": "SERVER_PORT", "value": "1"}],
                 "volumeMounts": [{"name": "data", "mountPath": "/data", "readOnly": True}]},
            ],
        ),
    ],
    ids=lambda spec: "-".join(spec) or "empty",
)  # fmt: skip
def test_what_is_fine(spec: dict[str, Any]) -> None:
    assert problems(cache(**spec)) == ()


def test_every_problem_is_said() -> None:
    wrong = {"auth": {"mode": "secret", "secretRef": {"name": "orders-auth"}}, "config": {"port": "1", "x": "y"}}
    found = problems(cache(**wrong, **pod(hostIPC=True)))
    assert [problem.split(":")[0] for problem in found] == [
        "spec.auth.secretRef.name", "spec.config.port", "spec.config.x", f"{POD}.hostIPC"
    ]  # fmt: skip


def test_depth_has_an_end() -> None:
    def nested(depth: int) -> dict[str, Any]:
        value: dict[str, Any] = {}
        for _ in range(depth):
            value = {"a": value}
        return value

    assert problems(cache(podTemplate={"spec": nested(DEPTH_MAX)})) == ()
    for deep in ({"podTemplate": {"spec": nested(50_000)}}, {"networkPolicy": {"clients": [nested(50_000)]}}):
        (problem,) = problems(cache(**deep))
        assert problem.endswith(f": is nested more than {DEPTH_MAX} deep") and len(problem) < 300


def test_a_spec_may_be_wrong_in_ten_thousand_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is one thread for all Caches, and a status of limited size."""
    guessed = []
    monkeypatch.setattr(validation, "did_you_mean", lambda name, known: guessed.append(name) or "")
    pods = {"containers": [{"name": f"Bad{n}"} for n in range(10_000)], "hostIPC": True}
    for spec in (pod(**pods), {"podTemplate": {"labels": {f"cachefleet.io/{n}": "" for n in range(10_000)}}}):
        found = problems(cache(**spec))
        assert len(found) == PROBLEMS_MAX + 1
        assert found[-1] == f"spec: has more problems than these {PROBLEMS_MAX}"
    found = problems(unchecked(config={f"no-such-{n}": "1" for n in range(10_000)}))
    assert len(found) == PROBLEMS_MAX + 1 and len(guessed) == GUESSES_MAX


LONG = "x" * 500_000


@pytest.mark.parametrize(
    "spec",
    [
        {"config": {LONG: "1"}},
        {"config": {LONG: "1", "maxclients": "1" * 500_000 + "x"}},
        {"config": {"client-output-buffer-limit": f"normal 0 0 {'0' * 500_000}x"}},
        {"config": {"latency-tracking-info-percentiles": "1" * 500_000 + "x"}},
        {"config": {"notify-keyspace-events": "A" * 500_000 + "?"}},
        {"services": {"primary": {"annotations": {f"cachefleet.io/{LONG}": ""}}}},
        pod(volumes=[{"name": LONG}]),
        server(env=[{"name": f"SERVER_{LONG}"}]),
        server(volumeMounts=[{"mountPath": "/data/" + "a/" * 250_000}]),
        pod(**{LONG: {f"${n}": n for n in range(10_000)}}),
        pod(affinity={LONG: {LONG: [{"$x": 1} for n in range(10_000)]}}),
        pod(affinity=[[n] for n in range(VALUES_MAX)]),
    ],
    ids=lambda spec: str(next(iter(spec))),
)
def test_what_is_long_is_cut_and_costs_no_more_than_it_is_long(spec: dict[str, Any]) -> None:
    checked = unchecked(**spec)
    began = time.process_time()
    found = problems(checked)
    assert time.process_time() - began < 2.0  # hours, where the cost is its square
    assert found and all(len(problem) <= 300 for problem in found)


def test_every_parameter_has_a_verdict() -> None:
    """A default is fine where spec.config decides, and refused with a reason where it does not."""
    for parameter in PARAMETERS:
        found = problems(cache(config={parameter.name: parameter.default}))
        assert bool(found) == bool(parameter.owner or parameter.unbuilt), (parameter.name, found)


def test_what_is_ours_is_what_the_builder_makes() -> None:
    """Names, variables and paths that are refused are those of the pod that resources/podspec.py builds."""
    spec = pod_template(cache(persistence={"mode": "none"}), "image")["spec"]
    (built,) = spec["containers"]
    assert {mount["name"]: mount["mountPath"] for mount in built["volumeMounts"]} == names.MOUNTS
    assert {volume["name"] for volume in spec["volumes"]} == set(names.MOUNTS)
    for variable in built["env"]:
        assert problems(cache(**server(env=[variable])))
    assert built["name"] == names.CONTAINER


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["server", "data", "/data"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["name", "containers", "env", "volumeMounts", "mountPath", "volumes", "$patch", "x"]), inner
    ),
    max_leaves=12,
)  # fmt: skip


@given(
    st.dictionaries(st.sampled_from(["containers", "initContainers", "volumes", "$patch", "x"]), JSON),
    st.dictionaries(st.text(max_size=8) | st.sampled_from([p.name for p in PARAMETERS]), st.text(max_size=8)),
)
def test_nothing_makes_it_fail(pod_spec: dict[str, Any], config: dict[str, str]) -> None:
    found = problems(cache(podTemplate={"spec": pod_spec}, config=config))
    assert all(problem.startswith(("spec.", "spec: ")) and ": " in problem for problem in found)
    assert len(found) <= PROBLEMS_MAX + 1
    json.dumps(found).encode()

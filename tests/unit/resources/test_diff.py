"""Drift, stamp, outdated, why: what is noticed, in which words, and above all what is not."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Object
from cachefleet_operator.resources.diff import drift, outdated, stamp, why
from cachefleet_operator.resources.networkpolicy import network_policy
from cachefleet_operator.resources.pdb import pod_disruption_budget
from cachefleet_operator.resources.podspec import pod_template
from cachefleet_operator.resources.services import service_rw
from cachefleet_operator.resources.statefulset import statefulset
from fleettest.snapshots import SITE, cache

IMAGE = "registry.test/cachefleet-server:1.0.0"
Edit = Callable[[Any], object]


def as_read(obj: Object) -> Any:
    """As it comes back from the API: a copy of its own, through JSON."""
    return json.loads(json.dumps(obj))


def defaulted(wanted: Object) -> Any:
    """A StatefulSet as an API server of 1.34 returns it: all that it and controllers fill in."""
    live = as_read(wanted)
    live["metadata"] |= {"uid": "u", "resourceVersion": "7", "generation": 1, "managedFields": [{"manager": "x"}]}
    live["status"] = {"replicas": 1, "updateRevision": "r1", "observedGeneration": 1}
    live["spec"]["updateStrategy"]["rollingUpdate"] = {"partition": 0}
    pod = live["spec"]["template"]["spec"]
    pod |= {"dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler"}
    pod["serviceAccount"] = pod["serviceAccountName"]
    for volume in pod["volumes"]:
        volume.get("configMap", volume.get("projected", {}))["defaultMode"] = 420
    (server,) = pod["containers"]
    server["terminationMessagePath"] = "/dev/termination-log"
    for entry in server["env"]:
        if "valueFrom" in entry:
            entry["valueFrom"]["fieldRef"]["apiVersion"] = "v1"
        elif entry["value"] == "":
            del entry["value"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        server[probe]["successThreshold"] = 1
        server[probe]["httpGet"]["scheme"] = "HTTP"
    (claim,) = live["spec"]["volumeClaimTemplates"]
    claim["status"] = {"phase": "Pending"}
    claim["spec"]["volumeMode"] = "Filesystem"
    return live


# -- stamp


def test_a_stamp_is_a_hash_of_the_rest() -> None:
    obj = service_rw(cache())
    once = stamp(obj)
    applied = once["metadata"]["annotations"][names.ANNOTATION_APPLIED]
    assert len(applied) == 16
    assert stamp(as_read(obj)) == once
    assert "annotations" not in obj["metadata"], "the argument was changed"
    other = stamp(service_rw(cache(services={"primary": {"type": "NodePort"}})))
    assert other["metadata"]["annotations"][names.ANNOTATION_APPLIED] != applied


def test_a_stamp_does_not_depend_on_the_order_of_fields() -> None:
    obj = service_rw(cache())
    assert stamp(dict(reversed(obj.items()))) == stamp(obj)


# -- no drift


@pytest.mark.parametrize("kind", ["containers", "initContainers"])
def test_an_image_from_a_mirror_is_no_drift(kind: str) -> None:
    """A webhook rewrites it each time that it is written."""

    def pod(image: str) -> Object:
        return {"spec": {kind: [{"name": "server", "image": image}]}}

    assert not drift(pod("cachefleet/server:1.0.0"), pod("mirror.test/cachefleet/server:1.0.0"))
    assert drift(pod("cachefleet/server:1.0.0"), pod("mirror.test/cachefleet/server:1.0.1"))


def test_nothing_but_an_image_may_come_from_elsewhere() -> None:
    wanted, live = ({"spec": {"hostname": f"{host}/server:1.0.0"}} for host in ("a.test", "b.test"))
    assert drift(wanted, live) == ("spec.hostname is b.test/server:1.0.0, want a.test/server:1.0.0",)


@pytest.mark.parametrize(("length", "shown"), [(80, "x" * 80), (81, "x" * 77 + "...")])
def test_a_long_value_is_cut(length: int, shown: str) -> None:
    assert drift({"spec": {"hostname": "x" * length}}, {"spec": {}}) == (f"spec.hostname is missing, want {shown}",)


def test_a_mirror_is_no_reason_for_a_restart() -> None:
    template = {"spec": {"containers": [{"name": "server", "image": "cachefleet/server:2"}]}}
    for image, told in (("mirror.test/server:2", False), ("mirror.test/server:1", True)):
        pod = {"spec": {"containers": [{"name": "server", "image": image}]}, "metadata": {}}
        assert ("image changed from" in why(template, pod)) is told


@pytest.mark.parametrize(
    ("want", "have", "differs"),
    [("0.0005", "1m", False), ("100.2m", "101m", False), ("0.0005", "2m", True), ("1m", "2m", True), ("1", "1", False)],
)
def test_amounts_differ_after_the_api_servers_rounding(want: str, have: str, differs: bool) -> None:
    """It keeps thousandths, and would be told the rest for ever."""

    def pod(cpu: str) -> Object:
        return {"spec": {"containers": [{"name": "server", "resources": {"requests": {"cpu": cpu}}}]}}

    assert bool(drift(pod(want), pod(have))) is differs
    assert ("cpu request changed" in why(pod(want), pod(have))) is differs



def test_what_the_api_server_fills_in_is_no_drift() -> None:
    wanted = stamp(statefulset(cache(), IMAGE))
    assert drift(wanted, defaulted(wanted)) == ()


def test_every_builder_is_without_drift_against_itself(named: tuple[str, tuple[Object, ...]]) -> None:
    for obj in named[1]:
        assert drift(stamp(obj), as_read(stamp(obj))) == ()


# Wanted and live values of the same meaning, as the field `resources` of a container.
SAME = [
    ({"limits": {"memory": "1Gi"}}, {"limits": {"memory": "1024Mi"}}),
    ({"limits": {"cpu": 0.5}}, {"limits": {"cpu": "500m"}}),
    ({"limits": {"cpu": "1e3"}}, {"limits": {"cpu": "1k"}}),
    ({"requests": {}}, {}),
    ({"claims": []}, {}),
    ({"claims": [{"name": "a"}]}, {"claims": [{"name": "b"}, {"name": "a", "request": "x"}]}),
]


@pytest.mark.parametrize(("want", "have"), SAME)
def test_the_same_in_other_words(want: Any, have: Any) -> None:
    def of(resources: Any) -> Any:
        return {"kind": "X", "spec": {"resources": resources}}

    assert drift(of(want), of(have)) == ()


@pytest.mark.parametrize(("want", "have"), [
    ({"hostNetwork": False}, {}),
    ({"hostname": ""}, {}),
    ({"minReadySeconds": 0}, {}),
    ({"nodeSelector": {}}, {}),
    ({"nodeSelector": {}}, {"nodeSelector": {"by": "others"}}),
    ({"tolerations": []}, {}),
    ({"nodeSelector": {"pool": "caches"}}, {"nodeSelector": {"pool": "caches", "by": "policy"}}),
    ({"selector": {"app": "x"}}, {"selector": {"app": "x", "empty": ""}}),
    ({"hostname": None}, {}),
    ({"hostname": None}, {"hostname": "x"}),
    ({"volumes": [{"name": "a", "emptyDir": {}}]}, {"volumes": [{"name": "a", "emptyDir": {}}]}),
    ({"volumes": [{"name": "a", "emptyDir": {"sizeLimit": "1Gi"}}]},
     {"volumes": [{"name": "b"}, {"name": "a", "emptyDir": {"sizeLimit": "1024Mi"}}]}),
    ({"serviceAccount": "x"}, {"serviceAccount": "y"}),
    ({"ports": [{"port": 1}]}, {"ports": [{"port": 1, "protocol": "TCP", "nodePort": 30000}]}),
    ({"ports": [{"containerPort": 1, "protocol": "UDP", "name": "u"}, {"containerPort": 1, "name": "t"}]},
     {"ports": [{"containerPort": 1, "protocol": "TCP", "name": "t"},
                {"containerPort": 1, "protocol": "UDP", "name": "u"}]}),
    ({"rules": [{"a": 1}]}, {"rules": [{"a": 1, "defaulted": True}]}),
])  # fmt: skip
def test_what_is_as_good_as_equal(want: Any, have: Any) -> None:
    assert drift({"kind": "X", "spec": want}, {"kind": "X", "spec": have}) == ()


# -- drift


def server_of(live: Any) -> Any:
    return live["spec"]["template"]["spec"]["containers"][0]


# What somebody does to the live StatefulSet -> what is said.
EDITS: list[tuple[Edit, str]] = [
    (lambda live: live["spec"].update(replicas=3), "spec.replicas is 3, want 1"),
    (lambda live: live["spec"].update(replicas=0), "spec.replicas is 0, want 1"),
    (lambda live: live["metadata"]["labels"].pop(names.LABEL_CACHE),
     "metadata.labels.cachefleet.io/cache is missing, want orders"),
    (lambda live: live["metadata"].pop("ownerReferences"),
     'metadata.ownerReferences is missing, want [{"apiVersion": "cachefleet.io/v1alpha1", "'),
    (lambda live: live["metadata"]["ownerReferences"][0].update(uid="old"),
     'metadata.ownerReferences[u-1] is missing, want {"apiVersion": "cachefleet.io/v1alpha1", "'),
    (lambda live: live["metadata"]["annotations"].update({names.ANNOTATION_APPLIED: "x"}), "metadata.annotations."),
    (lambda live: server_of(live).update(image="evil:1"),
     f"spec.template.spec.containers[server].image is evil:1, want {IMAGE}"),
    (lambda live: server_of(live)["args"].append("--x"), "spec.template.spec.containers[server].args is "),
    (lambda live: server_of(live)["args"].__setitem__(2, "1"),
     "spec.template.spec.containers[server].args[2] is 1, want $(SERVER_PORT)"),
    (lambda live: server_of(live)["env"].pop(0),
     'spec.template.spec.containers[server].env[SERVER_CONFIG_DIR] is missing, want {"name"'),
    (lambda live: server_of(live)["env"][6].update(value="::"),
     'spec.template.spec.containers[server].env[SERVER_METRICS_BIND].value is ::, want ""'),
    (lambda live: server_of(live)["resources"]["limits"].update(memory="1Gi"),
     "spec.template.spec.containers[server].resources.limits.memory is 1Gi, want 256Mi"),
    (lambda live: server_of(live)["securityContext"].pop("allowPrivilegeEscalation"),
     "spec.template.spec.containers[server].securityContext.allowPrivilegeEscalation is missing, want false"),
    (lambda live: server_of(live)["securityContext"].pop("readOnlyRootFilesystem"),
     "spec.template.spec.containers[server].securityContext.readOnlyRootFilesystem is missing, want true"),
    (lambda live: live["spec"]["template"]["spec"].pop("automountServiceAccountToken"),
     "spec.template.spec.automountServiceAccountToken is missing, want false"),
    (lambda live: live["spec"]["template"]["spec"].update(enableServiceLinks=True),
     "spec.template.spec.enableServiceLinks is true, want false"),
    (lambda live: live["spec"].pop("persistentVolumeClaimRetentionPolicy"),
     "spec.persistentVolumeClaimRetentionPolicy is missing, want "),
    (lambda live: live.pop("spec"), "spec is missing, want "),
]  # fmt: skip


@pytest.mark.parametrize(("edit", "words"), EDITS, ids=[words for _, words in EDITS])
def test_what_somebody_changed_is_said(edit: Edit, words: str) -> None:
    wanted = stamp(statefulset(cache(), IMAGE))
    live = defaulted(wanted)
    edit(live)
    (said,) = drift(wanted, live)
    assert said.startswith(words)


def test_a_foreign_key_in_a_selector_is_said() -> None:
    wanted = stamp(service_rw(cache()))
    live = as_read(wanted)
    live["spec"]["selector"]["theirs"] = "x"
    assert drift(wanted, live) == ("spec.selector.theirs is x, want nothing",)
    wanted = stamp(pod_disruption_budget(cache()))
    live = as_read(wanted)
    live["spec"]["selector"] |= {"matchExpressions": [{"key": "theirs", "operator": "Exists"}]}
    live["spec"]["selector"]["matchLabels"]["theirs"] = "x"
    assert drift(wanted, live) == (
        "spec.selector.matchLabels.theirs is x, want nothing",
        'spec.selector.matchExpressions is [{"key": "theirs", "operator": "Exists"}], want nothing',
    )


@pytest.mark.parametrize(("have", "said"), [
    ("# Ours\ntimeout 0\nhz 10\n", "data.file: timeout changes from 0 to 300"),
    ("# Ours\ntimeout 0\nhz 100\na 1\n",
     "data.file: timeout changes from 0 to 300; hz changes from 100 to 10; loses a 1"),
    ("# Ours\nhz 10\n", "data.file: gets timeout 300"),
    ("# Ours\ntimeout 300\nhz 10\na 1\nb 2\n", "data.file: loses a 1; loses b 2"),
    ("# Ours\ntimeout 1\ntimeout 2\nhz 10\n", "data.file: gets timeout 300; loses timeout 1; loses timeout 2"),
    ("hz 10\ntimeout 300\n# Ours\n", "data.file: its lines are in another order"),
    ("one line", "data.file: gets # Ours; gets timeout 300; gets hz 10; loses one line"),
    ("# Ours\nd\ne\nf\ntimeout 300\nhz 10\ng\nh\n", "data.file: loses d; loses e; loses f; loses g; and 1 more"),
])  # fmt: skip
def test_of_a_text_the_lines_that_differ_are_said(have: str, said: str) -> None:
    wanted = {"kind": "ConfigMap", "data": {"file": "# Ours\ntimeout 300\nhz 10\n"}}
    assert drift(wanted, {"kind": "ConfigMap", "data": {"file": have}}) == (said,)


def test_additions_of_others_are_theirs() -> None:
    wanted = stamp(statefulset(cache(), IMAGE))
    live = defaulted(wanted)
    live["metadata"]["annotations"]["theirs"] = live["metadata"]["labels"]["theirs"] = "x"
    pod = live["spec"]["template"]["spec"]
    pod["containers"].insert(0, {"name": "mesh", "image": "m"})
    server = pod["containers"][1]
    server["env"].insert(0, {"name": "THEIRS", "value": "x"})
    server["volumeMounts"].append({"name": "x", "mountPath": "/x"})
    pod["nodeSelector"] = {"by": "them"}
    assert drift(wanted, live) == ()


POLICY_EDITS: list[tuple[Edit, str]] = [
    (lambda spec: spec["ingress"][0]["ports"][0].update(endPort=9999),
     "spec.ingress[0].ports[6379].endPort is 9999, want nothing"),
    (lambda spec: spec["ingress"][0]["ports"].append({"port": 1, "protocol": "TCP"}),
     'spec.ingress[0].ports[1] is {"port": 1, "protocol": "TCP"}, want nothing'),
    (lambda spec: spec["ingress"][0].pop("from"), "spec.ingress[0].from is missing, want "),
    (lambda spec: spec["ingress"].append({}), "spec.ingress is "),
    (lambda spec: spec["ingress"][0]["from"].append({"podSelector": {}}), "spec.ingress[0].from is "),
    (lambda spec: spec["ingress"][0]["from"].__setitem__(0, {"podSelector": {}}),
     "spec.ingress[0].from[0].namespaceSelector is missing, want {}"),
    (lambda spec: spec["ingress"][1]["from"][0].pop("podSelector"), "spec.ingress[1].from[0].podSelector is missing"),
    (lambda spec: spec["policyTypes"].append("Egress"), "spec.policyTypes is "),
    (lambda spec: spec.update(egress=[{}]), "spec.egress is [{}], want nothing"),
    (lambda spec: spec["podSelector"]["matchLabels"].update(x="y"),
     "spec.podSelector.matchLabels.x is y, want nothing"),
    (lambda spec: spec["podSelector"].clear(), "spec.podSelector.matchLabels is missing"),
]  # fmt: skip


@pytest.mark.parametrize(("edit", "words"), POLICY_EDITS, ids=[words for _, words in POLICY_EDITS])
def test_nobody_else_opens_a_network_policy(edit: Edit, words: str) -> None:
    wanted = network_policy(cache(), SITE)
    assert wanted is not None
    live = as_read(wanted)
    live["metadata"]["uid"] = "x"
    assert drift(wanted, live) == ()
    edit(live["spec"])
    assert drift(wanted, live)[0].startswith(words)


def test_what_a_policy_leaves_empty_is_no_drift() -> None:
    peers = [{"ipBlock": {"cidr": "10.0.0.0/8", "except": []}, "podSelector": {"matchLabels": {}}}]
    wanted = network_policy(cache(networkPolicy={"clients": peers}), SITE)
    assert wanted is not None
    live = as_read(wanted)
    live["spec"]["ingress"][0]["from"] = [{"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}]
    assert drift(wanted, live) == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "a", "1Gi"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["name", "env", "limits", "ports", "emptyDir", "spec", "x"]), inner, max_size=3),
    max_leaves=10,
)


@given(JSON, st.sampled_from(["X", "NetworkPolicy"]))
def test_nothing_differs_from_itself(spec: Any, kind: str) -> None:
    assert drift({"kind": kind, "spec": spec}, {"kind": kind, "spec": copy.deepcopy(spec)}) == ()


@given(JSON, JSON, st.sampled_from(["X", "NetworkPolicy"]))
def test_any_two_objects_can_be_compared(want: Any, have: Any, kind: str) -> None:
    for sentence in drift({"kind": kind, "spec": want}, {"kind": kind, "spec": have}):
        assert ", want " in sentence


# -- pods


def revised(*, generation: int = 1, observed: int = 1, revision: str = "r2") -> dict[str, Any]:
    status = {"observedGeneration": observed, "updateRevision": revision}
    return {"metadata": {"generation": generation}, "spec": {}, "status": status}


def pod_of(revision: str) -> dict[str, Any]:
    return {"metadata": {"labels": {"controller-revision-hash": revision}}}


def test_a_pod_of_another_revision_is_outdated() -> None:
    assert outdated(revised(), pod_of("r1"))
    assert not outdated(revised(), pod_of("r2"))
    assert outdated(revised(), {"metadata": {}})


@pytest.mark.parametrize("statefulset", [
    revised(generation=2), revised(revision=""), {"metadata": {"generation": 1}}, {"metadata": {}, "status": {}},
])  # fmt: skip
def test_nobody_is_outdated_while_the_controller_is_behind(statefulset: dict[str, Any]) -> None:
    assert not outdated(statefulset, pod_of("r1"))


def running(template: Object) -> Any:
    """A pod of this template, as controllers and admission leave it."""
    pod = as_read(template)
    pod["metadata"]["labels"] |= {"controller-revision-hash": "r1", "statefulset.kubernetes.io/pod-name": "orders-0"}
    pod["metadata"]["name"] = "orders-0"
    pod["spec"] |= {"hostname": "orders-0", "nodeName": "n", "priority": 0, "preemptionPolicy": "PreemptLowerPriority"}
    pod["spec"]["volumes"].append({"name": "data", "persistentVolumeClaim": {"claimName": "data-orders-0"}})
    for condition in ("not-ready", "unreachable"):
        added = {"key": f"node.kubernetes.io/{condition}", "operator": "Exists", "effect": "NoExecute"}
        pod["spec"].setdefault("tolerations", []).append({**added, "tolerationSeconds": 300})
    return pod


# Spec before, spec after -> why.
REASONS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({}, {"memory": {"limit": "1Gi"}},
     "memory limit changed from 256Mi to 1Gi; memory request changed from 256Mi to 1Gi"),
    ({}, {"resources": {"limits": {"cpu": "2"}}}, "cpu limit changed from none to 2"),
    ({"resources": {"requests": {"cpu": "1"}}}, {"resources": {"requests": {"cpu": "2"}}},
     "cpu request changed from 1 to 2"),
    ({"config": {"databases": "4"}}, {"config": {"databases": "5"}}, "parameter databases needs a restart"),
    ({"config": {"databases": "4"}}, {}, "parameter databases needs a restart"),
    ({}, {"config": {"databases": "4", "tcp-backlog": "7"}},
     "parameter databases needs a restart; parameter tcp-backlog needs a restart"),
    ({}, {"config": {"databases": "4", "tcp-backlog": "7", "disable-thp": "no"}},
     "parameter databases needs a restart; parameter disable-thp needs a restart; parameter tcp-backlog needs a "
     "restart"),
    ({}, {"config": {"databases": "4", "tcp-backlog": "7", "pidfile": "", "rdbchecksum": "no", "disable-thp": "no"}},
     "parameter databases needs a restart; parameter disable-thp needs a restart; parameter rdbchecksum needs a "
     "restart and 1 more"),
    ({}, {"podTemplate": {"spec": {"nodeSelector": {"zone": "b", "disk": "ssd"}}}},
     'the pod template changed: spec.nodeSelector is missing, want {"disk": "ssd", "zone": "b"}'),
    ({}, {"podTemplate": {"spec": {"nodeSelector": {"disk": "ssd"}, "priorityClassName": "high"}}},
     'the pod template changed: spec.nodeSelector is missing, want {"disk": "ssd"}'),  # one is enough
    ({}, {"podTemplate": {"spec": {"tolerations": [{"key": "a"}]}}},
     'the pod template changed: spec.tolerations is [], want [{"key": "a"}]'),
    ({"podTemplate": {"spec": {"tolerations": [{"operator": "Exists", "key": "a"}]}}},
     {"podTemplate": {"spec": {"tolerations": [{"operator": "Exists", "key": "a"}], "priorityClassName": "high"}}},
     "the pod template changed: spec.priorityClassName is missing, want high"),
    ({}, {"podTemplate": {"annotations": {"a": "b"}}},
     "the pod template changed: metadata.annotations.a is missing, want b"),
    ({"podTemplate": {"annotations": {"a": "b"}}}, {}, "the pod template changed"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "words"), REASONS, ids=[words for *_, words in REASONS])
def test_why(before: dict[str, Any], after: dict[str, Any], words: str) -> None:
    pod = running(pod_template(cache(**before), IMAGE))
    assert why(pod_template(cache(**after), IMAGE), pod) == words


def test_why_an_image() -> None:
    pod = running(pod_template(cache(), "a:1"))
    assert why(pod_template(cache(), "a:2"), pod) == "image changed from a:1 to a:2"


def test_why_kubectl_rollout_restart() -> None:
    template = as_read(pod_template(cache(), IMAGE))
    template["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"] = "2026-01-01T00:00:00Z"
    pod = running(pod_template(cache(), IMAGE))
    assert why(template, pod) == "a restart was asked for by kubectl rollout restart"


@pytest.mark.parametrize("pod", [{}, {"spec": {}}, {"metadata": {"annotations": {names.ANNOTATION_RESTART: "{["}}},
                                 {"metadata": {"annotations": {names.ANNOTATION_RESTART: "[1]"}}}])
def test_why_has_words_for_any_pod(pod: dict[str, Any]) -> None:
    assert why(pod_template(cache(), IMAGE), pod)

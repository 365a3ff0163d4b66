"""The operator as a process, with the rights of its Role alone, against a real API server and real controllers.

There are no nodes here, so pods stay Pending: what servers say and take is in test_operator_servers.py.
"""

from __future__ import annotations

import contextlib
import re
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from cachefleet_operator.api import names
from cachefleet_operator.execution.kube import lease
from fleettest.crds import PODMONITORS
from fleettest.kube import WRITES, Kube, Request
from fleettest.operators import Operator, beyond_upkeep, install_crd
from fleettest.wait import assert_eventually

pytestmark = [pytest.mark.kube, pytest.mark.usefixtures("installed")]

IDLE_S = 6.0
IDLE_WINDOWS = 3

OBJECTS = (
    ("serviceaccount", "orders"),
    ("configmap", "orders-config"),
    ("configmap", "orders-accepted"),
    ("secret", "orders-auth"),
    ("secret", "orders-server-password"),
    ("secret", "orders-binding"),
    ("service", "orders-rw"),
    ("service", "orders-ro"),
    ("service", "orders-pods"),
    ("networkpolicy", "orders"),
    ("poddisruptionbudget", "orders"),
    ("statefulset", "orders"),
)


@pytest.fixture
def operator(account: Kube, namespace: str) -> Iterator[Operator]:
    with Operator(account, namespace) as found:
        yield found


def cache(namespace: str, name: str = "orders", **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "cachefleet.io/v1alpha1", "kind": "Cache", "metadata": metadata, "spec": spec}


def condition(kube: Kube, namespace: str, kind: str, name: str = "orders") -> dict[str, Any]:
    found = kube.get("cache", name, namespace).get("status", {}).get("conditions", [])
    return next((c for c in found if c["type"] == kind), {})


def is_told(kube: Kube, namespace: str) -> bool:
    """Whether events say what was made; they follow it."""
    events = [e for e in kube.list("events.events.k8s.io", namespace) if e["regarding"]["kind"] == "Cache"]
    said = {e["reason"] for e in events} >= {"Created", "PasswordGenerated"}
    return said and any("created StatefulSet/orders" in e["note"] for e in events)


def apply_failed(kube: Kube, namespace: str, *words: str) -> bool:
    """Whether the Cache says that an object cannot be had, in these words."""
    found = condition(kube, namespace, "Degraded")
    return found.get("reason") == "ApplyFailed" and all(word in found["message"] for word in words)


def is_made(kube: Kube, namespace: str, name: str = "orders") -> bool:
    """All is there, and the status says that nothing is to be done but to wait for the pod."""
    assert condition(kube, namespace, "Progressing", name).get("reason") == "UpToDate"
    return kube.find("pod", f"{name}-0", namespace) is not None


def make(kube: Kube, namespace: str, **spec: Any) -> None:
    kube.apply(cache(namespace, **spec))
    kube.wait_for(lambda: is_made(kube, namespace))


def versions(kube: Kube, namespace: str) -> dict[tuple[str, str], tuple[str, str]]:
    """(uid, resourceVersion) of all that a Cache has, and of the Cache."""
    kinds = f"caches,{','.join(sorted({kind for kind, _ in OBJECTS}))}"
    found = kube.list(kinds, namespace)
    return {
        (o["kind"], o["metadata"]["name"]): (o["metadata"]["uid"], o["metadata"]["resourceVersion"])
        for o in found
        if o["kind"] == "Cache" or names.LABEL_CACHE in o["metadata"].get("labels", {})
    }


def is_idle(kube: Kube, namespace: str, operator: Operator) -> None:
    """Nothing is written for some seconds but the Lease: what is refused is not asked for in a hot loop.

    What an act changed may still be on its way to the operator when its queue is empty, so a window with writes is
    followed by another one."""
    seen = []
    while written := writes_in_a_window(kube, namespace, operator):
        seen.append(written)
        assert len(seen) < IDLE_WINDOWS, seen


def writes_in_a_window(kube: Kube, namespace: str, operator: Operator) -> list[Request]:
    kube.wait_for(lambda: operator.metric("queue_depth") == 0)
    mark = kube.audit.mark()
    kube.wait_for(lambda: has_lived(kube, namespace, mark, IDLE_S))
    found = [r for r in kube.audit.requests(mark, user=user(namespace)) if r.verb in WRITES]
    return [r for r in found if r.resource not in ("leases", "events")]


def has_lived(kube: Kube, namespace: str, mark: int, seconds: float) -> bool:
    """Whether the operator has renewed its Lease for so long."""
    renewals = [r for r in kube.audit.requests(mark, user=user(namespace)) if r.resource == "leases"]
    return len(renewals) > seconds / lease.RETRY_S


def user(namespace: str) -> str:
    return f"system:serviceaccount:{namespace}:"


# -- a Cache comes


def test_a_cache_becomes_objects(kube: Kube, namespace: str, operator: Operator) -> None:
    make(kube, namespace)
    uid = kube.get("cache", "orders", namespace)["metadata"]["uid"]
    for kind, name in OBJECTS:
        metadata = kube.get(kind, name, namespace)["metadata"]
        assert metadata["labels"].items() >= names.labels("orders").items(), (kind, name)
        assert [o["uid"] for o in metadata["ownerReferences"]] == [uid], (kind, name)
        assert "finalizers" not in metadata
    status = kube.get("cache", "orders", namespace)["status"]
    assert (status["phase"], status["message"]) == ("Waiting", "Pod orders-0 waits for a node")
    assert status["observedGeneration"] == 1
    kube.wait_for(lambda: is_told(kube, namespace))


def test_kopf_leaves_no_trace(kube: Kube, namespace: str, operator: Operator) -> None:
    make(kube, namespace)
    for kind, name in (("cache", "orders"), *OBJECTS):
        metadata = kube.get(kind, name, namespace)["metadata"]
        assert "finalizers" not in metadata
        assert not [a for a in metadata.get("annotations", {}) if "kopf" in a]


def test_passwords_are_in_no_log_event_or_status(kube: Kube, namespace: str, account: Kube) -> None:
    from base64 import b64decode

    with Operator(account, namespace, level="debug") as operator:
        make(kube, namespace)
        password = b64decode(kube.get("secret", "orders-auth", namespace)["data"]["password"]).decode()
        assert len(password) == 32
        told = operator.log_text() + repr(kube.list("events", namespace)) + repr(kube.get("cache", "orders", namespace))
        assert password not in told
        assert kube.get("secret", "orders-auth", namespace)["data"]["password"] not in told


def test_steady_state_costs_nothing(kube: Kube, namespace: str, operator: Operator) -> None:
    """For more than the longest pause between two looks: no write, and no read but the watches."""
    make(kube, namespace)
    kube.wait_for(lambda: is_told(kube, namespace))
    is_idle(kube, namespace, operator)
    before, mark = versions(kube, namespace), kube.audit.mark()
    looks = operator.metric("reconcile_total")
    assert len(before) == len(OBJECTS) + 1
    kube.wait_for(lambda: has_lived(kube, namespace, mark, 35.0))
    assert operator.metric("reconcile_total") > looks
    assert versions(kube, namespace) == before
    assert not beyond_upkeep(kube.audit.requests(mark, user=user(namespace)))


def test_a_restarted_operator_writes_nothing(kube: Kube, namespace: str, account: Kube) -> None:
    with Operator(account, namespace):
        make(kube, namespace)
    before, mark = versions(kube, namespace), kube.audit.mark()
    kube.delete("lease", lease.NAME, namespace)
    with Operator(account, namespace) as operator:
        kube.wait_for(lambda: operator.metric("reconcile_total", result="unchanged") >= 2)
        assert versions(kube, namespace) == before
        writes = {(r.verb, r.resource) for r in kube.audit.requests(mark, user=user(namespace), verbs=WRITES)}
        assert writes <= {("update", "leases"), ("create", "leases")}


# -- somebody changes something


def test_drift_is_repaired(kube: Kube, namespace: str, operator: Operator) -> None:
    make(kube, namespace)
    kube.delete("service", "orders-rw", namespace)
    kube.patch("configmap", "orders-config", namespace, {"data": {names.CONFIG_FILE: "port 1\n"}})
    kube.patch("service", "orders-ro", namespace, {"spec": {"selector": {names.LABEL_CACHE: "nobody"}}})
    kube.patch("statefulset", "orders", namespace, {"spec": {"replicas": 3}})
    kube.patch("networkpolicy", "orders", namespace, {"metadata": {"labels": {names.LABEL_CACHE: None}}})

    def repaired() -> bool:
        assert kube.find("service", "orders-rw", namespace)
        assert "port 1" not in kube.get("configmap", "orders-config", namespace)["data"][names.CONFIG_FILE]
        selector = kube.get("service", "orders-ro", namespace)["spec"]["selector"]
        assert selector[names.LABEL_CACHE] == "orders"
        assert kube.get("statefulset", "orders", namespace)["spec"]["replicas"] == 1
        policy = kube.get("networkpolicy", "orders", namespace)
        return bool(policy["metadata"]["labels"].get(names.LABEL_CACHE) == "orders")

    kube.wait_for(repaired)


def test_fields_of_others_are_left_alone(kube: Kube, namespace: str, operator: Operator) -> None:
    make(kube, namespace)
    theirs = {"labels": {"team": "a"}, "annotations": {"mesh": "b"}}
    kube.patch("service", "orders-rw", namespace, {"metadata": theirs, "spec": {"sessionAffinity": "ClientIP"}})
    kube.patch("cache", "orders", namespace, {"spec": {"services": {"primary": {"annotations": {"ours": "c"}}}}})

    def applied() -> bool:
        annotations = kube.get("service", "orders-rw", namespace)["metadata"]["annotations"]
        return bool(annotations.get("ours") == "c")

    kube.wait_for(applied)
    service = kube.get("service", "orders-rw", namespace)
    assert service["metadata"]["labels"]["team"] == "a"
    assert service["metadata"]["annotations"]["mesh"] == "b"
    assert service["spec"]["sessionAffinity"] == "ClientIP"


def test_what_the_spec_no_longer_wants_is_deleted(kube: Kube, namespace: str, operator: Operator) -> None:
    make(kube, namespace)
    kube.patch("cache", "orders", namespace, {"spec": {"networkPolicy": {"enabled": False}}})
    kube.wait_for(lambda: kube.find("networkpolicy", "orders", namespace) is None)


def test_an_object_of_somebody_else_is_refused_and_blocks_no_other_cache(
    kube: Kube, namespace: str, operator: Operator
) -> None:
    taken = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "orders-rw", "namespace": namespace},
             "spec": {"ports": [{"port": 80}], "selector": {"app": "theirs"}}}  # fmt: skip
    kube.apply(taken)
    kube.apply([cache(namespace), cache(namespace, "carts")])
    kube.wait_for(lambda: is_made(kube, namespace, "carts"))
    kube.wait_for(lambda: apply_failed(kube, namespace, "Service/orders-rw exists and does not belong to this Cache"))
    assert kube.get("service", "orders-rw", namespace)["spec"]["selector"] == {"app": "theirs"}


def test_a_pod_that_cannot_be_made_is_said_in_the_controllers_words(
    kube: Kube, namespace: str, operator: Operator
) -> None:
    kube.apply(cache(namespace, podTemplate={"spec": {"priorityClassName": "no-such-class"}}))

    def is_told() -> bool:
        found = condition(kube, namespace, "Degraded")
        return found.get("reason") == "PodFailing" and "no PriorityClass with name no-such-class" in found["message"]

    kube.wait_for(is_told)
    assert condition(kube, namespace, "Progressing")["reason"] == "Waiting"
    kube.apply(cache(namespace))
    kube.wait_for(lambda: is_made(kube, namespace))
    kube.wait_for(lambda: condition(kube, namespace, "Degraded")["reason"] == "AsExpected")


def test_a_pod_of_several_that_a_quota_refuses_is_said(kube: Kube, namespace: str, operator: Operator) -> None:
    """The others are there, and wait for it: the first primary is chosen when all were seen."""
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team", "namespace": namespace},
             "spec": {"hard": {"pods": "2"}}}  # fmt: skip
    kube.apply(quota)
    kube.wait_for(lambda: kube.get("resourcequota", "team", namespace)["status"]["hard"])
    kube.apply(cache(namespace, instances=3))

    def is_told() -> bool:
        words = condition(kube, namespace, "Degraded").get("message", "")
        return re.match(r"pod orders-\d cannot be made: create Pod .*exceeded quota: team", words) is not None

    kube.wait_for(is_told)
    assert condition(kube, namespace, "Degraded")["reason"] == "PodFailing"
    assert condition(kube, namespace, "Progressing")["reason"] == "Waiting"
    assert len(kube.list("pods", namespace)) == 2
    kube.patch("resourcequota", "team", namespace, {"spec": {"hard": {"pods": "3"}}})
    kube.wait_for(lambda: condition(kube, namespace, "Degraded")["reason"] == "AsExpected")
    assert len(kube.list("pods", namespace)) == 3


@pytest.mark.parametrize("name", ["orders-auth", "orders-server-password"])
def test_a_secret_of_somebody_else_is_said_left_alone_and_its_end_noticed(
    kube: Kube, namespace: str, operator: Operator, name: str
) -> None:
    theirs = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace},
              "stringData": {"password": "theirs"}}  # fmt: skip
    kube.apply(theirs)
    before = kube.get("secret", name, namespace)
    kube.apply(cache(namespace))
    kube.wait_for(lambda: apply_failed(kube, namespace, f"Secret/{name} exists and does not belong to this Cache"))
    assert condition(kube, namespace, "Progressing")["reason"] == "Waiting"
    assert kube.find("statefulset", "orders", namespace) is None, "its pod could not start"
    assert kube.get("secret", name, namespace)["metadata"] == before["metadata"]
    is_idle(kube, namespace, operator)
    kube.delete("secret", name, namespace)
    kube.wait_for(lambda: is_made(kube, namespace))


@pytest.mark.parametrize(
    ("pod", "said"),
    [
        ({"nodeSelectr": {"pool": "caches"}}, "nodeSelectr"),
        ({"containers": [{"name": "server", "imagePullPolic": "Always"}]}, "imagePullPolic"),
        ({"priorityClassName": 7}, "priorityClassName"),
        ({"dnsPolicy": "Sometimes"}, "Sometimes"),
    ],
    ids=["unknown", "unknown in the container", "type", "value"],
)
def test_a_pod_template_that_the_api_server_refuses_is_said_and_not_sent_in_each_cycle(
    kube: Kube, namespace: str, operator: Operator, pod: dict[str, Any], said: str
) -> None:
    kube.apply(cache(namespace, podTemplate={"spec": pod}))
    kube.wait_for(lambda: apply_failed(kube, namespace, "StatefulSet/orders: ", said))
    is_idle(kube, namespace, operator)
    kube.apply(cache(namespace))
    kube.wait_for(lambda: is_made(kube, namespace))


@pytest.mark.slow("what fails is tried again after growing pauses")
def test_a_webhook_that_is_away_is_said_and_its_return_too(kube: Kube, namespace: str, operator: Operator) -> None:
    """It answers nothing, so the API server says 500 to each write, and will for as long as that lasts."""
    make(kube, namespace)
    webhook = {
        "name": "away.cachefleet.test", "failurePolicy": "Fail", "sideEffects": "None", "timeoutSeconds": 1,
        "admissionReviewVersions": ["v1"], "clientConfig": {"service": {"name": "nobody", "namespace": namespace}},
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["services"]}],
    }  # fmt: skip
    name = f"away-{namespace}"
    kube.apply({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
                "metadata": {"name": name}, "webhooks": [webhook]})  # fmt: skip
    try:
        kube.wait_for(lambda: "away.cachefleet.test" in kube.refused(lone_service(namespace), "--dry-run=server"))
        kube.delete("service", "orders-ro", namespace)

        def is_said() -> bool:
            found = condition(kube, namespace, "Degraded")
            return found["reason"] == "ReconcileFailed" and "away.cachefleet.test" in found["message"]

        kube.wait_for(is_said)
        assert kube.get("cache", "orders", namespace)["status"]["phase"] == "Degraded"
        mark = kube.audit.mark()
        kube.wait_for(lambda: has_lived(kube, namespace, mark, IDLE_S))
        tries = kube.audit.requests(mark, user=user(namespace), verbs=WRITES)
        assert {r.resource for r in tries} <= {"services", "leases", "events"}, "not written again"
    finally:
        kube.delete("validatingwebhookconfiguration", name)
    kube.wait_for(lambda: condition(kube, namespace, "Degraded")["reason"] == "AsExpected", deadline_s=90)
    assert kube.find("service", "orders-ro", namespace)
    is_idle(kube, namespace, operator)


def lone_service(namespace: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "lone", "namespace": namespace},
            "spec": {"ports": [{"port": 80}]}}  # fmt: skip


def test_a_spec_that_is_not_built_changes_nothing(kube: Kube, namespace: str, operator: Operator) -> None:
    kube.apply(cache(namespace, config={"cluster-enabled": "yes"}))
    kube.wait_for(lambda: condition(kube, namespace, "Degraded")["reason"] == "SpecRefused")
    assert kube.find("statefulset", "orders", namespace) is None
    kube.patch("cache", "orders", namespace, {"spec": {"config": None}})
    kube.wait_for(lambda: is_made(kube, namespace))


@pytest.mark.parametrize(
    ("spec", "kind", "reason"),
    [({"config": {"timeot": "1"}}, "Degraded", "SpecRefused"), ({"paused": True}, "Progressing", "Paused")],
    ids=["refused", "paused"],
)
def test_what_is_lost_comes_back_under_a_spec_that_is_not_followed(
    kube: Kube, namespace: str, operator: Operator, spec: dict[str, Any], kind: str, reason: str
) -> None:
    make(kube, namespace)
    kube.wait_for(lambda: kube.find("configmap", "orders-accepted", namespace))
    kube.patch("cache", "orders", namespace, {"spec": {**spec, "memory": {"limit": "2Gi"}}})
    kube.wait_for(lambda: condition(kube, namespace, kind).get("reason") == reason)
    kinds = {"service": "orders-rw", "secret": "orders-auth", "configmap": "orders-config", "statefulset": "orders"}
    lost = kinds.items()
    for what in lost:
        kube.delete(*what, namespace)
    kube.wait_for(lambda: all(kube.find(*what, namespace) for what in lost))
    container = kube.get("statefulset", "orders", namespace)["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"]["limits"]["memory"] == "256Mi", "as it was accepted"
    assert condition(kube, namespace, kind)["reason"] == reason


# -- a Cache goes


def test_deletion_needs_no_operator(kube: Kube, namespace: str, account: Kube) -> None:
    with Operator(account, namespace):
        make(kube, namespace)
    kube.delete("cache", "orders", namespace, "--wait=true", "--timeout=30s")
    kube.wait_for(lambda: not versions(kube, namespace) and kube.find("pod", "orders-0", namespace) is None)
    assert kube.get("pvc", "data-orders-0", namespace)


def test_deletion_takes_the_volumes_if_asked(kube: Kube, namespace: str, account: Kube) -> None:
    with Operator(account, namespace):
        make(kube, namespace, persistence={"storage": {"reclaimPolicy": "Delete"}})
        kube.wait_for(lambda: owners(kube, namespace) == ["Cache"])
        # Who deletes the StatefulSet does not lose the data of a Cache that goes on.
        volume = kube.get("pvc", "data-orders-0", namespace)["metadata"]["uid"]
        statefulset = kube.get("statefulset", "orders", namespace)["metadata"]["uid"]
        kube.delete("statefulset", "orders", namespace)
        kube.wait_for(lambda: kube.get("statefulset", "orders", namespace)["metadata"]["uid"] != statefulset)
        kube.wait_for(lambda: is_made(kube, namespace))
        found = kube.get("pvc", "data-orders-0", namespace)["metadata"]
        assert (found["uid"], found.get("deletionTimestamp")) == (volume, None)
    kube.delete("cache", "orders", namespace)
    kube.wait_for(lambda: kube.find("pvc", "data-orders-0", namespace) is None)


def owners(kube: Kube, namespace: str) -> list[str]:
    """Kinds of those whom the volume goes with."""
    claim = kube.find("pvc", "data-orders-0", namespace) or {"metadata": {}}
    return [owner["kind"] for owner in claim["metadata"].get("ownerReferences", [])]


def test_a_cache_of_the_same_name_may_follow_at_once(kube: Kube, namespace: str, operator: Operator) -> None:
    make(kube, namespace)
    before = versions(kube, namespace)
    kube.delete("cache", "orders", namespace, "--wait=true")
    make(kube, namespace)

    def is_new() -> bool:
        now = versions(kube, namespace)
        uid = now["Cache", "orders"][0]
        assert set(now) == set(before)
        assert all(now[key][0] != before[key][0] for key in now)
        statefulset = kube.get("statefulset", "orders", namespace)
        return bool(statefulset["metadata"]["ownerReferences"][0]["uid"] == uid)

    kube.wait_for(is_new)


# -- CRDs and rights


def test_podmonitors_may_come_later(kube: Kube, namespace: str, account: Kube) -> None:
    with Operator(account, namespace, faults={"FAULT_DISCOVER_S": "1"}) as operator:
        make(kube, namespace)
        kube.apply(PODMONITORS)
        try:
            kube.wait_for(lambda: kube.get("podmonitor", "orders", namespace))
            assert operator.ready()
        finally:
            kube.delete("crd", PODMONITORS["metadata"]["name"])  # type: ignore[index]
        kube.wait_for(lambda: "kinds changed: PodMonitor" in operator.log_text().rpartition("leading")[2])
        make(kube, namespace, memory={"limit": "300Mi"})  # It goes on without,
        looks, mark = operator.metric("reconcile_total"), kube.audit.mark()
        kube.wait_for(lambda: operator.metric("reconcile_total") >= looks + 2)
        asked = kube.audit.requests(mark, user=user(namespace))
        assert not [r for r in asked if r.resource == "podmonitors" and r.verb != "watch"]  # and forgets about it.


def test_an_operator_that_is_there_before_the_crd_waits(kube: Kube, namespace: str, account: Kube) -> None:
    kube.kubectl("delete", "crd", "caches.cachefleet.io", "--wait=true")
    with contextlib.closing(Operator(account, namespace).spawn()) as operator:
        try:
            assert_eventually(lambda: "its CRD is missing" in operator.log_text(), deadline_s=30)
            assert operator.get("/healthz")[0] == 200
            assert operator.get("/readyz")[0] == 503
        finally:
            install_crd(kube)
        operator.wait_ready()
        make(kube, namespace)


def test_a_namespaced_operator_touches_no_other_namespace(kube: Kube, namespace: str, operator: Operator) -> None:
    with kube.new_namespace() as other:
        kube.apply(cache(other))
        mark = kube.audit.mark()
        make(kube, namespace)
        asked = [r for r in kube.audit.requests(mark, user=user(namespace)) if r.namespace]
        assert {r.namespace for r in asked} == {namespace}
        assert not [r for r in asked if r.status == 403]
        assert not kube.get("cache", "orders", other).get("status", {}).get("phase")


def test_the_rights_are_enough_and_no_more(kube: Kube, namespace: str, account: Kube) -> None:
    """Every right in the table is used by the plan of some test here or in tier 2; this is what must not be there."""
    for request in (
        "delete secrets", "create pods", "create pods/exec", "update caches", "delete caches",
        "delete persistentvolumeclaims", "create roles", "list nodes", "get namespaces",
    ):  # fmt: skip
        assert not account.may(request, namespace), request
    assert not account.may("get secrets", "kube-system")
    assert account.may("patch statefulsets", namespace)


# -- the process


def test_sigterm_ends_it_cleanly_and_gives_the_lease_back(kube: Kube, namespace: str, operator: Operator) -> None:
    make(kube, namespace)
    assert operator.stop() == 0
    assert kube.get("lease", lease.NAME, namespace)["spec"]["holderIdentity"] == ""
    assert {line["level"] for line in operator.lines()} <= {"info", "warning"}
    named = [line for line in operator.lines() if line.get("reason") == "Apply"]
    assert named
    assert all(line["cache"] == f"{namespace}/orders" for line in named)


def test_sigterm_is_heard_while_it_starts(account: Kube, namespace: str) -> None:
    """kopf takes the signals when the watches begin; the audit is still under way then."""
    with contextlib.closing(Operator(account, namespace).spawn()) as operator:
        assert_eventually(lambda: '"leading"' in operator.log_text(), deadline_s=30)
        assert operator.stop() == 0


def test_wrong_settings_and_no_cluster_are_said(kube: Kube, namespace: str, account: Kube) -> None:
    faults = {"CACHEFLEET_CONCURRENCY": "many"}
    with contextlib.closing(Operator(account, namespace, faults=faults).spawn()) as wrong:
        assert wrong.wait() == 2
        assert "CACHEFLEET_CONCURRENCY='many': must be a number from 1 to 256" in wrong.log_text()
    with contextlib.closing(Operator(account, namespace, faults={"KUBECONFIG": "/nowhere"}).spawn()) as lost:
        assert lost.wait() == 2
        assert "no cluster" in lost.lines()[-1]["message"]


def test_of_two_one_acts_and_the_other_follows(kube: Kube, namespace: str, account: Kube) -> None:
    with Operator(account, namespace, name="one") as one, Operator(account, namespace, name="two") as two:
        kube.wait_for(lambda: one.leads() != two.leads())
        leader, follower = (one, two) if one.leads() else (two, one)
        make(kube, namespace)
        assert follower.metric("reconcile_total") == 0
        assert follower.metric("caches") == 1
        assert follower.ready()
        leader.kill()
        kube.delete("service", "orders-rw", namespace)
        kube.wait_for(lambda: kube.find("service", "orders-rw", namespace), deadline_s=lease.DURATION_S + 15)
        assert follower.leads()


def test_a_frozen_leader_writes_nothing_when_it_thaws(kube: Kube, namespace: str, account: Kube) -> None:
    with Operator(account, namespace, name="one") as one:
        make(kube, namespace)
        with Operator(account, namespace, name="two") as two:
            one.send(signal.SIGSTOP)
            kube.wait_for(two.leads, deadline_s=lease.DURATION_S + 15)
            mark = kube.audit.mark()
            one.send(signal.SIGCONT)
            assert one.wait() == 1
            assert "could not be renewed" in one.log_text()
            writes = kube.audit.requests(mark, user=user(namespace), verbs=WRITES)
            assert {(r.resource, r.status) for r in writes} <= {("leases", 200), ("leases", 409)}

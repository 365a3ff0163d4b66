"""The builders' objects on a real API server: taken as they are, without drift, pods admitted under `restricted`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cachefleet_operator.api.objects import Object, Site
from cachefleet_operator.api.v1alpha1 import Cache
from cachefleet_operator.resources.desired import desired
from cachefleet_operator.resources.diff import drift, outdated, stamp, why
from fleettest.kube import Kube
from fleettest.snapshots import SITE, cache

pytestmark = pytest.mark.kube

IMAGE = "registry.test/cachefleet-server:1.0.0"
OURS = ("--field-manager=cachefleet-operator", "--force-conflicts")

# Overrides of the pod whose fields the API server writes differently, fills in, or drops when they say nothing.
ODD_POD: dict[str, Any] = {
    "hostNetwork": False,
    "hostAliases": [],
    "nodeSelector": {},
    "dnsConfig": {"options": [{"name": "ndots", "value": "2"}]},
    "affinity": {
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 1, "podAffinityTerm": {"topologyKey": "zone", "labelSelector": {"matchLabels": {"a": "b"}}}}
            ]
        }
    },
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {}},
        {"maxSkew": 2, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}},
    ],
    "tolerations": [{"key": "cache", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}],
    "initContainers": [
        {
            "name": "mesh",
            "image": "mesh:1",
            "restartPolicy": "Always",
            "ports": [{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 53}],
            "env": [{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "resources": {"limits": {"cpu": "0.5", "memory": "1024Mi"}, "requests": {"cpu": "0.10"}},
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            "startupProbe": {"exec": {"command": ["true"]}, "initialDelaySeconds": 0},
        }
    ],
    "containers": [
        {
            "name": "server",
            "stdin": False,
            "env": [{"name": "EMPTY", "value": ""}],
            "volumeMounts": [{"name": "scratch", "mountPath": "/scratch", "subPath": ""}],
        }
    ],
    "volumes": [
        {"name": "scratch", "emptyDir": {"sizeLimit": "1024Mi"}},
        {"name": "bare", "emptyDir": {}},
        {"name": "extra", "configMap": {"name": "extra", "optional": False, "items": [{"key": "a", "path": "a"}]}},
        {
            "name": "mixed",
            "projected": {
                "sources": [
                    {"serviceAccountToken": {"path": "token", "audience": "vault"}},
                    {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
                ]
            },
        },
        {
            "name": "own",
            "ephemeral": {
                "volumeClaimTemplate": {
                    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1024Mi"}}}
                }
            },
        },
    ],
}

PEERS = [
    {"ipBlock": {"cidr": "10.0.0.0/8", "except": []}},
    {"podSelector": {}, "namespaceSelector": {"matchLabels": {}, "matchExpressions": []}},
]

SPECS: dict[str, dict[str, Any]] = {
    "default": {},
    "odd pod": {"podTemplate": {"spec": ODD_POD, "labels": {"team": "shop"}, "annotations": {"empty": ""}}},
    "odd quantities": {
        "memory": {"limit": "1024Mi"},
        "persistence": {"storage": {"size": "2048Mi"}},
        "resources": {
            "requests": {"cpu": "0.5", "memory": "0.5Gi"},
            "limits": {"cpu": "1.50", "ephemeral-storage": "1e9"},
        },
    },
    "finer than the API server keeps": {
        "memory": {"limit": "200000000.0001"},
        "persistence": {"storage": {"size": "2000000000.5"}},
        "resources": {"requests": {"cpu": "0.0005", "memory": "100000000.25"}, "limits": {"cpu": "1.00001"}},
    },
    "several": {"instances": 3, "persistence": {"mode": "none"}},
    "far apart": {"spread": {"nodes": "required", "zones": "required"}},
    "outside": {
        "services": {
            "primary": {
                "type": "LoadBalancer", "labels": {"a": ""}, "annotations": {"a": ""}, "loadBalancerClass": "lb.test/x",
                "loadBalancerSourceRanges": ["10.1.2.3/8", "fd00::/8"], "externalTrafficPolicy": "Local",
            },
        },
        "networkPolicy": {"clients": PEERS},
    },
    "node ports": {
        "services": {
            "primary": {"type": "NodePort", "externalTrafficPolicy": "Cluster"}, "replicas": {"type": "NodePort"}
        },
    },
}


def objects_of(of: Cache, site: Site = SITE, image: str = IMAGE) -> list[Any]:
    """Stamped, and without their owner: there is no Cache here, and the garbage collector would take them."""
    found = [json.loads(json.dumps(obj)) for obj in desired(of, site, image)]
    for obj in found:
        del obj["metadata"]["ownerReferences"]
    return [json.loads(json.dumps(stamp(obj))) for obj in found]


def in_namespace(namespace: str, **spec: Any) -> Cache:
    return cache(metadata={"namespace": namespace}, **spec)


def live(kube: Kube, obj: Object) -> dict[str, Any]:
    meta = obj["metadata"]
    return kube.get(obj["kind"], meta["name"], meta["namespace"])


def statefulset(kube: Kube, namespace: str) -> dict[str, Any]:
    """As it is when its controller has seen its newest template."""

    def settled() -> dict[str, Any] | None:
        found = kube.get("statefulset", "orders", namespace)
        behind = found.get("status", {}).get("observedGeneration") != found["metadata"]["generation"]
        return None if behind or not found["status"].get("updateRevision") else found

    found = kube.wait_for(settled, "the controller sees the StatefulSet")
    assert found is not None
    return found


def pod(kube: Kube, namespace: str) -> dict[str, Any]:
    found = kube.wait_for(lambda: kube.find("pod", "orders-0", namespace), "there is a pod")
    assert found is not None
    return found


@pytest.mark.parametrize("spec", SPECS)
def test_what_was_applied_has_no_drift(kube: Kube, namespace: str, spec: str) -> None:
    wanted = objects_of(in_namespace(namespace, **SPECS[spec]))
    kube.apply(wanted, *OURS)
    for obj in wanted:
        assert drift(obj, live(kube, obj)) == (), f"{obj['kind']} {obj['metadata']['name']}"


@pytest.mark.parametrize("spec", SPECS)
def test_pods_are_admitted_where_pod_security_is_restricted(kube: Kube, namespace: str, spec: str) -> None:
    kube.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    kube.apply(objects_of(in_namespace(namespace, **SPECS[spec])), *OURS)
    made = pod(kube, namespace)
    assert not outdated(statefulset(kube, namespace), made)


def test_what_somebody_changes_is_seen_and_put_back(kube: Kube, namespace: str) -> None:
    wanted = {obj["kind"]: obj for obj in objects_of(in_namespace(namespace))}
    kube.apply(list(wanted.values()), *OURS)
    kube.patch("statefulset", "orders", namespace, {"spec": {"replicas": 3}})
    kube.patch("networkpolicy", "orders", namespace, {"spec": {"ingress": [{}]}})
    for kind, words in (("StatefulSet", "spec.replicas is 3, want 1"), ("NetworkPolicy", "spec.ingress is ")):
        (said,) = drift(wanted[kind], live(kube, wanted[kind]))
        assert said.startswith(words)
        kube.apply(wanted[kind], *OURS)
        assert drift(wanted[kind], live(kube, wanted[kind])) == ()


@pytest.mark.parametrize(
    ("kind", "name", "patch", "words"),
    [
        ("Service", "orders-rw", {"spec": {"selector": {"theirs": "x"}}}, "spec.selector.theirs is x, want nothing"),
        ("PodDisruptionBudget", "orders", {"spec": {"selector": {"matchLabels": {"theirs": "x"}}}},
         "spec.selector.matchLabels.theirs is x, want nothing"),
    ],
)  # fmt: skip
def test_a_foreign_key_in_a_selector_is_seen_and_put_back(
    kube: Kube, namespace: str, kind: str, name: str, patch: dict[str, Any], words: str
) -> None:
    found = objects_of(in_namespace(namespace))
    (wanted,) = (obj for obj in found if obj["kind"] == kind and obj["metadata"]["name"] == name)
    kube.apply(wanted, *OURS)
    kube.patch(kind.lower(), name, namespace, patch)
    assert drift(wanted, live(kube, wanted)) == (words,)
    kube.apply(wanted, *OURS)
    assert drift(wanted, live(kube, wanted)) == ()


def test_fields_of_others_are_left_alone(kube: Kube, namespace: str) -> None:
    service = next(obj for obj in objects_of(in_namespace(namespace)) if obj["metadata"]["name"] == "orders-rw")
    kube.apply(service, *OURS)
    kube.patch("service", "orders-rw", namespace, {"metadata": {"labels": {"theirs": "x"}}})
    assert drift(service, live(kube, service)) == ()
    kube.apply(service, *OURS)
    assert live(kube, service)["metadata"]["labels"]["theirs"] == "x"


# What changes -> why the pod is outdated; none: it is not.
CHANGES: list[tuple[dict[str, Any], str, str | None]] = [
    ({}, "mirror.test/server:2", f"image changed from {IMAGE} to mirror.test/server:2"),
    ({"memory": {"limit": "1Gi"}}, IMAGE,
     "memory limit changed from 256Mi to 1Gi; memory request changed from 256Mi to 1Gi"),
    ({"memory": {"limit": "262144Ki"}}, IMAGE, None),
    ({"config": {"databases": "4"}}, IMAGE, "parameter databases needs a restart"),
    ({"config": {"timeout": "4"}}, IMAGE, None),
    ({"podTemplate": {"spec": {"tolerations": [{"key": "a", "operator": "Exists"}]}}}, IMAGE,
     'the pod template changed: spec.tolerations is [], want [{"key": "a", "operator": "Exists"}]'),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "image", "words"), CHANGES, ids=[str(words) for *_, words in CHANGES])
def test_why_a_pod_is_outdated(kube: Kube, namespace: str, spec: dict[str, Any], image: str, words: str | None) -> None:
    kube.apply(objects_of(in_namespace(namespace)), *OURS)
    made = pod(kube, namespace)
    kube.apply(objects_of(in_namespace(namespace, **spec), image=image), *OURS)
    now = statefulset(kube, namespace)
    assert outdated(now, made) == (words is not None)
    assert words is None or why(now["spec"]["template"], made) == words


def test_a_statefulset_that_is_replaced_under_its_pods_outdates_none(kube: Kube, namespace: str) -> None:
    """How volumes grow: only volumeClaimTemplates differ, and pods keep their revision."""
    kube.apply(objects_of(in_namespace(namespace)), *OURS)
    made = pod(kube, namespace)
    kube.delete("statefulset", "orders", namespace, "--cascade=orphan")
    kube.apply(objects_of(in_namespace(namespace, persistence={"storage": {"size": "5Gi"}})), *OURS)
    now = statefulset(kube, namespace)
    assert now["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] == "5Gi"

    def adopted() -> bool:
        owners = kube.get("pod", "orders-0", namespace)["metadata"].get("ownerReferences", [])
        return [owner["uid"] for owner in owners] == [now["metadata"]["uid"]]

    kube.wait_for(adopted, "the new StatefulSet adopts the pod")
    after = kube.get("pod", "orders-0", namespace)
    assert after["metadata"]["uid"] == made["metadata"]["uid"]
    assert not outdated(now, after)

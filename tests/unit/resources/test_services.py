"""Services, NetworkPolicy, PodDisruptionBudget and monitor: the cases that the goldens do not show."""

from __future__ import annotations

from typing import Any

import pytest

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Site
from cachefleet_operator.resources.monitoring import monitor
from cachefleet_operator.resources.networkpolicy import network_policy
from cachefleet_operator.resources.pdb import pod_disruption_budget
from cachefleet_operator.resources.services import service_headless, service_ro, service_rw
from fleettest.snapshots import SITE, cache


def test_a_single_pod_is_reachable_without_the_operators_label() -> None:
    for service in (service_rw(cache()), service_ro(cache())):
        assert service["spec"]["selector"] == names.selector_labels("orders")


def test_with_several_instances_services_choose_by_labels_of_the_operator() -> None:
    of = cache(instances=2)
    own = names.selector_labels("orders")
    assert service_rw(of)["spec"]["selector"] == {**own, names.LABEL_ROLE: names.ROLE_PRIMARY}
    assert service_ro(of)["spec"]["selector"] == {**own, names.LABEL_READS: names.READS}


def test_the_headless_service_names_pods_that_are_not_ready() -> None:
    spec = service_headless(cache(services={"primary": {"type": "NodePort", "annotations": {"a": "b"}}}))["spec"]
    assert (spec["clusterIP"], spec["publishNotReadyAddresses"], spec["type"]) == ("None", True, "ClusterIP")
    assert [port["name"] for port in spec["ports"]] == ["redis", "metrics"]


OUTSIDE: dict[str, Any] = {
    "type": "LoadBalancer", "loadBalancerClass": "lb.test/x", "loadBalancerSourceRanges": ["10.0.0.0/8"],
    "externalTrafficPolicy": "Local",
}  # fmt: skip


@pytest.mark.parametrize(("wished", "other"), [("primary", "replicas"), ("replicas", "primary")])
def test_each_service_for_clients_is_as_its_own_part_of_the_spec_says(wished: str, other: str) -> None:
    of = cache(services={wished: {**OUTSIDE, "labels": {"team": "shop"}, "annotations": {"a": "b"}}})
    made = {"primary": service_rw(of), "replicas": service_ro(of)}
    meta, spec = made[wished]["metadata"], made[wished]["spec"]
    assert {field: spec[field] for field in OUTSIDE} == OUTSIDE
    assert meta["annotations"] == {"a": "b"} and meta["labels"] == {**names.labels("orders"), "team": "shop"}
    plain = made[other]
    assert plain["spec"]["type"] == "ClusterIP" and not OUTSIDE.keys() - {"type"} & plain["spec"].keys()
    assert "annotations" not in plain["metadata"] and plain["metadata"]["labels"] == names.labels("orders")
    assert "annotations" not in service_headless(of)["metadata"]


def test_labels_of_a_service_never_replace_ours() -> None:
    of = cache(services={"primary": {"labels": {names.LABEL_CACHE: "x"}}})
    assert service_rw(of)["metadata"]["labels"] == names.labels("orders")


EVERYBODY = None
PODS = [{"namespaceSelector": {}}]
NAMED = [{"ipBlock": {"cidr": "10.0.0.0/8"}}]


@pytest.mark.parametrize(("spec", "clients"), [
    ({}, PODS),
    ({"services": {"primary": {"type": "LoadBalancer"}}}, EVERYBODY),
    ({"services": {"replicas": {"type": "NodePort"}}}, EVERYBODY),
    ({"services": {"primary": {"type": "NodePort"}}, "networkPolicy": {"clients": NAMED}}, NAMED),
    ({"networkPolicy": {"clients": NAMED}}, NAMED),
])  # fmt: skip
def test_who_may_connect(spec: dict[str, Any], clients: list[dict[str, Any]] | None) -> None:
    site = Site("i", "1", operator_namespace="ops", operator_labels={"app": "op"})
    policy = network_policy(cache(**spec), site)
    assert policy is not None
    first, operator, metrics = policy["spec"]["ingress"]
    assert first.get("from") == clients
    assert operator["from"] == [{
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ops"}},
        "podSelector": {"matchLabels": {"app": "op"}},
    }]  # fmt: skip
    assert "from" not in metrics
    ports = [[port["port"] for port in rule["ports"]] for rule in (first, operator, metrics)]
    assert ports == [[names.PORT], [names.PORT], [names.METRICS_PORT]]


@pytest.mark.parametrize(("instances", "rules"), [(1, 0), (2, 1), (3, 1)])
def test_pods_of_a_cache_reach_each_other_where_there_are_several(instances: int, rules: int) -> None:
    policy = network_policy(cache(instances=instances), SITE)
    assert policy is not None
    own = [{"podSelector": {"matchLabels": names.selector_labels("orders")}}]
    assert [rule.get("from") for rule in policy["spec"]["ingress"]].count(own) == rules


def test_a_drain_may_take_the_only_pod_or_one_of_several() -> None:
    budgets = [pod_disruption_budget(cache(instances=instances))["spec"] for instances in (1, 2, 3)]
    assert [(b.get("maxUnavailable"), b.get("minAvailable")) for b in budgets] == [(1, None), (None, 1), (None, 2)]


@pytest.mark.parametrize(("kinds", "wanted"), [
    ((), None),
    (("PodMonitor",), "PodMonitor"),
    (("ServiceMonitor",), "ServiceMonitor"),
    (("ServiceMonitor", "PodMonitor"), "PodMonitor"),
])  # fmt: skip
def test_the_kind_of_monitor_that_the_cluster_knows(kinds: tuple[str, ...], wanted: str | None) -> None:
    made = monitor(cache(), Site("i", "1", kinds=frozenset(kinds)))
    assert (made["kind"] if made else None) == wanted


def test_a_service_monitor_finds_the_one_service_with_a_metrics_port() -> None:
    made = monitor(cache(), Site("i", "1", kinds=frozenset(("ServiceMonitor",))))
    assert made is not None
    (endpoint,) = made["spec"]["endpoints"]
    services = [service_rw(cache()), service_ro(cache()), service_headless(cache())]
    chosen = made["spec"]["selector"]["matchLabels"].items()
    found = [
        s["metadata"]["name"] for s in services
        if chosen <= s["metadata"]["labels"].items() and endpoint["port"] in [p["name"] for p in s["spec"]["ports"]]
    ]  # fmt: skip
    assert found == ["orders-pods"]


def test_labels_of_the_monitor_never_replace_ours() -> None:
    made = monitor(
        cache(monitoring={"labels": {names.LABEL_CACHE: "x", "release": "p"}}),
        Site(SITE.default_image, "1", kinds=frozenset(("PodMonitor",))),
    )
    assert made is not None
    assert made["metadata"]["labels"] == {**names.labels("orders"), "release": "p"}

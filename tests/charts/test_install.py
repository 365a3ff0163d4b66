"""The charts on a real API server: every object is taken, rights are what they should be, and the CRD with its Caches
outlives upgrade and uninstall. Without nodes: no pod runs here (tests/cluster has the scenarios that need them).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cachefleet_operator.api.crd import NAME as CRD
from fleettest.crds import PODMONITORS, PROMETHEUSRULES, SERVICEMONITORS
from fleettest.helm import CHARTS, NAMESPACE, VALUES, Helm
from fleettest.kube import Kube, KubeError

pytestmark = pytest.mark.kube

MONITORING = (PODMONITORS, SERVICEMONITORS, PROMETHEUSRULES)
NAMESPACES = (NAMESPACE, "shop", "billing", "grafana")
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}

Object = dict[str, Any]


@pytest.fixture(scope="module")
def cluster(kube: Kube) -> Iterator[Kube]:
    """With the namespaces that the values name, and the kinds of the Prometheus Operator."""
    kube.apply([_namespace(name) for name in NAMESPACES])
    kube.apply(list(MONITORING))
    for plural in (crd["spec"]["names"]["plural"] for crd in MONITORING):
        kube.wait_for(lambda plural=plural: kube.kubectl("explain", plural))  # type: ignore[misc]
    yield kube
    kube.kubectl("delete", "crd", *(crd["metadata"]["name"] for crd in MONITORING))
    kube.kubectl("delete", "namespace", *NAMESPACES, "--wait=false")


def _namespace(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED}}


def install(kube: Kube, chart: Path | str, release: str, *flags: str) -> str:
    """`--take-ownership`: other tests of this cluster have installed the CRD by hand."""
    return kube.helm("upgrade", "--install", release, str(chart), "-n", NAMESPACE, "--take-ownership", *flags)


@pytest.fixture
def installed(cluster: Kube, request: pytest.FixtureRequest) -> Iterator[Kube]:
    install(cluster, CHARTS / "cachefleet", "fleet", *getattr(request, "param", ()))
    yield cluster
    cluster.helm("uninstall", "fleet", "-n", NAMESPACE, "--ignore-not-found")


@pytest.mark.parametrize("values", sorted(path.stem for path in VALUES.glob("cachefleet-*.yaml")))
def test_the_api_server_takes_every_object(cluster: Kube, helm: Helm, values: str) -> None:
    """But for the pod of `helm test`, whose account must be there before it."""
    objects = [o for o in helm.template("cachefleet", values.removeprefix("cachefleet-")) if o["kind"] != "Pod"]
    cluster.apply(objects, "--dry-run=server", "--force-conflicts")


def test_its_pods_are_restricted(cluster: Kube, helm: Helm) -> None:
    """As Pod Security says: a pod in a namespace that enforces it."""
    objects = helm.template("cachefleet", "full", "--set", "serviceAccount.name=default", "--set", "priorityClassName=")
    (deployment,) = (obj for obj in objects if obj["kind"] == "Deployment")
    (test,) = (obj for obj in objects if obj["kind"] == "Pod")
    metadata = {"name": "operator", "namespace": NAMESPACE}
    operator = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": deployment["spec"]["template"]["spec"]}
    test["spec"]["serviceAccountName"] = "default"
    cluster.wait_for(lambda: cluster.get("serviceaccount", "default", NAMESPACE))
    for pod in (operator, test):
        cluster.apply(pod, "--dry-run=server")
        loose = json.loads(json.dumps(pod))
        del loose["spec"]["containers"][0]["securityContext"]
        assert "violates PodSecurity" in cluster.refused(loose, "--dry-run=server")


# -- rights


def may(kube: Kube, account: str, request: str, namespace: str) -> bool:
    return kube.may(request, namespace, "--as", account)


OPERATOR = f"system:serviceaccount:{NAMESPACE}:fleet-cachefleet"
LEASES = "leases.coordination.k8s.io"


def test_everywhere_it_may_what_it_does(installed: Kube) -> None:
    for request in (
        *("list caches", "patch caches --subresource=status", "patch statefulsets.apps", "get secrets/any"),
        *("get configmaps", "create events.events.k8s.io", "delete pods"),
    ):
        assert may(installed, OPERATOR, request, "shop"), request
    for request in (
        *("delete caches", "patch caches", "create pods", "create pods --subresource=exec", "delete secrets"),
        *("get pods --subresource=log", f"create {LEASES}", "create roles.rbac.authorization.k8s.io"),
    ):
        assert not may(installed, OPERATOR, request, "shop"), request
    assert may(installed, OPERATOR, f"update {LEASES}/cachefleet-operator", NAMESPACE)
    assert not may(installed, OPERATOR, f"update {LEASES}/other", NAMESPACE)


@pytest.mark.parametrize("installed", [["-f", str(VALUES / "cachefleet-namespaced.yaml")]], indirect=True)
def test_namespaced_it_may_nothing_elsewhere(installed: Kube) -> None:
    assert may(installed, OPERATOR, "list secrets", "shop")
    for namespace in (NAMESPACE, "grafana", "default", "kube-system"):
        for resource in ("secrets", "caches", "pods"):
            assert not may(installed, OPERATOR, f"list {resource}", namespace), (namespace, resource)


def test_people_may_what_their_role_says(installed: Kube) -> None:
    """The cluster's own roles gain Caches, as soon as the controller has added ours to them."""
    for role in ("view", "edit"):
        binding = ("create", "rolebinding", f"chart-{role}", "-n", "shop", f"--clusterrole={role}", f"--user={role}er")
        installed.kubectl(*binding)
    try:
        installed.wait_for(lambda: may(installed, "editer", "delete caches", "shop"))
        installed.wait_for(lambda: may(installed, "viewer", "list caches", "shop"))
        assert may(installed, "editer", "list caches", "shop")
        assert not may(installed, "viewer", "create caches", "shop")
        assert not may(installed, "editer", "patch caches --subresource=status", "shop")
    finally:
        installed.kubectl("delete", "rolebinding", "-n", "shop", "chart-view", "chart-edit")


# -- life


def older(folder: Path) -> Path:
    """The chart as an older version: its CRD has no column Memory."""
    chart = folder / "cachefleet"
    shutil.copytree(CHARTS / "cachefleet", chart)
    template = chart / "templates" / "crd-caches.yaml"
    text = template.read_text()
    begin, end = text.index("    - name: Memory\n"), text.index("    - name: Age\n")
    template.write_text(text[:begin] + text[end:])
    return chart


def columns(kube: Kube) -> list[str]:
    (version,) = kube.get("crd", CRD)["spec"]["versions"]
    return [column["name"] for column in version["additionalPrinterColumns"]]


def test_the_crd_is_upgraded_and_outlives_the_release(cluster: Kube, tmp_path: Path) -> None:
    install(cluster, older(tmp_path), "fleet")
    assert "Memory" not in columns(cluster)
    cluster.wait_for(lambda: cluster.kubectl("explain", "caches.spec"))
    cache = {"apiVersion": "cachefleet.io/v1alpha1", "kind": "Cache", "metadata": {"name": "kept", "namespace": "shop"}}
    cluster.apply(cache)
    install(cluster, CHARTS / "cachefleet", "fleet")
    assert "Memory" in columns(cluster)
    uid = cluster.get("cache", "kept", "shop")["metadata"]["uid"]

    cluster.helm("uninstall", "fleet", "-n", NAMESPACE)
    assert cluster.get("cache", "kept", "shop")["metadata"]["uid"] == uid
    assert cluster.find("deployment", "fleet-cachefleet", NAMESPACE) is None

    # The same release finds its CRD again; one of its name elsewhere is told whose it is, and shares nothing else.
    cluster.helm("install", "fleet", str(CHARTS / "cachefleet"), "-n", NAMESPACE)
    with pytest.raises(KubeError, match="invalid ownership metadata"):
        cluster.helm("install", "fleet", str(CHARTS / "cachefleet"), "-n", "shop")
    flags = ("--set", "crds.install=false")
    cluster.helm("install", "fleet", str(CHARTS / "cachefleet"), "-n", "shop", *flags)
    cluster.helm("uninstall", "fleet", "-n", "shop")
    cluster.helm("uninstall", "fleet", "-n", NAMESPACE)
    cluster.delete("cache", "kept", "shop")


def test_a_cache_by_helm(installed: Kube) -> None:
    full = VALUES / "cache-full.yaml"
    installed.helm("install", "by-helm", str(CHARTS / "cache"), "-n", "shop", "-f", str(full))
    assert installed.get("cache", "orders", "shop")["spec"]["memory"]["limit"] == "4Gi"
    flags = ("--reuse-values", "--set", "spec.persistence.storage.storageClassName=other")
    with pytest.raises(KubeError, match=r"storage\.storageClassName is immutable"):
        installed.helm("upgrade", "by-helm", str(CHARTS / "cache"), "-n", "shop", *flags)
    installed.helm("uninstall", "by-helm", "-n", "shop")
    assert installed.find("cache", "orders", "shop") is None


def test_notes_say_how_to_go_on(installed: Kube) -> None:
    said = install(installed, CHARTS / "cachefleet", "fleet", "--set", "namespaces={shop,billing}")
    assert "looks after the Caches of shop, billing" in said
    assert "kubectl apply -n shop" in said and f"helm test fleet -n {NAMESPACE}" in said

"""Tier 1 does what the operator's tests rely on: validation, apply, garbage collection, controllers, RBAC, counting."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import component
import pytest
from control_plane import ControlPlane

from fleettest.kube import WRITES, Kube, KubeError
from fleettest.wait import assert_eventually

pytestmark = pytest.mark.kube

SCHEMA = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {"size": {"type": "integer", "default": 1}},
            "x-kubernetes-validations": [{"rule": "self.size >= oldSelf.size", "message": "a box cannot shrink"}],
        }
    },
}
VERSION = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": SCHEMA}}
BOXES = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "boxes.selftest.cachefleet.io"},
    "spec": {
        "group": "selftest.cachefleet.io",
        "names": {"kind": "Box", "plural": "boxes"},
        "scope": "Namespaced",
        "versions": [VERSION],
    },
}


def config_map(name: str, namespace: str, data: dict[str, str], **metadata: Any) -> dict[str, Any]:
    meta = {"name": name, "namespace": namespace, **metadata}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


def stateful_set(name: str, namespace: str) -> dict[str, Any]:
    labels = {"app": name}
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": 1,
            "serviceName": name,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"nodeSelector": {"no": "node"}, "containers": [{"name": "c", "image": "localhost/none:1"}]},
            },
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}],
        },
    }


def test_rules_of_a_custom_resource_are_enforced(kube: Kube, namespace: str) -> None:
    kube.apply(BOXES)
    kube.kubectl("wait", "--for=condition=Established", "crd/boxes.selftest.cachefleet.io")
    box: dict[str, Any] = {"apiVersion": "selftest.cachefleet.io/v1", "kind": "Box"}
    box["metadata"] = {"name": "b", "namespace": namespace}
    kube.wait_for(lambda: kube.apply({**box, "spec": {}}))
    assert kube.get("box", "b", namespace)["spec"] == {"size": 1}
    kube.apply({**box, "spec": {"size": 2}})
    assert "a box cannot shrink" in kube.refused({**box, "spec": {"size": 1}})
    with pytest.raises(AssertionError, match="not refused"):
        kube.refused({**box, "spec": {"size": 3}})


def test_field_managers_share_an_object(kube: Kube, namespace: str) -> None:
    kube.apply(config_map("m", namespace, {"a": "1"}), "--field-manager=one")
    kube.apply(config_map("m", namespace, {"b": "2"}), "--field-manager=two")
    assert kube.get("configmap", "m", namespace)["data"] == {"a": "1", "b": "2"}
    assert "conflict" in kube.refused(config_map("m", namespace, {"a": "3"}), "--field-manager=two")


def test_owned_objects_go_with_their_owner(kube: Kube, namespace: str) -> None:
    kube.apply(config_map("owner", namespace, {}))
    uid = kube.get("configmap", "owner", namespace)["metadata"]["uid"]
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid}
    kube.apply(config_map("owned", namespace, {}, ownerReferences=[reference]))
    kube.delete("configmap", "owner", namespace)
    kube.wait_for(lambda: kube.find("configmap", "owned", namespace) is None)


def test_a_stateful_set_makes_pods_and_claims(kube: Kube, namespace: str) -> None:
    kube.apply(stateful_set("db", namespace))
    pod = kube.wait_for(lambda: kube.get("pod", "db-0", namespace))
    assert pod["status"]["phase"] == "Pending"
    assert kube.get("pvc", "data-db-0", namespace)["status"]["phase"] == "Pending"


def test_an_account_has_its_rights_and_no_more(kube: Kube, namespace: str) -> None:
    kube.kubectl("create", "serviceaccount", "reader", "-n", namespace)
    kube.kubectl("create", "role", "r", "--verb=get", "--resource=configmaps", "-n", namespace)
    kube.kubectl("create", "rolebinding", "r", "--role=r", f"--serviceaccount={namespace}:reader", "-n", namespace)
    kube.apply(config_map("m", namespace, {"a": "1"}))
    with kube.as_service_account(namespace, "reader") as reader:
        assert reader.wait_for(lambda: reader.get("configmap", "m", namespace))["data"] == {"a": "1"}
        with pytest.raises(KubeError, match="cannot list resource"):
            reader.list("configmap", namespace)


def test_who_cannot_ask_is_not_forbidden(kube: Kube, namespace: str, tmp_path: Path) -> None:
    assert kube.may("delete pods", namespace)
    assert not kube.may("delete pods", namespace, "--as=nobody")
    with pytest.raises(KubeError, match="doesn't have a resource type"):
        kube.may("delete misspelt", namespace, "--as=nobody")
    config = tmp_path / "config"
    config.write_text(kube.kubeconfig.read_text().replace("https://127.0.0.1:", "https://127.0.0.1:1"))
    with contextlib.closing(Kube(config)) as lost, pytest.raises(KubeError, match=r"port|refused"):
        lost.may("delete pods", namespace)


def test_requests_are_counted_by_user_agent_and_verb(kube: Kube, namespace: str) -> None:
    mark = kube.audit.mark()
    assert kube.audit.requests(mark, agent="kubectl") == []
    kube.kubectl("create", "configmap", "counted", "-n", namespace)
    kube.get("configmap", "counted", namespace)
    [made] = kube.audit.requests(mark, user="admin", agent="kubectl", verbs=WRITES)
    assert (made.verb, made.resource, made.namespace, made.name, made.status) == (
        *("create", "configmaps", namespace, "counted"),
        201,
    )
    assert "get" in {request.verb for request in kube.audit.requests(mark, user="admin")}
    assert kube.audit.requests(mark, user="nobody") == []


def test_helm_installs_a_chart(kube: Kube, namespace: str, tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "Chart.yaml").write_text("apiVersion: v2\nname: tiny\nversion: 0.1.0\n")
    (tmp_path / "templates" / "m.json").write_text(json.dumps(config_map("{{ .Values.name }}", namespace, {"a": "1"})))
    kube.helm("install", "r", str(tmp_path), "-n", namespace, "--set", "name=chosen")
    assert kube.get("configmap", "chosen", namespace)["data"] == {"a": "1"}


def test_a_component_that_ends_shows_its_log(tmp_path: Path) -> None:
    broken = component.Component(tmp_path, "broken", ["sh", "-c", "echo no such flag; exit 3"], detached=False)
    broken.start()
    with pytest.raises(component.StartError, match=r"broken ended[\s\S]*broken\.log[\s\S]*no such flag"):
        broken.wait_ready(lambda: False)
    broken.stop()


def test_nothing_outlives_a_killed_session(tmp_path: Path) -> None:
    """The processes of a control plane die with the process that started them, even by SIGKILL."""
    program = (
        "import sys, pathlib; from control_plane import ControlPlane\n"
        "ControlPlane(pathlib.Path(sys.argv[1])).start(); print('up', flush=True); sys.stdin.read()"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    words = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as session:
        assert session.stdout is not None
        assert session.stdout.readline() == b"up\n"
        pids = [int(path.read_text()) for path in (tmp_path / "run").glob("*.pid")]
        assert len(pids) == 3
        assert all(component.process_exists(pid) for pid in pids)
        session.kill()
    assert_eventually(lambda: not any(component.process_exists(pid) for pid in pids))


def test_missing_binaries_say_how_to_build_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(Exception, match=r"tests/cluster/binaries\.py"):
        ControlPlane()

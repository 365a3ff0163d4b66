"""Each sample is a Cache without problems, in the words of the schema alone, and a real API server takes it."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
import yaml

from cachefleet_operator.api.parse import parse
from cachefleet_operator.api.v1alpha1 import KIND
from cachefleet_operator.api.validation import problems
from cachefleet_operator.resources.statefulset import statefulset
from fleettest.helm import ROOT
from fleettest.kube import Kube
from fleettest.operators import install_crd

FILES = sorted((ROOT / "deploy" / "samples").glob("*.yaml"))
SCHEMA = json.loads((ROOT / "charts" / "cache" / "values.schema.json").read_text())["properties"]["spec"]
NAMES = [path.stem for path in FILES]

Object = dict[str, Any]


def objects(name: str) -> list[Object]:
    return list(yaml.safe_load_all((ROOT / "deploy" / "samples" / f"{name}.yaml").read_text()))


def caches(name: str) -> list[Object]:
    return [obj for obj in objects(name) if obj["kind"] == KIND]


def test_there_are_some() -> None:
    assert len(FILES) >= 8


@pytest.mark.parametrize("name", NAMES)
def test_it_has_no_problems(name: str) -> None:
    assert caches(name)
    for body in caches(name):
        assert problems(parse(body)) == ()
        jsonschema.validate(body.get("spec", {}), SCHEMA)  # a misspelt field is one that the schema does not know
        assert set(body) <= {"apiVersion", "kind", "metadata", "spec"}


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_it_is_for(name: str) -> None:
    assert (ROOT / "deploy" / "samples" / f"{name}.yaml").read_text().startswith("# ")


def pod_of(body: Object, namespace: str) -> Object:
    """As the StatefulSet controller makes it, but with what is there before any operator: no claim, no account."""
    made = statefulset(parse(body), "registry.test/server:1")["spec"]
    metadata = {**made["template"]["metadata"], "name": "pod", "namespace": namespace}
    spec = {**made["template"]["spec"], "serviceAccountName": "default"}
    claimed = [{"name": claim["metadata"]["name"], "emptyDir": {}} for claim in made.get("volumeClaimTemplates", ())]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {**spec, "volumes": [*spec["volumes"], *claimed]},
    }


@pytest.mark.kube
@pytest.mark.parametrize("name", NAMES)
def test_the_api_server_takes_it_and_its_pod(kube: Kube, namespace: str, name: str) -> None:
    """The pod too, where Pod Security is enforced and the sample's own quota holds."""
    install_crd(kube)
    label = "pod-security.kubernetes.io/enforce=restricted"
    kube.kubectl("label", "namespace", namespace, label)
    kube.kubectl("apply", "-n", namespace, "-f", "-", stdin=yaml.safe_dump_all(objects(name)))
    for body in caches(name):
        kept = kube.get("cache", body["metadata"]["name"], namespace)
        assert problems(parse(kept)) == ()
        pod = pod_of(kept, namespace)
        kube.apply(pod, "--dry-run=server")
        loose = {**pod, "spec": {**pod["spec"], "hostNetwork": True}}
        assert "violates PodSecurity" in kube.refused(loose, "--dry-run=server")


@pytest.mark.kube
def test_the_quota_holds(kube: Kube, namespace: str) -> None:
    """Without the CPU limit that the sample sets, its quota refuses the pod."""
    kube.kubectl("apply", "-n", namespace, "-f", "-", stdin=yaml.safe_dump(objects("quota")[0]))
    (body,) = caches("quota")
    del body["spec"]["resources"]["limits"]
    pod = pod_of(body, namespace)
    assert "must specify limits.cpu" in kube.wait_for(lambda: kube.refused(pod, "--dry-run=server"))

"""What decides about a pod's life: when its template changes and when not, times, amounts, overrides, command line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from cachefleet_operator.api import names
from cachefleet_operator.api.v1alpha1 import Cache
from cachefleet_operator.api.validation import problems
from cachefleet_operator.resources.podspec import HANDOVER_S, NODE, ZONE, pod_template
from cachefleet_operator.resources.statefulset import statefulset, template_hash
from cachefleet_server.__main__ import sources
from cachefleet_server.config.config import Config
from cachefleet_server.log import Log
from fleettest.instance import ROOT
from fleettest.snapshots import cache

IMAGE = "registry.test/cachefleet-server:1.0.0"


def template(of: Cache) -> dict[str, Any]:
    return pod_template(of, IMAGE)


def server(of: Cache) -> dict[str, Any]:
    return template(of)["spec"]["containers"][0]  # type: ignore[no-any-return]


def test_the_security_context_that_openshift_wants() -> None:
    """Its policy chooses users and groups. A null does not survive `kubectl apply`: the documented patch has none."""
    page = (ROOT / "docs" / "operator.md").read_text()
    (block,) = (block for block in page.split("```") if "$patch: replace" in block and block.startswith("yaml"))
    wanted = cache(**yaml.safe_load(block.removeprefix("yaml"))["spec"])
    assert not problems(wanted)
    assert "null" not in block
    assert template(wanted)["spec"]["securityContext"] == {
        "runAsNonRoot": True, "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"},
    }  # fmt: skip


# What is changed in a default Cache -> whether pods must be restarted for it.
CHANGES: list[tuple[dict[str, Any], bool]] = [
    ({"config": {"timeout": "60"}}, False),
    ({"config": {"databases": "16"}}, False),  # the default
    ({"config": {"databases": "8"}}, True),
    ({"memory": {"maxmemoryPercent": 50}}, False),
    ({"memory": {"evictionPolicy": "allkeys-lru"}}, False),
    ({"memory": {"limit": "512Mi"}}, True),
    ({"persistence": {"mode": "snapshot"}}, False),
    ({"persistence": {"fsync": "always"}}, False),
    ({"persistence": {"storage": {"size": "5Gi"}}}, False),
    ({"persistence": {"storage": {"reclaimPolicy": "Delete"}}}, False),
    ({"auth": {"mode": "none"}}, False),
    ({"auth": {"mode": "secret", "secretRef": {"name": "mine"}}}, False),
    ({"services": {"primary": {"type": "NodePort"}}}, False),
    ({"networkPolicy": {"enabled": False}}, False),
    ({"monitoring": {"enabled": False}}, False),
    ({"instances": 2}, True),  # its server is managed then
    ({"durability": {"mode": "replicated"}}, False),
    ({"spread": {"nodes": "required"}}, True),
    ({"resources": {"limits": {"cpu": "1"}}}, True),
    ({"podTemplate": {"annotations": {"a": "b"}}}, True),
    ({"podTemplate": {"spec": {"nodeSelector": {"a": "b"}}}}, True),
]


@pytest.mark.parametrize(("spec", "restarts"), CHANGES, ids=[str(spec) for spec, _ in CHANGES])
def test_what_restarts_a_pod(spec: dict[str, Any], restarts: bool) -> None:
    assert (template(cache(**spec)) != template(cache())) == restarts


def test_the_hash_of_a_template_does_not_depend_on_the_order_of_fields() -> None:
    """It is compared with one that another version of the operator wrote."""
    made = template(cache())
    assert template_hash(dict(reversed(made.items()))) == template_hash(made)
    assert template_hash(template(cache(config={"databases": "8"}))) != template_hash(made)


def test_the_annotation_says_which_parameters_need_a_restart() -> None:
    annotations = template(cache(config={"tcp-backlog": "1024", "databases": "8"}))["metadata"]["annotations"]
    assert annotations[names.ANNOTATION_RESTART] == '{"databases": "8", "tcp-backlog": "1024"}'


def test_times_follow_the_amount_of_data() -> None:
    """From 96Mi to 8Ti: starting never has less time than a slow disk needs; stopping is bounded."""
    before = (0, 0)
    for size in ("96Mi", "256Mi", "4Gi", "64Gi", "8Ti"):
        of = cache(memory={"limit": size})
        spec, own = template(of)["spec"], server(of)
        grace = spec["terminationGracePeriodSeconds"]
        start = own["startupProbe"]["failureThreshold"] * own["startupProbe"]["periodSeconds"]
        command = own["lifecycle"]["preStop"]["exec"]["command"]
        hook = int(command[command.index("--save-seconds") + 1]) + int(command[command.index("--drain-seconds") + 1])
        hook += HANDOVER_S
        assert start > before[0]
        assert before[1] <= grace <= 3600
        saves = int(command[command.index("--save-seconds") + 1])
        assert grace >= hook + saves + 30, "what SIGTERM saves needs as long as the hook"
        before = (start, grace)
    assert start >= (8 << 40) / (10 << 20), "8Ti at 10 MB/s"


def test_probes_ask_the_server_alone() -> None:
    own = server(cache())
    assert {own[kind]["httpGet"]["path"] for kind in ("startupProbe", "livenessProbe")} == {"/healthz"}
    assert own["readinessProbe"]["httpGet"]["path"] == "/readyz?exclude=disk"
    assert own["livenessProbe"]["periodSeconds"] * own["livenessProbe"]["failureThreshold"] >= 60


@pytest.mark.parametrize(("spec", "requests", "limits"), [
    ({}, {"cpu": "100m", "memory": "256Mi"}, {"memory": "256Mi"}),
    ({"limits": {"cpu": "50m"}}, {"cpu": "50m", "memory": "256Mi"}, {"cpu": "50m", "memory": "256Mi"}),
    ({"limits": {"cpu": "4"}}, {"cpu": "100m", "memory": "256Mi"}, {"cpu": "4", "memory": "256Mi"}),
    ({"requests": {"cpu": 2, "memory": "128Mi"}}, {"cpu": "2", "memory": "128Mi"}, {"memory": "256Mi"}),
    ({"limits": {"memory": "9Gi"}}, {"cpu": "100m", "memory": "256Mi"}, {"memory": "256Mi"}),
])  # fmt: skip
def test_resources(spec: dict[str, Any], requests: dict[str, str], limits: dict[str, str]) -> None:
    assert server(cache(resources=spec))["resources"] == {"requests": requests, "limits": limits}


def test_labels_of_the_user_never_replace_ours() -> None:
    labels = {names.LABEL_CACHE: "other", names.LABEL_ROLE: names.ROLE_PRIMARY, "team": "shop"}
    made = template(cache(podTemplate={"labels": labels, "annotations": {names.ANNOTATION_RESTART: "x"}}))["metadata"]
    assert made["labels"] == {**names.labels("orders"), names.LABEL_SHARD: "0", "team": "shop"}
    assert made["annotations"] == {names.ANNOTATION_RESTART: "{}"}


def test_an_override_is_merged_into_our_container() -> None:
    sidecar = {"name": "logs", "image": "logs:1"}
    patch = {"containers": [{"name": "server", "securityContext": {"runAsUser": 5}}, sidecar]}
    containers = template(cache(podTemplate={"spec": patch}))["spec"]["containers"]
    assert [c["name"] for c in containers] == ["server", "logs"]
    assert containers[0]["securityContext"] == {**server(cache())["securityContext"], "runAsUser": 5}
    assert containers[0]["args"] == server(cache())["args"]


def test_a_pod_knows_itself_and_has_a_token_for_it() -> None:
    """A template cannot get these later without a restart of every pod."""
    own, spec = server(cache()), template(cache())["spec"]
    fields = {e["name"]: e["valueFrom"]["fieldRef"]["fieldPath"] for e in own["env"] if "valueFrom" in e}
    assert set(fields.values()) == {"metadata.name", "metadata.namespace", "metadata.uid"}
    place = next(mount for mount in own["volumeMounts"] if mount["name"] == "token")
    assert (place["readOnly"], {"name": "SERVER_TOKEN_DIR", "value": place["mountPath"]} in own["env"]) == (True, True)
    (volume,) = (volume for volume in spec["volumes"] if volume["name"] == "token")
    token, certificate = volume["projected"]["sources"]
    assert token["serviceAccountToken"]["path"] == "token" and certificate["configMap"]["optional"]
    assert spec["automountServiceAccountToken"] is False, "sidecars have none"
    assert {port["name"]: port["containerPort"] for port in own["ports"]} == {
        "redis": 6379, "redis-tls": 6380, "bus": 16379, "metrics": 9121,
    }  # fmt: skip


PODS = {"labelSelector": {"matchLabels": names.shard_labels("orders")}}
REQUIRED, PREFERRED = (f"{wish}DuringSchedulingIgnoredDuringExecution" for wish in ("required", "preferred"))
NEAR_NODE = {"weight": 50, "podAffinityTerm": {"topologyKey": NODE, **PODS}}
NEAR_ZONE = {"weight": 100, "podAffinityTerm": {"topologyKey": ZONE, **PODS}}
EVENLY = [{"maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule", **PODS}]


@pytest.mark.parametrize(("spread", "apart", "evenly"), [
    ({}, {PREFERRED: [NEAR_NODE, NEAR_ZONE]}, None),
    ({"nodes": "required"}, {REQUIRED: [{"topologyKey": NODE, **PODS}], PREFERRED: [NEAR_ZONE]}, None),
    ({"zones": "required"}, {PREFERRED: [NEAR_NODE]}, EVENLY),
    ({"nodes": "required", "zones": "required"}, {REQUIRED: [{"topologyKey": NODE, **PODS}]}, EVENLY),
    ({"nodes": "none"}, {PREFERRED: [NEAR_ZONE]}, None),
    ({"nodes": "none", "zones": "none"}, None, None),
])  # fmt: skip
def test_how_far_apart_pods_are_kept(spread: dict[str, str], apart: Any, evenly: Any) -> None:
    spec = template(cache(spread=spread))["spec"]
    assert spec.get("affinity") == (apart and {"podAntiAffinity": apart})
    assert spec.get("topologySpreadConstraints") == evenly
    assert PODS["labelSelector"]["matchLabels"].items() <= template(cache())["metadata"]["labels"].items()


def test_a_preference_of_the_users_replaces_ours() -> None:
    own = [{"weight": 1, "podAffinityTerm": {"topologyKey": "rack"}}]
    spec = template(cache(podTemplate={"spec": {"affinity": {"podAntiAffinity": {PREFERRED: own}}}}))["spec"]
    assert spec["affinity"]["podAntiAffinity"] == {PREFERRED: own}


def test_volumes_by_mode() -> None:
    kept = statefulset(cache(), IMAGE)["spec"]
    (claim,) = kept["volumeClaimTemplates"]
    assert claim["spec"] == {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    assert "data" not in {volume["name"] for volume in kept["template"]["spec"]["volumes"]}
    lost = statefulset(cache(persistence={"mode": "none"}), IMAGE)["spec"]
    assert "volumeClaimTemplates" not in lost
    (data,) = (v for v in lost["template"]["spec"]["volumes"] if v["name"] == "data")
    assert data["emptyDir"] == {"sizeLimit": str(512 << 20)}


def expand(text: str, environment: dict[str, str]) -> str:
    """As the kubelet does; a name that the container does not define stays."""
    return re.sub(r"\$\((\w+)\)", lambda match: environment.get(match[1], match[0]), text)


@pytest.mark.parametrize("password", ["s3cret", "with \"quotes\" and blanks"])
def test_the_server_understands_its_command_line(tmp_path: Path, password: str) -> None:
    """The arguments, with folders of this machine in the place of the pod's."""
    (tmp_path / "auth").mkdir()
    (tmp_path / "auth" / names.PASSWORD_KEY).write_text(password)
    (tmp_path / names.CONFIG_FILE).write_text("timeout 7\nport 1\n")
    own = server(cache())
    environment = {entry["name"]: entry.get("value", "") for entry in own["env"]}
    here = {names.ENV_CONFIG: tmp_path, names.ENV_DATA: tmp_path, names.ENV_AUTH: tmp_path / "auth"}
    environment |= {name: str(path) for name, path in here.items()}
    arguments = [expand(argument, environment) for argument in own["args"]]
    assert not [argument for argument in arguments if "$" in argument]
    config = Config()
    config.file, read = sources(arguments, Log())
    config.load(read(), {})
    shown = {name: config.shown(name) for name in ("port", "bind", "dir", "metrics-port", "metrics-bind", "timeout")}
    assert shown == {
        "port": "6379", "bind": "* -::*", "dir": str(tmp_path), "metrics-port": "9121", "metrics-bind": "",
        "timeout": "7",
    }  # fmt: skip
    assert config.text("requirepass") == password

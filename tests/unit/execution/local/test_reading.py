"""A pod as a local process: command line, environment, files, status."""

from __future__ import annotations

import sys
from base64 import b64encode
from typing import Any

import pytest

from cachefleet_operator.api.objects import Object
from cachefleet_operator.execution.local import reading
from cachefleet_operator.execution.local.podspec import ConfigError, PodSpec, read
from cachefleet_operator.execution.local.reading import Life
from cachefleet_operator.planning.pods import has_started, is_ready, restarts, trouble, waits_for

NOW = 1_800_000_000.0
SECRET = {"kind": "Secret", "data": {"password": b64encode(b"pa\xffss").decode(), "other": ""}}
CONFIGMAP = {"kind": "ConfigMap", "data": {"a.conf": "port 1\n"}, "binaryData": {"b": b64encode(b"\0").decode()}}


def lookup(kind: str, name: str) -> Object | None:
    return {("Secret", "auth"): SECRET, ("ConfigMap", "config"): CONFIGMAP}.get((kind, name))


def pod(*, volumes: tuple[dict[str, Any], ...] = (), **container: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "orders-0", "namespace": "shop", "labels": {"a/b": "c"}},
        "spec": {"containers": [{"name": "server", **container}], "volumes": list(volumes)},
    }


def spec(**how: Any) -> PodSpec:
    return read(pod(**how)["spec"])


def environment(*env: dict[str, Any], **local: str) -> dict[str, str]:
    made = pod(env=list(env))
    return reading.environment(made, read(made["spec"]).server, local, lookup)


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("--port $(PORT)", "--port 7000"),
        ("$(PORT)$(PORT)", "70007000"),
        ("$$(PORT)", "$(PORT)"),
        ("$(NONE) $ $( $()", "$(NONE) $ $( $()"),
    ],
)
def test_references_expand_as_the_kubelet_does_it(text: str, expanded: str) -> None:
    assert reading.expand(text, {"PORT": "7000"}) == expanded


def test_arguments_begin_with_the_path_of_the_program() -> None:
    found = reading.arguments(spec(command=[sys.executable], args=["$(A)"]).server, {"A": "1"})
    assert found == [sys.executable, "1"]
    assert reading.arguments(spec().server, {})[0].endswith("/cachefleet-server")


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="there is no no-such-server"):
        reading.arguments(spec(command=["no-such-server"]).server, {})


def test_local_values_win_and_later_variables_refer_to_earlier_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHEFLEET_REQUIREPASS", "from outside")
    found = environment(
        {"name": "PORT", "value": "6379"}, {"name": "URL", "value": "x:$(PORT)"}, PORT="7000", EXTRA="1"
    )
    assert found["PORT"] == "7000"
    assert found["URL"] == "x:7000"
    assert found["EXTRA"] == "1"
    assert "CACHEFLEET_REQUIREPASS" not in found


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ({"fieldRef": {"fieldPath": "metadata.name"}}, "orders-0"),
        ({"fieldRef": {"fieldPath": "metadata.labels['a/b']"}}, "c"),
        ({"fieldRef": {"fieldPath": "status.podIP"}}, ""),
        ({"secretKeyRef": {"name": "auth", "key": "password"}}, "pa\udcffss"),
        ({"configMapKeyRef": {"name": "config", "key": "a.conf"}}, "port 1\n"),
        ({"configMapKeyRef": {"name": "none", "key": "x", "optional": True}}, None),
    ],
)
def test_values_from_elsewhere(source: dict[str, Any], value: str | None) -> None:
    assert environment({"name": "V", "valueFrom": source}).get("V") == value


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"secretKeyRef": {"name": "auth", "key": "x"}}, "couldn't find key x in Secret auth"),
        ({"configMapKeyRef": {"name": "none", "key": "x"}}, "couldn't find key x in ConfigMap none"),
        ({"resourceFieldRef": {"resource": "limits.cpu"}}, "env V: resourceFieldRef does not exist without Kubernetes"),
    ],
)
def test_values_that_cannot_be_had(source: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        environment({"name": "V", "valueFrom": source})


def test_volumes_become_files() -> None:
    volumes = (
        {"name": "config", "configMap": {"name": "config"}},
        {"name": "auth", "secret": {"secretName": "auth", "items": [{"key": "password", "path": "p/word"}]}},
        {"name": "both", "projected": {"sources": [{"secret": {"name": "auth"}}, {"configMap": {"name": "config"}}]}},
        {"name": "later", "secret": {"secretName": "none", "optional": True}},
        {"name": "tmp", "emptyDir": {}},
    )
    assert reading.files(spec(volumes=volumes), lookup) == {
        "config": {"a.conf": b"port 1\n", "b": b"\0"},
        "auth": {"p/word": b"pa\xffss"},
        "both": {"password": b"pa\xffss", "other": b"", "a.conf": b"port 1\n", "b": b"\0"},
        "later": {},
    }


@pytest.mark.parametrize(
    ("volume", "words"),
    [
        ({"configMap": {"name": "none"}}, "configmap 'none' not found"),
        ({"secret": {"secretName": "auth", "items": [{"key": "x", "path": "x"}]}}, "secret 'auth' has no key 'x'"),
    ],
)
def test_volumes_that_cannot_be_mounted(volume: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        reading.files(spec(volumes=({"name": "v", **volume},)), lookup)


def test_what_a_process_cannot_have_is_left_out_by_name() -> None:
    found = pod(volumes=({"name": "config"}, {"name": "scratch"}))
    found["spec"]["containers"].append({"name": "agent"})
    found["spec"]["initContainers"] = [{"name": "prepare"}]
    assert reading.left_out(read(found["spec"])) == ["container agent", "container prepare", "volume scratch"]


# -- the status, as the planner reads it


def reported(life: Life, before: dict[str, Any] | None = None, now: float = NOW) -> dict[str, Any]:
    found = {**pod(), **({"status": before} if before else {})}
    return {**found, "status": reading.status(found, "i:1", life, now)}


def test_a_pod_that_is_being_made() -> None:
    found = reported(Life())
    assert found["status"]["phase"] == "Pending"
    assert not is_ready(found)
    assert not trouble(found, NOW)
    assert waits_for(found) == "is being created"


def test_a_server_that_starts_and_one_that_serves() -> None:
    starting = reported(Life(started_at=NOW, pid=7, unready="loading"))
    assert (starting["status"]["phase"], is_ready(starting)) == ("Running", False)
    assert waits_for(starting) == "is starting"
    serving = reported(Life(started_at=NOW, pid=7, unready=""), starting["status"], NOW + 5)
    assert is_ready(serving)
    since = {c["type"]: c["lastTransitionTime"] for c in serving["status"]["conditions"]}
    assert since["PodScheduled"] == "2027-01-15T08:00:00Z"  # unchanged since the first status
    assert since["Ready"] == "2027-01-15T08:00:05Z"
    assert serving["status"]["containerStatuses"][0]["image"] == "i:1"
    hanging = reported(Life(started_at=NOW, pid=7, unready="no answer"), serving["status"], NOW + 9)
    assert (has_started(starting), has_started(serving), has_started(hanging)) == (False, True, True)
    assert not has_started(reported(Life(started_at=NOW, pid=8, unready="loading"), hanging["status"], NOW + 20))


def test_a_server_that_was_killed_and_waits() -> None:
    last = reading.terminated(137, NOW - 5, NOW, "not its last words")
    found = reported(Life(last=last, restarts=2, waiting=("CrashLoopBackOff", "back-off 1s")))
    assert found["status"]["phase"] == "Running"
    assert not is_ready(found)
    assert restarts(found) == 2
    assert trouble(found, NOW) == "crashes at each start: exited with code 137: killed"
    assert found["status"]["containerStatuses"][0]["lastState"]["terminated"]["signal"] == 9


def test_an_end_in_peace_has_no_last_words() -> None:
    assert reading.terminated(0, NOW, NOW, "bye") == {
        "exitCode": 0, "reason": "Completed", "message": "",
        "startedAt": "2027-01-15T08:00:00Z", "finishedAt": "2027-01-15T08:00:00Z",
    }  # fmt: skip

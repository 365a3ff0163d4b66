"""Pod specs that cannot be read: each is refused in words that name the field, and nothing else is raised, ever."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachefleet_operator.execution.local import reading
from cachefleet_operator.execution.local.podspec import GRACE_S, ConfigError, read

HUGE = 10**400


def pod(**spec: Any) -> dict[str, Any]:
    return {"containers": [{"name": "server"}], **spec}


def server(**fields: Any) -> dict[str, Any]:
    return {"containers": [{"name": "server", **fields}]}


def variable(**fields: Any) -> dict[str, Any]:
    return server(env=[{"name": "A", **fields}])


def volume(**source: Any) -> dict[str, Any]:
    return pod(volumes=[{"name": "extra", **source}])


def items(*found: Any) -> dict[str, Any]:
    return volume(secret={"secretName": "auth", "items": list(found)})


VOLUME = "spec.volumes[0]"
ITEM = f"{VOLUME}.secret.items[0]"
ENV = "spec.containers[0].env[0]"
LABEL = "must be lower case letters, digits and inner dashes, at most 63"

# (spec, the whole complaint)
UNREADABLE: list[tuple[Any, str]] = [
    (None, "spec: must be an object"),
    ([], "spec: must be an object"),
    ({}, "spec.containers: is required"),
    ({"containers": None}, "spec.containers: is required"),
    ({"containers": []}, "spec.containers: there is no container server"),
    ({"containers": [{"name": "other"}]}, "spec.containers: there is no container server"),
    ({"containers": {"name": "server"}}, "spec.containers: must be a list"),
    ({"containers": "server"}, "spec.containers: must be a list, not 'server'"),
    ({"containers": [None]}, "spec.containers[0]: must be an object"),
    ({"containers": [{}]}, "spec.containers[0].name: is required"),
    ({"containers": [{"name": 5}]}, "spec.containers[0].name: must be a string, not 5"),
    ({"containers": [{"name": "server"}, {"name": "../x"}]}, f"spec.containers[1].name: {LABEL}, not '../x'"),
    (pod(initContainers=[{"name": ""}]), f"spec.initContainers[0].name: {LABEL}, not ''"),
    (pod(terminationGracePeriodSeconds="abc"), "spec.terminationGracePeriodSeconds: must be an integer, not 'abc'"),
    (pod(terminationGracePeriodSeconds="30"), "spec.terminationGracePeriodSeconds: must be an integer, not '30'"),
    (pod(terminationGracePeriodSeconds=1.5), "spec.terminationGracePeriodSeconds: must be an integer, not 1.5"),
    (pod(terminationGracePeriodSeconds=True), "spec.terminationGracePeriodSeconds: must be an integer, not True"),
    (pod(terminationGracePeriodSeconds=-1),
     "spec.terminationGracePeriodSeconds: must be greater than or equal to 0, not -1"),
    (pod(terminationGracePeriodSeconds=HUGE),
     "spec.terminationGracePeriodSeconds: must be less than or equal to 2147483647"),
    # the server's container
    (server(command="cachefleet-server"), "spec.containers[0].command: must be a list, not 'cachefleet-server'"),
    (server(args=[5]), "spec.containers[0].args[0]: must be a string, not 5"),
    (server(args=[None]), "spec.containers[0].args[0]: must be a string"),
    (server(args=["\0"]), "spec.containers[0].args[0]: must not contain NUL, not '\\x00'"),
    (server(image={}), "spec.containers[0].image: must be a string"),
    (server(env={}), "spec.containers[0].env: must be a list"),
    (server(env=[None]), f"{ENV}: must be an object"),
    (server(env=[{}]), f"{ENV}.name: is required"),
    (variable(name=""), f"{ENV}.name: must be printable ASCII without =, not ''"),
    (variable(name="A=B"), f"{ENV}.name: must be printable ASCII without =, not 'A=B'"),
    (variable(name="A\0"), f"{ENV}.name: must be printable ASCII without =, not 'A\\x00'"),
    (variable(name="\u00e4"), f"{ENV}.name: must be printable ASCII without =, not '\\xe4'"),
    (variable(name="A\n"), f"{ENV}.name: must be printable ASCII without =, not 'A\\n'"),
    (variable(value=5), f"{ENV}.value: must be a string, not 5"),
    (variable(value="a\0"), f"{ENV}.value: must not contain NUL, not 'a\\x00'"),
    (variable(value="\ud800"), f"{ENV}.value: must be Unicode, not '\\ud800'"),
    (variable(valueFrom="x"), f"{ENV}.valueFrom: must be an object, not 'x'"),
    (variable(valueFrom={"secretKeyRef": {}}),
     f"{ENV}.valueFrom.secretKeyRef.name: is required; {ENV}.valueFrom.secretKeyRef.key: is required"),
    (variable(valueFrom={"secretKeyRef": {"name": "x", "key": 5}}),
     f"{ENV}.valueFrom.secretKeyRef.key: must be a string, not 5"),
    (variable(valueFrom={"configMapKeyRef": []}), f"{ENV}.valueFrom.configMapKeyRef: must be an object"),
    (variable(valueFrom={"configMapKeyRef": {"name": "x", "key": "y", "optional": "yes"}}),
     f"{ENV}.valueFrom.configMapKeyRef.optional: must be true or false, not 'yes'"),
    (variable(valueFrom={"fieldRef": {}}), f"{ENV}.valueFrom.fieldRef.fieldPath: is required"),
    # volumes
    (pod(volumes={}), "spec.volumes: must be a list"),
    (pod(volumes=["x"]), f"{VOLUME}: must be an object, not 'x'"),
    (pod(volumes=[{}]), f"{VOLUME}.name: is required"),
    (pod(volumes=[{"name": "/home/someone"}]), f"{VOLUME}.name: {LABEL}, not '/home/someone'"),
    (volume(secret={}), f"{VOLUME}.secret.secretName: is required"),
    (volume(secret={"name": "auth"}), f"{VOLUME}.secret.secretName: is required"),
    (volume(secret={"secretName": ""}), f"{VOLUME}.secret.secretName: must not be empty, not ''"),
    (volume(secret={"secretName": None}), f"{VOLUME}.secret.secretName: is required"),
    (volume(secret="auth"), f"{VOLUME}.secret: must be an object, not 'auth'"),
    (volume(secret=[]), f"{VOLUME}.secret: must be an object"),
    (volume(configMap={}), f"{VOLUME}.configMap.name: is required"),
    (volume(configMap={"name": 5}), f"{VOLUME}.configMap.name: must be a string, not 5"),
    (volume(configMap={"name": "a\0"}), f"{VOLUME}.configMap.name: must not contain NUL, not 'a\\x00'"),
    (volume(configMap={"name": "x", "items": {}}), f"{VOLUME}.configMap.items: must be a list"),
    (volume(projected=[]), f"{VOLUME}.projected: must be an object"),
    (volume(projected={"sources": {}}), f"{VOLUME}.projected.sources: must be a list"),
    (volume(projected={"sources": [5]}), f"{VOLUME}.projected.sources[0]: must be an object, not 5"),
    (volume(projected={"sources": [{"secret": {}}]}), f"{VOLUME}.projected.sources[0].secret.name: is required"),
    (items(5), f"{ITEM}: must be an object, not 5"),
    (items({"key": "a"}), f"{ITEM}.path: is required"),
    (items({"path": "a"}), f"{ITEM}.key: is required"),
    (items({"key": "a", "path": 5}), f"{ITEM}.path: must be a string, not 5"),
    (items({"key": "a", "path": ""}), f"{ITEM}.path: must not be empty, not ''"),
    (items({"key": "a", "path": "/etc/x"}), f"{ITEM}.path: must be a relative path without .., not '/etc/x'"),
    (items({"key": "a", "path": "a/../../x"}), f"{ITEM}.path: must be a relative path without .., not 'a/../../x'"),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "words"), UNREADABLE, ids=lambda value: value if isinstance(value, str) else "")
def test_what_cannot_be_read_is_said(spec: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(spec)
    assert str(caught.value) == words


def test_what_is_null_is_not_there() -> None:
    found = read(pod(volumes=None, initContainers=None, terminationGracePeriodSeconds=None))
    assert (found.volumes, found.init_containers, found.termination_grace_period_seconds) == ((), (), GRACE_S)
    empty = read(server(env=None, args=None, command=None, image=None)).server
    assert (empty.env, empty.args, empty.command, empty.image) == ((), (), (), "")


def test_words_are_few_however_much_is_wrong() -> None:
    with pytest.raises(ConfigError) as caught:
        read(pod(volumes=[{"name": "x" * 100_000, "secret": {}} for _ in range(1000)]))
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({}, "env A: valueFrom without a source does not exist without Kubernetes"),
        ({"fileKeyRef": {}, "resourceFieldRef": 5},
         "env A: fileKeyRef, resourceFieldRef does not exist without Kubernetes"),
        ({"secretKeyRef": {"name": "auth", "key": "nul"}},
         "env A: its value has a NUL, which no process can be given"),
        ({"fieldRef": {"fieldPath": "metadata.labels['nul']"}},
         "env A: its value has a NUL, which no process can be given"),
    ],
)  # fmt: skip
def test_values_that_no_process_can_have(source: dict[str, Any], words: str) -> None:
    secret = {"kind": "Secret", "data": {"nul": "AAA="}}
    made = {"metadata": {"labels": {"nul": "\0"}}, "spec": variable(valueFrom=source)}
    with pytest.raises(ConfigError) as caught:
        reading.environment(made, read(made["spec"]).server, {}, lambda kind, name: secret)
    assert str(caught.value) == words


def test_variables_that_double_each_other_have_an_end() -> None:
    env = [{"name": "A0", "value": "x" * 1000}]
    env += [{"name": f"A{n}", "value": f"$(A{n - 1})$(A{n - 1})"} for n in range(1, 60)]
    with pytest.raises(ConfigError, match=r"'\$\(A7\)\$\(A7\)' expands to more than 131072 characters"):
        reading.environment({}, read(server(env=env)).server, {}, lambda kind, name: None)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
    | st.sampled_from(["server", "auth", "../x", "\0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(
            ["name", "containers", "initContainers", "env", "value", "valueFrom", "secretKeyRef", "key", "volumes",
             "secret", "secretName", "configMap", "items", "path", "projected", "sources", "args", "optional",
             "terminationGracePeriodSeconds"]
        ), inner, max_size=4,
    ),
    max_leaves=20,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["containers", "volumes", "initContainers"]), JSON), st.booleans())
def test_whatever_it_is_it_is_read_or_refused(spec: dict[str, Any], served: bool) -> None:
    made = {"metadata": {}, "spec": {**spec, **(server() if served else {})}}
    with contextlib.suppress(ConfigError):
        found = read(made["spec"])
        reading.left_out(found)
        reading.environment(made, found.server, {}, lambda kind, name: None)
        reading.files(found, lambda kind, name: None)

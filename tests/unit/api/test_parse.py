"""parse(body): a Cache, or one exception whose words begin with the field."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachefleet_operator.api.parse import FAULTS_MAX, Malformed, parse
from cachefleet_operator.api.v1alpha1 import API_VERSION, Cache, CacheStatus, MemorySpec

pytestmark = pytest.mark.unit

HEAD = {"apiVersion": API_VERSION, "kind": "Cache", "metadata": {"name": "orders", "resourceVersion": "12"}}


def body(**spec: Any) -> dict[str, Any]:
    return {**HEAD, "spec": spec}


def test_a_cache() -> None:
    found = parse(body(memory={"limit": 2**30}, config={"maxclients": 500}))
    assert (found.metadata.name, found.metadata.resource_version) == ("orders", "12")
    assert found.spec.memory.limit == "1073741824"
    assert found.spec.config == {"maxclients": "500"}
    assert parse(HEAD).spec == Cache.model_validate(HEAD).spec


def test_any_mapping_is_an_object() -> None:
    """kopf's bodies are read-only views."""
    view = MappingProxyType({**HEAD, "spec": MappingProxyType({"config": MappingProxyType({"hz": "5"})})})
    assert parse(view).spec.config == {"hz": "5"}


def test_null_is_unset_as_it_is_to_the_api_server() -> None:
    found = parse(body(memory=None, persistence={"storage": {"storageClassName": None, "size": None}}))
    assert found.spec == parse(HEAD).spec
    assert parse(body(podTemplate={"spec": {"x": None}})).spec.pod_template.spec == {"x": None}  # removes a field


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"memory": {"limit": "1Gx"}},
         "spec.memory.limit: quantities must match the regular expression "
         "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$', not '1Gx'"),
        ({"memory": {"limit": 1.5}}, "spec.memory.limit: must be an integer or a string; write other numbers in quotes"
                                     ", not 1.5"),
        ({"memory": []}, "spec.memory: must be an object"),
        ({"services": {"primary": {"loadBalancerSourceRanges": ["10.0.0.0/8", "10.0.0.1"]}}},
         "spec.services.primary.loadBalancerSourceRanges[1]: must be a network, as 10.0.0.0/8, not '10.0.0.1'"),
        ({"services": {"primary": {"loadBalancerSourceRanges": ["fe80::%eth0/64"]}}},
         "spec.services.primary.loadBalancerSourceRanges[0]: must be a network, as 10.0.0.0/8, not 'fe80::%eth0/64'"),
        ({"services": {"primary": {"loadBalancerSourceRanges": ["10.0.0.0/255.0.0"]}}},
         "spec.services.primary.loadBalancerSourceRanges[0]: must be a network, as 10.0.0.0/8, not '10.0.0.0/255.0.0'"),
        ({"instances": 11}, "spec.instances: must be less than or equal to 10, not 11"),
        ({"instances": 10**5000}, "spec.instances: must be less than or equal to 10"),
        ({"instances": "two"}, "spec.instances: must be an integer, not 'two'"),
        ({"persistence": {"mode": "disk"}}, "spec.persistence.mode: must be 'none', 'snapshot' or 'aof', not 'disk'"),
        ({"persistence": {"schedule": [{"seconds": 1}]}}, "spec.persistence.schedule[0].changes: is required"),
        ({"config": {"activerehashing": True}},
         "spec.config.activerehashing: must be an integer or a string; yes, no, on and off need quotes in YAML, "
         "not True"),
        ({"config": {"hz": []}}, "spec.config.hz: must be an integer or a string; write other numbers in quotes"),
        ({"config": {f"no-such-{n}": "" for n in range(513)}}, "spec.config: must have at most 512 items"),
        ({"config": {"hz": "1" * 16385}}, "spec.config.hz: must have at most 16384 characters"),
        ({"config": {"x" * 1000: []}},
         f"spec.config.{'x' * 188}: must be an integer or a string; write other numbers in quotes"),
        ({"persistence": {"schedule": [{"seconds": 1, "changes": 1}] * 17}},
         "spec.persistence.schedule: must have at most 16 items"),
        ({"networkPolicy": {"clients": {}}}, "spec.networkPolicy.clients: must be a list"),
        ({"podTemplate": {"spec": 1}}, "spec.podTemplate.spec: must be an object, not 1"),
        ({"image": "\ud800"}, "spec.image: must be Unicode, not '\\ud800'"),
        ({"paused": "perhaps"}, "spec.paused: must be true or false, not 'perhaps'"),
    ],
)  # fmt: skip
def test_words(spec: dict[str, Any], words: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse(body(**spec))
    assert str(caught.value) == words
    assert caught.value.faults == [words]


@pytest.mark.parametrize(
    ("given_body", "words"),
    [
        (None, "a Cache must be an object"),
        ([HEAD], "a Cache must be an object"),
        ({**HEAD, "kind": "Pod"}, "kind: must be Cache"),
        ({**HEAD, "apiVersion": "cachefleet.io/v9"}, "apiVersion: must be cachefleet.io/v1alpha1"),
        ({**HEAD, "metadata": {}}, "metadata.name: is required"),
        ({"apiVersion": API_VERSION, "kind": "Cache"}, "metadata: is required"),
        ({**HEAD, "spec": "x"}, "spec: must be an object, not 'x'"),
    ],
)
def test_no_cache_at_all(given_body: Any, words: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse(given_body)
    assert str(caught.value) == words


def test_several_faults_and_too_many() -> None:
    with pytest.raises(Malformed) as caught:
        parse(body(instances=0, memory={"maxmemoryPercent": 99}))
    assert str(caught.value) == (
        "spec.instances: must be greater than or equal to 1, not 0; "
        "spec.memory.maxmemoryPercent: must be less than or equal to 95, not 99"
    )
    with pytest.raises(Malformed) as caught:
        parse(body(config={f"p{i}": None for i in range(50)}))
    assert len(caught.value.faults) == 50
    assert str(caught.value).endswith(f" and {50 - FAULTS_MAX} more")


@pytest.mark.parametrize(
    ("status", "read"),
    [
        ({"phase": "fine", "pods": [{"role": 1}], "memory": {}}, CacheStatus(phase="fine")),
        ({"phase": "fine", "from-the-future": 1}, CacheStatus(phase="fine")),
        ({"observed_generation": "x", "phase": "fine"}, CacheStatus(phase="fine")),
        ({"observed_generation": "x", "observedGeneration": "y", "phase": "fine"}, CacheStatus()),
        (3, CacheStatus()),
        (None, CacheStatus()),
    ],
)
def test_a_status_that_another_version_wrote(status: Any, read: CacheStatus) -> None:
    assert parse({**HEAD, "status": status}).status == read


def test_a_wrong_spec_is_said_even_if_the_status_is_wrong_too() -> None:
    with pytest.raises(Malformed, match=r"^spec.instances: must be an integer, not 'x'$"):
        parse({**body(instances="x"), "status": 3})


def test_models_take_their_own_names_too() -> None:
    assert MemorySpec(eviction_policy="allkeys-lru") == MemorySpec.model_validate({"evictionPolicy": "allkeys-lru"})


FIELDS = [
    "apiVersion", "kind", "metadata", "name", "namespace", "labels", "spec", "status", "memory", "limit", "config",
    "persistence", "storage", "size", "schedule", "seconds", "auth", "mode", "secretRef", "resources", "requests",
    "podTemplate", "networkPolicy", "clients", "pods", "conditions", "refusals", "phase", "used_memory", "usedMemory",
]  # fmt: skip
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.binary(max_size=4)
    | st.text(st.characters(), max_size=6) | st.sampled_from([API_VERSION, "Cache", "1Gi", "aof", 10**4000])
)  # fmt: skip
JUNK = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS) | SCALARS, inner, max_size=5),
    max_leaves=20,
)


@given(JUNK, st.dictionaries(st.sampled_from(FIELDS), JUNK), st.dictionaries(st.sampled_from(FIELDS), JUNK))
def test_junk_is_a_cache_or_malformed(junk: Any, spec: dict[str, Any], status: dict[str, Any]) -> None:
    for candidate in (junk, {**HEAD, "spec": junk}, {**HEAD, "spec": spec, "status": junk}, {**HEAD, "status": status}):
        try:
            parse(candidate).model_dump_json()
        except Malformed as error:
            str(error).encode()

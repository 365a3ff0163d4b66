"""The load and its cases: what a fill leaves behind, on the real Valkey."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import cases
import cases_memory
import cases_types
import pytest
from big_value import VALUES
from cases import Case, Fill
from measure import Load, reply_to

from fleettest.instance import Instance

pytestmark = [pytest.mark.server]

SIZE = {"HSET": "HLEN", "RPUSH": "LLEN", "SADD": "SCARD", "ZADD": "ZCARD", "GEOADD": "ZCARD", "SETBIT": "STRLEN",
        "XADD": "XLEN"}  # fmt: skip


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    return Load(tmp_path_factory.mktemp("load"))


@pytest.fixture(scope="module")
def valkey() -> Iterator[Instance]:
    with Instance("valkey") as server:
        yield server


@pytest.mark.parametrize("n", [10, 100])
@pytest.mark.parametrize("kind", cases_types.KINDS, ids=lambda kind: kind.label.format("n"))
def test_a_fill_makes_values_of_one_size(load: Load, valkey: Instance, kind: cases_types.Kind, n: int) -> None:
    keys = 30
    valkey.call("FLUSHALL")
    for words, times in kind.fills(n):
        load.make(valkey, Fill(words, keys * times, keys))
        for key in range(keys):
            name = words[1].replace("__key__", f"key:{key:012}")
            if words[0] == "PFADD":
                assert abs(valkey.call("PFCOUNT", name) - times) <= times // 10
            else:
                assert valkey.call(SIZE[words[0]], name) == (n if words[0] == "SETBIT" else times)
    assert valkey.call("DBSIZE") == keys * len(kind.fills(n))


def test_a_fill_of_many_elements_a_command_repeats_none(load: Load, valkey: Instance) -> None:
    for value in VALUES[1:]:
        valkey.call("FLUSHALL")
        load.make(valkey, value.fill(20_000))
        assert valkey.call(SIZE[value.command], "big") == 20_000


def test_numbers_of_a_run_are_in_their_range(load: Load, valkey: Instance) -> None:
    valkey.call("FLUSHALL")
    load.run(valkey, [("SADD", "s", "x:__07-13__")], ops=5000, pipeline=10)
    assert sorted(valkey.call("SMEMBERS", "s")) == [b"x:%02d" % i for i in range(7, 14)]


def test_two_that_wait_for_each_other_leave_nothing(load: Load, valkey: Instance) -> None:
    for case in cases_types.GROUPS["lists"]:
        if case.partner:
            valkey.call("FLUSHALL")
            pipeline = case.pipeline * len(case.commands)
            report = load.finish(
                load.start(valkey, case.commands, case.partner, conns=4, pipeline=pipeline, ops=pipeline * 40)
            )
            assert report["ops"] == pipeline * 40
            assert valkey.call("DBSIZE") == 0


def all_cases() -> list[Case]:
    groups = (*cases.GROUPS.values(), *cases_types.GROUPS.values())
    return [case for group in groups for case in group]


def test_every_case_has_a_name_of_its_own() -> None:
    names = [(case.data.label, case.test, case.pipeline) for case in all_cases()]
    assert len(names) == len(set(names))
    memory = [case.label for case in cases_memory.memory(False)]
    assert len(memory) == len(set(memory))
    assert all(case.pipeline == 1 and case.connections == 4 for case in all_cases() if case.large)


def test_a_large_reply_is_marked_so(load: Load, valkey: Instance) -> None:
    """The benchmark refuses to measure a case that is not."""
    for case in all_cases():
        if case.test == "GET":
            valkey.call("FLUSHALL")
            load.make(valkey, dataclasses.replace(case.data.fills[0], count=1, keys=1))
            assert (len(reply_to(valkey, case.first[0])) > cases.LARGE_REPLY_BYTES) == case.large, case.data.label


def test_redis_benchmarks_suite_is_whole() -> None:
    tests = {case.test for case in all_cases()}
    ranges = {f"LRANGE_{n}" for n in (100, 300, 500, 600)}
    names = "PING_INLINE PING_MBULK SET GET INCR LPUSH RPUSH LPOP RPOP SADD HSET SPOP ZADD ZPOPMIN MSET"
    assert {*names.split(), *ranges} <= tests


def test_first_words() -> None:
    assert cases.first_of(("A", "__key__", "x:__03-97__", "__pair__")) == (
        "A", f"key:{0:012}", "x:03", f"pair:{0:012}"
    )  # fmt: skip

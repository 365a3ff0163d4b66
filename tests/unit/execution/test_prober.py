"""The prober over servers of the test's own, in virtual time; one test with sockets."""

from __future__ import annotations

import asyncio
import contextlib
import random
import resource
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import hiredis
import pytest

from cachefleet_operator.api.objects import Object
from cachefleet_operator.execution import prober
from cachefleet_operator.execution.errors import ExecutionError
from cachefleet_operator.execution.ports import Command, Endpoint, Reply
from cachefleet_operator.execution.prober import Prober, Target
from cachefleet_operator.execution.wire import Locked, NotListening, Wire
from cachefleet_operator.planning.snapshot import Server
from fleettest.instance import free_port
from fleettest.virtualtime import pass_time, run_virtual

KEY = ("shop", "orders")
POD = "orders-0"
BEGAN = 1_800_000_000.0  # unix seconds at the loop's 0
HANGS = 1e9


@dataclass
class Process:
    """One that answers after `takes_s`."""

    run: str = "r1"
    role: str = "master"
    password: bytes = b""
    ping: Reply = b"PONG"
    parameters: dict[bytes, bytes] = field(default_factory=lambda: {b"maxmemory": b"1"})
    loading: int = 0
    takes_s: float = 0.002
    listens: bool = True
    connections: int = 0

    def reply(self, command: Command) -> Reply:
        if command[0] == b"CONFIG":
            return [word for pair in self.parameters.items() for word in pair]
        info = f"run_id:{self.run}\r\nrole:{self.role}\r\nloading:{self.loading}\r\n"
        return info.encode() if command[0] == b"INFO" else self.ping


class Place:
    """Servers (execution/ports.py) by host."""

    def __init__(self, **processes: Process) -> None:
        self.processes = processes
        self.asked = Counter[str]()  # questions by "call" and "glance"
        self.lines: set[Line] = set()

    def address(self, pod: Object) -> tuple[str, int] | None:
        raise AssertionError

    async def ask(self, endpoint: Endpoint, commands: Sequence[Command]) -> tuple[bytes, list[Reply]]:
        raise AssertionError

    async def tell(self, endpoint: Endpoint, run_id: str, commands: Sequence[Command]) -> list[Reply]:
        raise AssertionError("the prober changes nothing")

    async def call(self, endpoint: Endpoint, commands: Sequence[Command]) -> tuple[Line, bytes, list[Reply]]:
        self.asked["call"] += 1
        process = self.processes[endpoint.host]
        if not process.listens:
            raise NotListening(f"{endpoint.host} refuses connections")
        await pass_time(process.takes_s)
        if process.password not in endpoint.passwords:
            raise Locked("WRONGPASS")
        line = Line(self, process)
        return line, process.password, [process.reply(command) for command in commands]


class Line:
    """Line (execution/ports.py) to one run of a process."""

    def __init__(self, place: Place, process: Process) -> None:
        self._place, self._process, self._run = place, process, process.run
        self.closed = False  # by the server
        process.connections += 1
        place.lines.add(self)

    async def ask(self, commands: Sequence[Command]) -> list[Reply]:
        self._place.asked["glance"] += 1
        if self.closed or self._process.run != self._run or not self._process.listens:
            raise ExecutionError("closed the connection without an answer")
        await pass_time(self._process.takes_s)
        return [self._process.reply(command) for command in commands]

    def close(self) -> None:
        self._place.lines.discard(self)


def clock() -> float:
    return BEGAN + asyncio.get_running_loop().time()


def target(host: str = "a", uid: str = "u", *passwords: bytes) -> Target:
    return Target(uid, Endpoint(host, 6379, passwords or (b"",)))


class Watched:
    """One server that is probed, in virtual time."""

    def __init__(self, *, alone: bool) -> None:
        self.process = Process()
        self.place = Place(a=self.process)
        self.news = list[float]()
        self.prober = Prober(self.place, clock=clock, chance=random.Random(1).random)
        self.prober.listen(lambda key: self.news.append(clock() - BEGAN))
        self.prober.watch(KEY, {POD: target()}, alone=alone)

    def server(self) -> Server:
        return self.prober.facts(KEY)[POD]

    def age_s(self) -> float:
        return clock() - self.server().seen_at

    async def until_news(self, limit_s: float) -> float:
        """How long it took."""
        began, known = clock(), len(self.news)
        while len(self.news) == known:
            assert clock() - began < limit_s, "nothing was heard"
            await pass_time(0.01)
        return clock() - began


def watching(story: Callable[[Watched], Coroutine[Any, Any, None]], *, alone: bool = False) -> None:
    """Runs a story to its end, after the first answer. No connection is left."""

    async def main() -> None:
        found = Watched(alone=alone)
        await pass_time(0.5)
        assert found.server().role == "master"
        await story(found)
        await found.prober.stop()
        assert not found.place.lines
        assert len(asyncio.all_tasks()) == 1

    run_virtual(main())


def test_a_server_is_asked_every_second_on_one_connection_that_is_renewed() -> None:
    async def story(its: Watched) -> None:
        for _ in range(600):
            await pass_time(0.1)
            assert its.age_s() < 1.1
            assert len(its.place.lines) == 1
        assert 58 <= sum(its.place.asked.values()) <= 70
        assert its.process.connections == its.place.asked["call"] == 3
        assert len(its.news) == 1, "nothing changed since its first answer"

    watching(story)


def test_a_single_instance_is_asked_every_ten_seconds_and_each_second_once_it_fails() -> None:
    async def story(its: Watched) -> None:
        await pass_time(60)
        assert 6 <= sum(its.place.asked.values()) <= 8
        its.process.takes_s = HANGS
        assert await its.until_news(15) < 10 + prober.FAILURES_SUSPECT * 1.1
        its.process.takes_s = 0.002
        assert await its.until_news(3) < 2.1
        its.prober.watch(KEY, {POD: target()})
        await pass_time(0.1)
        before = sum(its.place.asked.values())
        await pass_time(10)
        assert sum(its.place.asked.values()) - before >= 9, "it is alone no more"

    watching(story, alone=True)


def test_a_slow_answer_is_no_news_and_facts_carry_their_age() -> None:
    async def story(its: Watched) -> None:
        its.process.takes_s = 2.5
        await pass_time(2)
        found = its.server()
        assert (found.role, found.error, found.failures) == ("master", "", 1)
        assert its.age_s() > 1.5
        its.process.takes_s = 0.002
        await pass_time(1.5)
        assert its.age_s() < 1.1
        assert its.server().failures == 0
        assert len(its.news) == 1

    watching(story)


def test_three_failures_are_news_and_so_is_the_first_answer_afterwards() -> None:
    async def story(its: Watched) -> None:
        seen = its.server().seen_at
        its.process.takes_s = HANGS
        assert 2.9 <= await its.until_news(5) <= 4.1
        found = its.server()
        assert found.error == "no answer from a:6379 within 1 s"
        assert (found.failures, found.refuses, found.locked) == (3, False, False)
        assert seen <= found.seen_at <= seen + 1.1, "when it was last heard stays known"
        its.process.takes_s = 0.002
        assert await its.until_news(3) < 2.1
        assert (its.server().error, its.server().failures) == ("", 0)

    watching(story)


def test_a_process_that_is_gone_is_news_at_once_and_its_next_run_too() -> None:
    async def story(its: Watched) -> None:
        its.process.listens = False
        assert await its.until_news(2) < 1.1
        assert its.server().refuses
        its.process.listens, its.process.run = True, "r2"
        assert await its.until_news(2) < 1.1
        assert (its.server().run_id, its.server().refuses) == ("r2", False)
        its.process.run = "r3"  # faster than anybody asked
        assert await its.until_news(2) < 1.1
        assert (its.server().run_id, its.server().failures) == ("r3", 0)

    watching(story)


def test_what_may_not_wait_is_news_at_a_glance() -> None:
    async def story(its: Watched) -> None:
        calls = its.place.asked["call"]
        its.process.role = "slave"
        assert await its.until_news(2) < 1.1
        assert its.server().role == "slave"
        its.process.ping = _error("MISCONF errors writing to disk")
        assert await its.until_news(2) < 1.1
        assert its.server().failing.startswith("MISCONF")
        assert its.place.asked["call"] == calls
        its.process.ping, its.process.loading = _error("LOADING it is"), 1
        assert await its.until_news(2) < 1.1
        assert its.server().loading

    watching(story)


def test_a_connection_that_is_closed_is_no_failure() -> None:
    async def story(its: Watched) -> None:
        for count in range(2, 5):
            for line in its.place.lines:
                line.closed = True
            await pass_time(1.1)
            assert its.process.connections == count
            assert its.age_s() < 1.1
            assert its.server().failures == 0
        assert len(its.news) == 1

    watching(story)


def test_parameters_and_passwords_are_looked_at_every_half_minute() -> None:
    async def story(its: Watched) -> None:
        its.process.parameters[b"maxmemory"] = b"2"
        await its.until_news(prober.RENEW_S + 2)
        assert its.server().parameters == {"maxmemory": "2"}
        its.process.password = b"changed"
        await its.until_news(prober.RENEW_S + 2)
        assert (its.server().locked, its.server().failures) == (True, 0)
        assert its.age_s() < 1.1, "it answers"

    watching(story)


def test_what_was_told_is_in_the_next_facts_and_older_ones_are_not_shown() -> None:
    async def story(its: Watched) -> None:
        its.process.parameters[b"maxmemory"] = b"2"
        its.prober.told(target().endpoint)
        assert not its.prober.facts(KEY)
        await pass_time(0.05)
        assert its.server().parameters == {"maxmemory": "2"}
        its.process.takes_s = 0.5
        its.prober.told(target().endpoint)
        await pass_time(0.1)  # It is being asked, and is told something meanwhile.
        its.prober.told(target().endpoint)
        await pass_time(0.5)
        assert not its.prober.facts(KEY)
        await pass_time(0.6)
        assert its.server().role == "master"
        its.process.takes_s = HANGS
        its.prober.told(target().endpoint)
        await pass_time(2)
        assert not its.prober.facts(KEY)
        await pass_time(2)
        assert its.server().error

    watching(story)


def test_a_pod_that_becomes_ready_is_asked_anew_and_what_was_known_before_is_not_shown() -> None:
    async def story(its: Watched) -> None:
        its.process.listens = False
        await its.until_news(2)
        its.process.listens = True
        its.prober.watch(KEY, {POD: target()})
        assert its.server().refuses, "nobody knows more"
        its.prober.watch(KEY, {POD: target()._replace(ready=True)})
        assert not its.prober.facts(KEY)
        await pass_time(0.05)
        assert (its.server().error, its.server().role) == ("", "master")
        for ready in (True, False):
            its.prober.watch(KEY, {POD: target()._replace(ready=ready)})
            assert its.server().role == "master", "that is no news"

    watching(story)


@pytest.mark.parametrize("other", [target("b"), target("a", "another pod"), target("a", "u", b"another", b"")])
def test_another_address_pod_or_password_begins_anew(other: Target) -> None:
    async def story(its: Watched) -> None:
        its.place.processes["b"] = Process("rb")
        (old,) = its.place.lines
        its.prober.watch(KEY, {POD: other})
        assert not its.prober.facts(KEY), "what the former one said is not said of this one"
        await pass_time(0.05)
        assert its.server().run_id == ("rb" if other.endpoint.host == "b" else "r1")
        assert its.server().password_is_current == (other.endpoint.passwords[0] == b"")
        assert old not in its.place.lines
        assert len(its.place.lines) == 1

    watching(story)


def test_a_cache_that_is_gone_is_asked_no_more() -> None:
    async def story(its: Watched) -> None:
        its.process.takes_s = HANGS
        await pass_time(1.1)
        its.prober.watch(KEY, {})
        await pass_time(0)
        assert not its.prober.facts(KEY)
        assert not its.prober.servers()
        before = its.place.asked.total()
        await pass_time(60)
        assert its.place.asked.total() == before

    watching(story)


def test_there_is_an_end_of_connections_and_it_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        found = Prober(Place(a=Process()), clock=clock, servers_max=2)
        found.watch(KEY, {f"orders-{n}": target() for n in range(5)})
        await pass_time(1)
        assert len(found.facts(KEY)) == 2
        found.watch(("shop", "more"), {"more-0": target()})
        assert "2 servers are asked" in caplog.text
        found.watch(KEY, {})
        found.watch(("shop", "more"), {"more-0": target()})
        await pass_time(1)
        assert found.facts(("shop", "more"))
        await found.stop()

    run_virtual(main())
    assert len(caplog.records) == 1


def test_a_bug_costs_its_own_server_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        place = Place(a=Process(parameters={b"x": None}), b=Process())  # type: ignore[dict-item]
        del place.processes["a"]
        found = Prober(place, clock=clock)
        found.watch(KEY, {POD: target("a"), "orders-1": target("b")})
        await pass_time(1.5)
        assert found.facts(KEY)[POD].error
        assert found.facts(KEY)["orders-1"].role == "master"
        await found.stop()

    run_virtual(main())
    assert "a probe broke" in caplog.text


def _error(words: str) -> Reply:
    return hiredis.ReplyError(words)


# -- sockets


@contextlib.asynccontextmanager
async def serving(process: Process) -> AsyncIterator[int]:
    """A process on a free port; its connections end with it."""
    pack = {bytes: lambda reply: b"$%d\r\n%b\r\n" % (len(reply), reply), int: lambda reply: b":%d\r\n" % reply}
    writers: set[asyncio.StreamWriter] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        process.connections += 1
        parser = hiredis.Reader()
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(4096):
                parser.feed(data)
                while (command := parser.gets()) is not False:
                    if process.takes_s < HANGS:
                        reply = process.reply(command)
                        parts = reply if isinstance(reply, list) else [reply]
                        head = b"*%d\r\n" % len(parts) if isinstance(reply, list) else b""
                        writer.write(head + b"".join(pack[type(part)](part) for part in parts))
        writer.transport.abort()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()


class Wired(Wire):
    def address(self, pod: Object) -> tuple[str, int] | None:
        raise AssertionError


def test_over_sockets_a_hung_server_costs_the_others_nothing() -> None:
    """Four that answer, one that hangs, one that nobody listens for: by the real clock."""

    async def main() -> None:
        processes = [Process(f"r{n}") for n in range(5)]
        found = Prober(Wired(), clock=lambda: BEGAN + asyncio.get_running_loop().time())
        async with contextlib.AsyncExitStack() as stack:
            ports = [await stack.enter_async_context(serving(process)) for process in processes]
            ends = [Endpoint("127.0.0.1", port, (b"",)) for port in (*ports, free_port())]
            found.watch(KEY, {f"orders-{n}": Target("u", end) for n, end in enumerate(ends)})
            await until(lambda: all(found.facts(KEY)[f"orders-{n}"].run_id == f"r{n}" for n in range(5)))
            assert found.facts(KEY)["orders-5"].refuses
            processes[4].takes_s = HANGS
            ages: list[float] = []

            def hung() -> bool:
                ages.extend(clock() - found.facts(KEY)[f"orders-{n}"].seen_at for n in range(4))
                return bool(found.facts(KEY)["orders-4"].error)

            await until(hung)
            assert max(ages) < 2.0
            assert [process.connections for process in processes[:4]] == [1] * 4
            await found.stop()

    asyncio.run(main())


async def until(condition: Callable[[], bool], deadline_s: float = 30.0) -> None:
    end = asyncio.get_running_loop().time() + deadline_s
    while True:
        with contextlib.suppress(KeyError):
            if condition():
                return
        assert asyncio.get_running_loop().time() < end, "it did not come to be so"
        await asyncio.sleep(0.01)


# -- a fleet


CACHES, PODS, FLEET_S = 100, 3, 60


def test_a_hung_server_and_a_node_that_is_away_cost_the_others_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """100 Caches of three; one server hangs, and the twenty of one node are unreachable."""

    async def main() -> tuple[float, Counter[str], int]:
        names = [(f"c{c}", f"c{c}-{p}") for c in range(CACHES) for p in range(PODS)]
        place = Place(**{pod: Process() for _, pod in names})
        found = Prober(place, clock=clock)
        for c in range(CACHES):
            found.watch(("shop", f"c{c}"), {pod: target(pod) for cache, pod in names if cache == f"c{c}"})
        await pass_time(5)
        away = {"c0-0", *(f"c{c}-1" for c in range(20))}
        for pod in away:
            place.processes[pod].takes_s = HANGS
        oldest, before = 0.0, place.asked.copy()
        for _ in range(FLEET_S * 10):
            await pass_time(0.1)
            ages = {server.pod: clock() - server.seen_at for server in found.servers()}
            oldest = max(oldest, *(age for pod, age in ages.items() if pod not in away))
        assert {server.pod for server in found.servers() if server.error} == away
        assert len(found.servers()) == len(names)
        lines = len(place.lines)
        await found.stop()
        return oldest, place.asked - before, lines

    began = _cpu_s()
    oldest, asked, lines = run_virtual(main())
    took = _cpu_s() - began
    with capsys.disabled():
        print(f"\n  {CACHES} Caches of {PODS}: oldest facts {oldest:.2f} s; a second: {asked['glance'] / FLEET_S:.0f} "
              f"glances, {asked['call'] / FLEET_S:.0f} connections, {took / FLEET_S * 1000:.1f} ms of CPU; "
              f"{lines} connections kept; API calls: none")  # fmt: skip
    assert oldest < 2.0
    assert lines == CACHES * PODS - 21


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime

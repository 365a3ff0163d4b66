"""A Cache of three pods on the cluster of the scenarios: who is what, where its Services lead, and its clients.

    trio.whole()                 one primary, two replicas in sync, all Services and conditions say so
    trio.primary()               the pod that the record names
    trio.pod("orders-1")         as Kubernetes has it
    with trio.watched() as seen: traffic through the Service around a fault, which is judged at the end
    seen.was_planned()           the primary handed over, and nobody had to be elected in its place

`watched` fails where an acknowledged write is lost, or two primaries took writes at once; what a fault took is printed
beside what the protocol promises, and fails where it is much more than that: a slow machine is slower than its clocks.
How a primary was replaced is told by its records, whatever time it took.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from signal import SIGCONT, SIGSTOP
from typing import Any, Final

import faults
from node import Node

from cachefleet_operator.api import names
from fleettest.client import Connection, Error
from fleettest.records import Records
from fleettest.stage import Object, Stage
from fleettest.traffic import Reader, Writer, two_at_once

INSTANCES: Final = 3
ANSWER_S: Final = 1.0  # what a client waits for an answer, and then looks for another server
# The times of the protocol are those of a machine that has nothing else to do.
SLACK: Final = 2.0
PAUSE_S: Final = 3.0
WHOLE_S: Final = 60.0
HANDOVER_S: Final = 1.0  # how long a planned change of the primary refuses writes
SERVED: Final = ("rw", "ro")


def at_most(promised_s: float) -> float:
    """What is a failure anywhere."""
    return promised_s * SLACK + PAUSE_S


class Seen:
    """The traffic around a fault: through the Service, and of who else was connected; and the records that it made."""

    def __init__(self, writer: Writer, reader: Reader, beside: tuple[Writer, ...]) -> None:
        self.writer, self.reader, self.beside = writer, reader, beside
        self.since = self.until = 0.0
        self.records: list[Object] = []  # when it is over

    @property
    def writers(self) -> tuple[Writer, ...]:
        return (self.writer, *self.beside)

    def now(self) -> float:
        """The fault is now."""
        self.since = time.monotonic()
        return self.since

    def replaced(self, what: str, limit_s: float) -> None:
        """Another primary took a write after the fault."""
        self.time(what, self.writer.next_tenure(self.since, at_most(limit_s)), limit_s)

    def time(self, what: str, took_s: float, limit_s: float) -> None:
        told = f"{what}: {took_s:.2f} s (promised: {limit_s:g} s)"
        print(told)
        assert took_s <= at_most(limit_s), told

    def refused(self) -> None:
        """A planned one: how long writes were refused."""
        self.time("writes refused", self.writer.gap_s(self.since), HANDOVER_S)

    def was_planned(self) -> None:
        """When it is over."""
        told = [f"{one['epoch']} {one['kind']}: {one['reason']}" for one in self.records]
        kinds = {one["kind"] for one in self.records}
        assert "handover" in kinds and "elected" not in kinds, told

    def stayed(self) -> None:
        """When it is over: who was the primary is it still, by the same tenure."""
        told = [f"{one['epoch']} {one['kind']}: {one['reason']}" for one in self.records]
        assert {one["kind"] for one in self.records} <= {"continued"}, told


class Trio:
    def __init__(self, stage: Stage, name: str = "orders") -> None:
        self.stage, self.name = stage, name
        self._lists = 0

    def change(self, **spec: Any) -> None:
        """Of its spec; the rest stays."""
        self.stage.kube.patch("cache", self.name, self.stage.namespace, {"spec": spec})

    # -- who is what

    def record(self) -> Object:
        return dict(self.stage.find_status(self.name).get("topology", {}))

    def primary(self) -> str:
        return str(self.record()["primary"]["pod"])

    def replicas(self) -> list[str]:
        return sorted({names.pod(self.name, ordinal) for ordinal in range(INSTANCES)} - {self.primary()})

    def pod(self, name: str) -> Object:
        return self.stage.kube.get("pod", name, self.stage.namespace)

    def roles(self) -> dict[str, str]:
        """Pods by the label that Services select by."""
        found = self.stage.kube.list("pod", self.stage.namespace, f"{names.LABEL_CACHE}={self.name}")
        return {pod["metadata"]["name"]: pod["metadata"]["labels"].get(names.LABEL_ROLE, "") for pod in found}

    def leads_to(self, service: str) -> list[str]:
        """The pods that new clients of the Service `rw` or `ro` reach."""
        selector = f"kubernetes.io/service-name={self.name}-{service}"
        slices = self.stage.kube.list("endpointslices", self.stage.namespace, selector)
        every = [endpoint for one in slices for endpoint in one.get("endpoints") or ()]
        return sorted(one["targetRef"]["name"] for one in every if one["conditions"].get("ready"))

    def what_lacks(self, cache: Object, instances: int = INSTANCES) -> str:
        """What keeps that Cache from being whole; empty = it is."""
        status = cache.get("status", {})
        record, roles = status.get("topology"), self.roles()
        if record is None or not record["primary"].get("disk"):
            return "no record of its pods"
        wished = cache["spec"].get("durability", {}).get("mode", "async")
        if record.get("durability", "async") != wished:
            return f"the record does not say {wished}"
        primary = record["primary"]["pod"]
        wanted = {names.pod(self.name, n): names.ROLE_REPLICA for n in range(instances)}
        if primary not in wanted or roles != {**wanted, primary: names.ROLE_PRIMARY}:
            return f"the labels are {roles}, the primary is {primary}"
        members = sorted(member["pod"] for member in record["set"])
        if members != sorted(wanted) or record["acks"] != min(1, instances - 1):
            return f"the set is {members} with {record['acks']} acks"
        leads = {service: self.leads_to(service) for service in SERVED}
        if leads != {"rw": [primary], "ro": sorted(wanted.keys() - {primary}) or [primary]}:  # one alone serves both
            return f"the Services lead to {leads}, the primary is {primary}"
        reasons = {c["type"]: c["reason"] for c in status["conditions"]}
        settled = {"Ready": "Serving", "Progressing": "UpToDate", "PrimaryHealthy": "Reigning"}
        settled["ReplicationHealthy"] = "InSync" if instances > 1 else "Solo"
        other = {kind: reasons.get(kind) for kind, reason in settled.items() if reasons.get(kind) != reason}
        return f"conditions {other}" if other else ""

    def whole(self, instances: int = INSTANCES) -> Object:
        """The record, as soon as the Cache is whole."""

        def whole() -> Object:
            cache = self.stage.cache(self.name)
            lacks = self.what_lacks(cache, instances)
            assert not lacks, lacks
            return dict(cache["status"]["topology"])

        return self.stage.wait(whole, f"{self.name} is whole", self.name)

    # -- clients

    def connect(self) -> Connection:
        """Through the Service for writes."""
        return self._log_in((self.stage.host(self.name), names.PORT))

    def connect_to(self, pod: Object) -> Connection:
        return self._log_in((pod["status"]["podIP"], names.PORT))

    def _log_in(self, address: tuple[str, int]) -> Connection:
        connection = Connection(address, timeout_s=ANSWER_S)
        said = connection.call("AUTH", self._password)
        if isinstance(said, Error):
            connection.close()
            raise ConnectionError(said)
        return connection

    @functools.cached_property
    def _password(self) -> str:
        return self.stage.password(self.name)

    def connect_inside(self, pod: Object) -> Callable[[], Connection]:
        """For a thread of its own: from within the pod's network."""
        entered: list[bool] = []

        def connect() -> Connection:
            if not entered:
                faults.enter(pod, names.CONTAINER)
                entered.append(True)
            return self._log_in(("127.0.0.1", names.PORT))

        return connect

    def writer(self, connect: Callable[[], Connection] | None = None) -> Writer:
        self._lists += 1
        return Writer(f"numbers:{self._lists}", connect or self.connect)

    @contextlib.contextmanager
    def watched(self, *beside: Writer, may_lose_s: float = 0.0, instances: int = INSTANCES) -> Iterator[Seen]:
        """`may_lose_s`: what was acknowledged in so long before the fault may be lost, by documentation. `beside` write
        to whom they reach. It ends with `instances` pods."""
        before = self.record()["epoch"]
        with contextlib.ExitStack() as stack:
            records = stack.enter_context(Records(self.stage.kube, self.stage.namespace, self.name))
            records.reach(before)
            writer = stack.enter_context(self.writer())
            reader = stack.enter_context(Reader(writer, self.connect))
            for one in (writer, *(stack.enter_context(other) for other in beside)):
                one.goes_on()
            seen = Seen(writer, reader, beside)
            yield seen
            last = self.whole(instances)
            seen.until = time.monotonic()
            seen.time("whole again", seen.until - seen.since, WHOLE_S)
            writer.goes_on()
            records.reach(last["epoch"])
            seen.records = records.after(before)
        self.judge(seen, may_lose_s)

    def judge(self, seen: Seen, may_lose_s: float) -> None:
        reader, since = seen.reader, seen.since
        for writer in seen.writers:
            with self.connect() as connection:
                lost = set(writer.lost(connection))
            gap = f"longest gap {writer.gap_s(since):.2f} s"
            print(f"{len(writer.acked)} writes acknowledged, {len(lost)} lost, refused {dict(writer.refusals)}, {gap}")
            late = [one for one in writer.acked if one.number in lost and one.at < since - may_lose_s]
            assert not (late if may_lose_s else lost), f"{len(lost)} acknowledged writes are lost: {sorted(lost)[:5]}"
        print(f"{reader.reads} reads, {len(reader.behind)} behind, refused {dict(reader.refusals)}")
        alone = frozenset(one["tenure"] for one in seen.records if len(one["set"]) == 1)
        assert not (pairs := two_at_once(seen.writers, alone)), f"two primaries at once: {pairs[:2]}"
        # Who is fenced, or was cut off, can be read: what it has is as old as its reign.
        behind = [one for one in reader.behind if not since <= one.at <= seen.until]
        assert not behind, f"acknowledged and not read: {behind[:5]}"

    # -- faults

    def move_to_a_node_of_its_own(self) -> Node:
        """The primary, to the one of two nodes that has one pod: the two others are deleted, so it is the heir."""
        pods = {name: self.pod(name)["spec"]["nodeName"] for name in (self.primary(), *self.replicas())}
        lonely = next(name for name, node in pods.items() if list(pods.values()).count(node) == 1)
        if self.primary() != lonely:
            others = sorted(pods.keys() - {lonely})
            self.stage.kube.kubectl("delete", "pod", *others, "-n", self.stage.namespace, "--wait=false")
            self.stage.wait(lambda: self.primary() == lonely, f"{lonely} is the primary", self.name)
            self.whole()
        return faults.nodes()[pods[lonely]]

    def signal(self, pod: str, number: int) -> None:
        faults.signal_container(self.pod(pod), names.CONTAINER, number)

    @contextlib.contextmanager
    def stopped(self, *pods: str) -> Iterator[None]:
        """Their servers hang during the block."""
        with contextlib.ExitStack() as goes_on:
            for pod in pods:
                goes_on.callback(self.signal, pod, SIGCONT)
                self.signal(pod, SIGSTOP)
            yield

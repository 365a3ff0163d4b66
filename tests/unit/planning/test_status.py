"""The status: which phase and conditions follow from which facts, and that it is calm while nothing happens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cachefleet_operator.api import conditions
from cachefleet_operator.api.objects import Key, Object
from cachefleet_operator.api.v1alpha1 import CONFIG_KEYS_MAX, Cache, CacheStatus, Refusal
from cachefleet_operator.planning.failover.facts import Point
from cachefleet_operator.planning.moments import seconds, stamp
from cachefleet_operator.planning.plan import plan
from cachefleet_operator.planning.refusals import MESSAGE_CHARACTERS_MAX
from cachefleet_operator.planning.snapshot import Server
from cachefleet_operator.planning.status import SAMPLE_S, Verdict, status
from fleettest.snapshots import NOW, cache, pod, record, server, snapshot
from fleettest.views import TENURE, reigning, state
from fleettest.world import World

MIB = 1 << 20


def verdict(**facts: Any) -> Verdict:
    return Verdict(**{"image": "i:1", "default_version": "1", "topology": record(), **facts})


def told(
    of: Cache, *objects: Object, servers: list[Server] | None = None, now: float = NOW, **facts: Any
) -> CacheStatus:
    return status(snapshot(of, *objects, servers=servers or []), verdict(**facts), now)


def facts(found: CacheStatus) -> dict[str, tuple[str, str]]:
    return {c.type: (c.status, c.reason) for c in found.conditions}


def refusal(target: str, subject: str) -> Refusal:
    return Refusal(target=target, subject=subject, wish="w", message="no, said it", at=stamp(NOW))


READY, WAITS = pod(), pod(ready=False)
HANGS = pod(
    ready=False, containerStatuses=[{"name": "server", "ready": False, "started": True, "state": {"running": {}}}]
)
CRASHING = pod(
    ready=False,
    containerStatuses=[{"name": "server", "restartCount": 4, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}],
)


@pytest.mark.parametrize(
    ("objects", "servers", "decided", "phase", "wanted"),
    [
        pytest.param([READY], [server()], {}, ("Running", ""), {}, id="well"),
        pytest.param(
            [], [], {"progress": "Creating", "doing": "created StatefulSet/orders"},
            ("Creating", "No pod exists yet"), {"Ready": "NotServing", "Progressing": "Creating"}, id="new",
        ),
        pytest.param(
            [WAITS], [], {}, ("Waiting", "Pod orders-0 is starting"), {"Ready": "NotServing"}, id="starting"
        ),
        pytest.param(
            [WAITS], [server(loading=True, load_percent=41.7)], {}, ("Loading", "orders-0 has read 42 % of its data"),
            {"Ready": "Loading"}, id="loading",
        ),
        pytest.param(
            [CRASHING], [], {}, ("Degraded", "Pod orders-0 crashes at each start"),
            {"Ready": "NotServing", "Degraded": "PodFailing"}, id="crashing",
        ),
        pytest.param(
            [READY], [server(failing="MISCONF disk full")], {}, ("Degraded", "orders-0: MISCONF disk full"),
            {"Ready": "ReadOnly", "Degraded": "ServerFailing"}, id="disk full",
        ),
        pytest.param(
            [READY], [server(error="timed out")], {}, ("Degraded", "Pod orders-0 does not answer: timed out"),
            {"Degraded": "Unreachable"}, id="silent",
        ),
        pytest.param(
            [HANGS], [server(error="timed out")], {}, ("Degraded", "Pod orders-0 does not answer: timed out"),
            {"Ready": "NotServing", "Degraded": "Unreachable"}, id="was ready and hangs",
        ),
        pytest.param(
            [READY], [server()], {"failed": "a webhook is away"}, ("Degraded", "A webhook is away"),
            {"Degraded": "ReconcileFailed"}, id="fails again and again",
        ),
        pytest.param(
            [READY], [server(error="timed out")], {"failed": "a webhook is away"},
            ("Degraded", "Pod orders-0 does not answer: timed out"), {"Degraded": "Unreachable"}, id="and is silent",
        ),
        pytest.param(
            [WAITS], [server(error="refused")], {}, ("Waiting", "Pod orders-0 is starting"), {"Ready": "NotServing"},
            id="not up yet",
        ),
        pytest.param(
            [READY], [server()], {"secret_missing": "Secret x does not exist"},
            ("Degraded", "Secret x does not exist"),
            {"Degraded": "SecretMissing"}, id="secret gone",
        ),
        pytest.param(
            [READY], [server()], {"problems": ("config: no such parameter",)},
            ("Refused", "config: no such parameter"),
            {"Degraded": "SpecRefused", "ConfigApplied": "Refused"}, id="spec",
        ),
        pytest.param(
            [], [], {"problems": ("instances: not built",)}, ("Refused", "instances: not built"),
            {"Ready": "SpecRefused", "Degraded": "SpecRefused", "ConfigApplied": "Refused"}, id="spec of a new one",
        ),
        pytest.param(
            [READY], [server()], {"progress": "Restarting", "doing": "restarting orders-0: image changed"},
            ("Restarting", "Restarting orders-0: image changed"), {"Progressing": "Restarting"}, id="restarting",
        ),
        pytest.param(
            [READY], [server()], {"restart_required": ("databases: 16 -> 4",)}, ("Running", ""),
            {"ConfigApplied": "RestartRequired"}, id="restart required",
        ),
        pytest.param(
            [READY], [server()], {"config_pending": "set hz 5 in orders-0"}, ("Running", ""),
            {"ConfigApplied": "Pending"}, id="pending",
        ),
        pytest.param(
            [READY], [server()], {"refusals": (refusal("orders-0", "maxclients"),)}, ("Running", ""),
            {"ConfigApplied": "Refused"}, id="parameter refused",
        ),
        pytest.param(
            [READY], [server()], {"refusals": (refusal("StatefulSet/orders", "object"),)},
            ("Degraded", "StatefulSet/orders: no, said it"), {"Degraded": "ApplyFailed"}, id="object refused",
        ),
        pytest.param(
            [READY], [server()],
            {"refusals": (refusal("Service/a", "metadata.name"), refusal("b", "hz"), refusal("Secret/c", "object"))},
            ("Degraded", "No, said it; Secret/c: no, said it"), {"Degraded": "ApplyFailed", "ConfigApplied": "Refused"},
            id="several objects refused",
        ),
        pytest.param(
            [READY], [server()], {"refusals": (refusal("PersistentVolumeClaim/x", "storage.size"),)},
            ("Degraded", "PersistentVolumeClaim/x: no, said it"), {"Degraded": "StorageRefused"}, id="storage refused",
        ),
    ],
)  # fmt: skip
def test_phase_and_conditions(
    objects: list[Object], servers: list[Server], decided: dict[str, Any], phase: tuple[str, str],
    wanted: dict[str, str],
) -> None:
    """`wanted` are the reasons that differ from those of a Cache that is well."""
    found = told(cache(), *objects, servers=servers, **decided)
    well = {"Ready": "Serving", "Progressing": "UpToDate", "Degraded": "AsExpected", "ConfigApplied": "Applied"}
    assert (found.phase, found.message) == phase
    assert found.phase in [p.name for p in conditions.PHASES]
    assert {c.type: c.reason for c in found.conditions} == {**well, **wanted}
    known = {(r.condition, r.name): r.status for r in conditions.REASONS}
    assert all(known[c.type, c.reason] == c.status for c in found.conditions)


def test_the_time_of_a_condition_moves_with_its_status_alone() -> None:
    first = told(cache(), WAITS)
    later = told(cache(status=first), READY, servers=[server()], now=NOW + 60)
    times = {c.type: c.last_transition_time for c in later.conditions}
    assert times["Ready"] == stamp(NOW + 60)
    assert times["Degraded"] == stamp(NOW)


def test_samples_are_not_news() -> None:
    """Memory moves all the time: it is shown when something else is said, or once in SAMPLE_S."""
    first = told(cache(), READY, servers=[server(used_memory=10 * MIB)])
    assert first.memory == "10Mi/177Mi"
    busy = [server(used_memory=90 * MIB)]
    assert told(cache(status=first), READY, servers=busy, now=NOW + SAMPLE_S - 1) == first
    assert told(cache(status=first), READY, servers=busy, now=NOW + SAMPLE_S).memory == "90Mi/177Mi"
    still = [server(used_memory=11 * MIB)]
    assert told(cache(status=first), READY, servers=still, now=NOW + 10 * SAMPLE_S) == first
    news = told(cache(status=first), READY, servers=busy, now=NOW + 1, config_pending="x")
    assert news.memory == "90Mi/177Mi"


def follower(ordinal: int = 1, at: int = 7, **more: Any) -> Server:
    return server(f"orders-{ordinal}", managed=state(ordinal, at=Point(TENURE, at), **more))


def test_what_a_replica_says_of_its_primary() -> None:
    """Not the primary of itself; and who does not answer says nothing."""
    servers = [
        server(managed=reigning(at=Point(TENURE, 9))), follower(beat_s=1.9), follower(2, link="sync", beat_s=None),
        server("orders-3", error="timed out", managed=state(3)), server("orders-4"),
    ]  # fmt: skip
    names = [f"orders-{n}" for n in range(1, 5)]
    found = told(cache(instances=5), *map(pod, range(5)), servers=servers, topology=record("orders-0", *names)).pods
    assert [(one.link, one.lag_seconds, one.offset) for one in found] == [
        ("", None, 9), ("up", 1, 7), ("down", None, 7), ("", None, 0), ("", None, 0)
    ]  # fmt: skip


def test_under_writes_nothing_is_written_of_where_replicas_are() -> None:
    """Offsets move with each change, and lags always; a lag that decides something is news, and a link."""

    def later(old: CacheStatus, at: int, after_s: float, **more: Any) -> CacheStatus:
        its = follower(at=at, **{"beat_s": 0.1, **more})
        return told(
            cache(status=old, instances=2), READY, pod(1), servers=[server(), its], now=NOW + after_s,
            topology=record("orders-0", "orders-1"),
        )  # fmt: skip

    first = later(CacheStatus(), 7, 0.0)
    for after_s in (1.0, SAMPLE_S - 1, SAMPLE_S, 10 * SAMPLE_S):
        assert later(first, int(after_s * 1000), after_s, beat_s=1.9) == first
    late = later(first, 8000, 1.0, beat_s=2.1)
    assert (late.pods[1].lag_seconds, late.pods[1].offset) == (2, 8000)
    assert later(late, 9000, SAMPLE_S, beat_s=60.0) == late
    assert later(late, 9000, SAMPLE_S + 1, beat_s=60.0).pods[1].lag_seconds == 60
    assert later(late, 9000, 2.0).pods[1].lag_seconds == 0
    assert later(first, 9000, 1.0, link="down").pods[1].link == "down"


def test_a_snapshot_is_shown() -> None:
    first = told(cache(), READY, servers=[server()])
    saved = [server(last_save=int(NOW) + 5)]
    assert told(cache(status=first), READY, servers=saved, now=NOW + SAMPLE_S).pods[0].last_save == stamp(NOW + 5)


@pytest.mark.parametrize("more", [0, 1])
def test_long_words_are_cut(more: int) -> None:
    words = "x" * (MESSAGE_CHARACTERS_MAX + more)
    (found,) = told(cache(), READY, servers=[server(failing=words)]).pods
    assert found.message == (words if not more else "x" * (MESSAGE_CHARACTERS_MAX - 3) + "...")


def test_a_silent_server_has_no_figures() -> None:
    (found,) = told(cache(), READY, servers=[server(error="timed out")]).pods
    assert (found.used_memory, found.last_save, found.role) == (0, "", "primary")


def test_what_scale_and_clients_need() -> None:
    service = {"kind": "Service", "metadata": {"name": "orders-rw"}}
    balancer = {
        "kind": "Service", "metadata": {"name": "orders-ro"},
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}},
    }  # fmt: skip
    found = told(cache(), READY, service, balancer, servers=[server()])
    assert found.selector == (
        "app.kubernetes.io/name=cachefleet,app.kubernetes.io/instance=orders,cachefleet.io/cache=orders,"
        "cachefleet.io/shard=0"
    )
    assert (found.ready, found.instances, found.primary) == ("1/1", 1, "orders-0")
    assert (found.endpoint, found.read_endpoint) == ("orders-rw.shop.svc.cluster.local:6379", "192.0.2.7:6379")


@pytest.mark.parametrize(
    ("ingress", "endpoint"),
    [
        ([{"ip": "192.0.2.7"}], "192.0.2.7:6379"),
        ([{"ip": "2001:db8::7"}], "[2001:db8::7]:6379"),
        ([{"hostname": "lb.test", "ip": "2001:db8::7"}], "lb.test:6379"),
        ([{"ports": []}, {"ip": "2001:db8::7"}], "[2001:db8::7]:6379"),
        ([{"ports": []}], "orders-rw.shop.svc.cluster.local:6379"),
    ],
)
def test_where_a_load_balancer_is(ingress: list[dict[str, Any]], endpoint: str) -> None:
    service = {
        "kind": "Service", "metadata": {"name": "orders-rw"}, "status": {"loadBalancer": {"ingress": ingress}}
    }  # fmt: skip
    assert told(cache(), service).endpoint == endpoint


def test_a_pod_that_cannot_be_made_is_said_in_the_controllers_words() -> None:
    words = 'create Pod orders-0 in StatefulSet orders failed error: pods "orders-0" is forbidden: exceeded quota'
    unmade = {"orders-10": "later", "orders-0": words, "orders-9": "later"}
    made = plan(replace(snapshot(cache()), unmade=unmade), NOW)
    assert (made.status.phase, made.status.message) == ("Degraded", f"Pod orders-0 cannot be made: {words}")
    assert facts(made.status)["Degraded"] == ("True", "PodFailing")
    settled = World(cache())
    settled.settle()
    del settled.objects[Key("Pod", "orders-0")], settled.servers["orders-0"]
    made = plan(replace(settled.snapshot(), unmade=unmade), settled.now)
    assert facts(made.status)["Progressing"] == ("True", "Waiting"), "nothing is up to date where the pod is not made"
    assert (made.status.phase, made.status.message) == ("Degraded", f"Pod orders-0 cannot be made: {words}")


def test_deletion_and_pause_come_first() -> None:
    going = cache(metadata={"deletion_timestamp": stamp(NOW)})
    assert told(going, CRASHING).phase == "Deleting"
    assert told(cache(paused=True), CRASHING).phase == "Paused"


@pytest.mark.parametrize(
    ("progress", "phase"),
    [("Creating", "Creating"), ("Updating", "Updating"), ("Restarting", "Restarting"), ("ResizingStorage", "Resizing"),
     ("Waiting", "Waiting")],
)  # fmt: skip
def test_what_goes_on_has_a_phase(progress: str, phase: str) -> None:
    found = told(cache(), READY, servers=[server()], progress=progress, doing="doing it")
    assert (found.phase, found.message) == (phase, "Doing it")
    assert phase in [p.name for p in conditions.PHASES]


def test_a_spec_that_is_wrong_in_many_ways_has_a_small_status() -> None:
    """One that etcd does not take would never be written."""
    wrong = cache(config={f"no-such-parameter-{i}": "1" for i in range(CONFIG_KEYS_MAX)})
    made = plan(snapshot(wrong, READY, servers=[server(failing="x" * 100_000)]), NOW)
    assert len(str(made.status.wire())) < 10_000
    assert made.status.message.startswith("spec.config.no-such-parameter-0: unknown parameter; ")
    assert made.status.message.endswith("...")
    assert all(len(action.reason) <= 1024 for action in made.actions)


@pytest.mark.parametrize(
    ("servers", "words"),
    [
        ([server(parameters={"timeout": "5"})], None),
        ([server(parameters={"timeout": "0"})], "set timeout 5 in orders-0"),
        ([server(error="timed out")], "orders-0 does not answer yet"),
        ([server(loading=True)], "orders-0 does not answer yet"),
        ([], "orders-0 does not answer yet"),
    ],
)
def test_a_parameter_is_not_applied_where_nobody_can_be_asked(servers: list[Server], words: str | None) -> None:
    """`kubectl wait --for=condition=ConfigApplied` must not pass while the server is away."""
    made = plan(snapshot(cache(config={"timeout": "5"}), READY, servers=servers), NOW)
    found = next(c for c in made.status.conditions if c.type == "ConfigApplied")
    assert (found.status, found.message) == (("True", "") if words is None else ("False", words))


@pytest.mark.parametrize(
    ("moment", "text"),
    [(0, "1970-01-01T00:00:00Z"), (1_800_000_000.9, "2027-01-15T08:00:00Z"), (1e17, "9999-12-31T23:59:59Z"),
     (260_000_000_000, "9999-12-31T23:59:59Z"), (-5, "1970-01-01T00:00:00Z")],
)  # fmt: skip
def test_any_moment_can_be_written(moment: float, text: str) -> None:
    assert stamp(moment) == text


@pytest.mark.parametrize("text", ["", "soon", "0001-01-01T00:00:00", "9999-12-31T23:59:59", "2026-13-01T00:00:00Z"])
def test_what_is_no_moment_is_none(text: str) -> None:
    assert seconds(text) >= 0.0

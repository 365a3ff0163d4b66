"""The status of a Cache: a pure function of what was seen and what was decided. Written once a cycle, if it differs.

Numbers that always move (memory, last save, offset, lag) are samples: they are taken again when something else changes,
when memory moved by SAMPLE_SHARE of what is allowed, or a save happened, and at most every SAMPLE_S; so a busy cache in
steady state costs the API server at most one small write in that time, and an idle one none. Changes alone, of which
offsets speak, cost none. A lag is news when it passes BEAT_MISSED_S, as it is for whoever decides by it.

Sentences are cut: a spec may be wrong in ten thousand ways, and a status that is too large could never be written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cachefleet_operator.api import conditions as c
from cachefleet_operator.api import names
from cachefleet_operator.api.derived import maxmemory_bytes
from cachefleet_operator.api.objects import Object
from cachefleet_operator.api.v1alpha1 import (
    BindingStatus,
    CacheStatus,
    Condition,
    ConditionStatus,
    PodStatus,
    Refusal,
    Topology,
)
from cachefleet_operator.planning import managed, storage, topology
from cachefleet_operator.planning import pods as pod_facts
from cachefleet_operator.planning.failover import times
from cachefleet_operator.planning.failover.moves import Move
from cachefleet_operator.planning.moments import seconds, stamp
from cachefleet_operator.planning.refusals import MESSAGE_CHARACTERS_MAX, NAME, STORAGE, WHOLE
from cachefleet_operator.planning.snapshot import FOLLOWS, Server, Snapshot

SAMPLE_S = 300.0
SAMPLE_SHARE = 0.05
_STATUS_OF = {(r.condition, r.name): r.status for r in c.REASONS}
_MIB = 1 << 20
_LOCKED = "has a password that is in no Secret any more; a restart gives it that of the Secret"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the plan decided, as far as people should know."""

    image: str
    default_version: str
    template_generation: int = 0
    topology: Topology | None = None
    refusals: tuple[Refusal, ...] = ()
    problems: tuple[str, ...] = ()
    progress: str = ""  # reason of Progressing; empty = nothing goes on
    doing: str = ""  # what goes on, as a sentence
    waiting: str = ""
    secret_missing: str = ""
    unknown: tuple[str, ...] = ()  # parameters that a server does not know
    restart_required: tuple[str, ...] = ()
    failover: Move | None = None  # what goes on between managed servers; None = there are none
    failed: str = ""  # why what was decided is not done, again and again
    config_pending: str = ""  # parameters that are being set, or servers that cannot be asked


def status(snapshot: Snapshot, verdict: Verdict, now: float) -> CacheStatus:
    old = snapshot.cache.status
    record = verdict.topology
    pods = tuple(_pod(pod, snapshot.servers.get(pod["metadata"]["name"]), record, now) for pod in snapshot.pods())
    primary = next((p for p in pods if p.role == names.ROLE_PRIMARY), None)
    facts = _conditions(snapshot, verdict, pods, now)
    phase, message = _phase(facts)
    new = CacheStatus(
        phase=phase,
        message=_cut(_sentence(message)),
        observed_generation=snapshot.cache.metadata.generation,
        conditions=tuple(_condition(old, snapshot, kind, *facts[kind], now) for kind in facts),
        primary=record.primary.pod if record else "",
        topology=record,
        ready=f"{sum(p.ready for p in pods)}/{_pods_wanted(snapshot, verdict)}",
        instances=len(pods),
        selector=",".join(f"{k}={v}" for k, v in names.shard_labels(snapshot.cache.metadata.name).items()),
        version=primary.version if primary else "",
        image=verdict.image,
        default_version=verdict.default_version,
        template_generation=verdict.template_generation,
        memory=_memory(snapshot, primary),
        binding=_binding(snapshot),
        endpoint=endpoint(snapshot, names.service_rw(snapshot.cache.metadata.name)),
        read_endpoint=endpoint(snapshot, names.service_ro(snapshot.cache.metadata.name)),
        pods=pods,
        restart_required=tuple(_cut(words) for words in verdict.restart_required),
        refusals=verdict.refusals,
        sampled_at=stamp(now),
    )
    return _calm(old, new, now, maxmemory_bytes(snapshot.cache.spec))


def _pods_wanted(snapshot: Snapshot, verdict: Verdict) -> int:
    """Beside pods that run a refused spec wants in vain: what it would add is not coming, and what runs runs on."""
    live = snapshot.get("StatefulSet", names.statefulset(snapshot.cache.metadata.name))
    if live is None or not verdict.problems:
        return snapshot.cache.spec.instances
    return int(live["spec"]["replicas"])


Facts = Mapping[str, tuple[str, str]]  # condition -> (reason, message)


def _conditions(snapshot: Snapshot, verdict: Verdict, pods: tuple[PodStatus, ...], now: float) -> Facts:
    return {
        c.READY: _ready(snapshot, verdict, pods, now),
        c.PROGRESSING: _progressing(snapshot, verdict),
        c.DEGRADED: _degraded(snapshot, verdict, now),
        c.CONFIG_APPLIED: _config_applied(verdict),
        **(_fleet(snapshot, verdict, verdict.failover) if verdict.failover is not None else {}),
    }


def _fleet(snapshot: Snapshot, verdict: Verdict, move: Move) -> Facts:
    """Of managed servers: whether there is a primary, and who has what it has."""
    record, wished = verdict.topology, snapshot.cache.spec.instances - 1
    if move.reason:
        primary = move.reason, move.words
    elif record is None or not managed.reigns(snapshot, record):
        primary = "Electing", move.words or "no primary takes writes"
    else:
        primary = "Reigning", f"{record.primary.pod} takes writes"
    if record is None or len(record.members) == 1:
        return {c.PRIMARY_HEALTHY: primary, c.REPLICATION_HEALTHY: ("Solo", "no replica has what the primary has")}
    have = len(record.members) - 1 - managed.lacking(snapshot, record)
    words = f"{have} of {wished} replicas have what the primary has"
    return {c.PRIMARY_HEALTHY: primary, c.REPLICATION_HEALTHY: ("InSync" if have >= wished else "Degraded", words)}


def _ready(snapshot: Snapshot, verdict: Verdict, pods: tuple[PodStatus, ...], now: float) -> tuple[str, str]:
    if verdict.failover is not None and verdict.failover.reason:
        return "NotServing", verdict.failover.words
    # Who comes back has no role before it is a member again.
    role = names.ROLE_PRIMARY if verdict.topology is not None else ""
    serving = next((p for p in pods if p.ready and p.role == role), None)
    if serving is not None:
        server = snapshot.servers.get(serving.name)
        if server is not None and server.locked:
            return "PasswordLost", f"pod {serving.name} {_LOCKED}"
        if server is not None and server.failing:
            return "ReadOnly", f"{serving.name}: {server.failing}"
        if server is not None and server.role == FOLLOWS:
            return "NotServing", f"{serving.name} is to take writes, and follows another server"
        return "Serving", f"{serving.name} takes writes"
    if verdict.problems and not pods:
        return "SpecRefused", verdict.problems[0]
    for name, server in sorted(snapshot.servers.items()):
        if server.loading:
            return "Loading", f"{name} has read {server.load_percent:.0f} % of its data"
    if verdict.secret_missing and not pods:
        return "NotServing", verdict.secret_missing
    if not pods:
        return "NotServing", verdict.waiting or "no pod exists yet"
    first = snapshot.pods()[0]
    words = pod_facts.trouble(first, now) or _silence(snapshot, first) or pod_facts.waits_for(first)
    return "NotServing", f"pod {pods[0].name} {words}"


def _silence(snapshot: Snapshot, pod: Object) -> str:
    """A server that runs, is past its start, and does not answer us; empty = it is not so."""
    server = snapshot.servers.get(pod["metadata"]["name"])
    runs = pod_facts.is_ready(pod) or (pod_facts.has_started(pod) and not pod["metadata"].get("deletionTimestamp"))
    return f"does not answer: {server.error}" if runs and server is not None and server.error else ""


def _progressing(snapshot: Snapshot, verdict: Verdict) -> tuple[str, str]:
    if snapshot.cache.metadata.deletion_timestamp:
        return "Deleting", "the objects follow by their owner; volumes as storage.reclaimPolicy says"
    if snapshot.cache.spec.paused:
        return "Paused", "spec.paused is true: what is lost is made again, nothing else is changed"
    if verdict.progress:
        return verdict.progress, verdict.doing or verdict.waiting
    if verdict.waiting:
        return "Waiting", verdict.waiting
    return "UpToDate", ""


def _degraded(snapshot: Snapshot, verdict: Verdict, now: float) -> tuple[str, str]:
    if verdict.problems:
        return "SpecRefused", "; ".join(verdict.problems)
    for pod in snapshot.pods():
        if words := pod_facts.trouble(pod, now):
            return "PodFailing", f"pod {pod['metadata']['name']} {words}"
    if words := storage.loss(snapshot):
        return "VolumeDeleted", words
    if words := pod_facts.unmade(snapshot.unmade):
        return "PodFailing", words
    for name, server in sorted(snapshot.servers.items()):
        if not server.error and server.failing:
            return "ServerFailing", f"{name}: {server.failing}"
    if locked := next((name for name, server in sorted(snapshot.servers.items()) if server.locked), ""):
        return "PasswordLost", f"pod {locked} {_LOCKED}"
    if verdict.secret_missing:
        return "SecretMissing", verdict.secret_missing
    for refusal in verdict.refusals:
        if refusal.subject == STORAGE:
            return "StorageRefused", f"{refusal.target}: {refusal.message}"
    if words := storage.mismatch(snapshot):
        return "StorageRefused", words
    if lacking := [_lacking(refusal) for refusal in verdict.refusals if refusal.subject in WHOLE]:
        return "ApplyFailed", "; ".join(lacking)
    for pod in snapshot.pods():
        if words := _silence(snapshot, pod):
            return "Unreachable", f"pod {pod['metadata']['name']} {words}"
    if verdict.failed:
        return c.RECONCILE_FAILED, verdict.failed
    return "AsExpected", ""


def _lacking(refusal: Refusal) -> str:
    """Who cannot be had, and why; a taken name is part of the words."""
    return refusal.message if refusal.subject == NAME else f"{refusal.target}: {refusal.message}"


def _config_applied(verdict: Verdict) -> tuple[str, str]:
    refused = [r for r in verdict.refusals if r.subject not in (STORAGE, *WHOLE)]
    if verdict.problems:
        return "Refused", "; ".join(verdict.problems)
    if refused:
        return "Refused", "; ".join(f"{r.subject} {r.wish}: {r.message}" for r in refused)
    if verdict.unknown:
        return "Unsupported", "; ".join(verdict.unknown)
    if verdict.restart_required:
        return "RestartRequired", "; ".join(verdict.restart_required)
    if verdict.config_pending:
        return "Pending", verdict.config_pending
    return "Applied", ""


def _phase(facts: Facts) -> tuple[str, str]:
    """A word of conditions.PHASES for `kubectl get`, and its message: the most pressing thing."""
    ready, progressing, degraded = facts[c.READY], facts[c.PROGRESSING], facts[c.DEGRADED]
    serves = ready[0] == "Serving"
    if progressing[0] in ("Deleting", "Paused"):
        return progressing
    if degraded[0] == "SpecRefused":
        return "Refused", degraded[1]
    if degraded[0] != "AsExpected":
        return "Degraded", degraded[1]
    if ready[0] == "Loading":
        return ready
    if not serves and progressing[0] in ("Creating", "UpToDate", "Waiting"):
        return "Creating" if progressing[0] == "Creating" else "Waiting", ready[1]
    if progressing[1] and _STATUS_OF[c.PROGRESSING, progressing[0]] == "True":
        return progressing[0].removesuffix("Storage"), progressing[1]
    return ("Running", "") if serves else ("Waiting", ready[1])


def _sentence(words: str) -> str:
    """With a capital, unless it begins with a name, which is never changed."""
    first = words.partition(" ")[0]
    return words if set(first) & set("-/:") else words[:1].upper() + words[1:]


def _cut(words: str) -> str:
    return words if len(words) <= MESSAGE_CHARACTERS_MAX else f"{words[: MESSAGE_CHARACTERS_MAX - 3]}..."


def _condition(
    old: CacheStatus, snapshot: Snapshot, kind: str, reason: str, message: str, now: float
) -> Condition:
    state: ConditionStatus = "True" if _STATUS_OF[kind, reason] == "True" else "False"
    before = next((x for x in old.conditions if x.type == kind), None)
    since = before.last_transition_time if before and before.status == state else stamp(now)
    return Condition(
        type=kind, status=state, reason=reason, message=_cut(message), last_transition_time=since,
        observed_generation=snapshot.cache.metadata.generation,
    )  # fmt: skip


def _pod(pod: Mapping[str, object], server: Server | None, record: Topology | None, now: float) -> PodStatus:
    metadata = pod["metadata"]
    assert isinstance(metadata, Mapping)
    said = server.managed if server is not None and not server.error else None
    role = topology.role(record, metadata["name"])
    followed = said if role != names.ROLE_PRIMARY else None
    words = pod_facts.trouble(pod, now) or (server.error or server.failing if server is not None else "")
    return PodStatus(
        name=metadata["name"],
        role=role,
        ready=pod_facts.is_ready(pod),
        version=server.version if server is not None else "",
        link="" if followed is None else "up" if followed.link == "up" else "down",
        lag_seconds=int(followed.beat_s) if followed is not None and followed.beat_s is not None else None,
        offset=said.at.offset if said is not None else 0,
        used_memory=server.used_memory if server is not None else 0,
        last_save=stamp(server.last_save) if server is not None and server.last_save else "",
        message=_cut(words),
    )


def _memory(snapshot: Snapshot, primary: PodStatus | None) -> str:
    allowed = maxmemory_bytes(snapshot.cache.spec)
    return f"{(primary.used_memory if primary else 0) / _MIB:.0f}Mi/{allowed / _MIB:.0f}Mi"


def _binding(snapshot: Snapshot) -> BindingStatus | None:
    name = names.secret_binding(snapshot.cache.metadata.name)
    return BindingStatus(name=name) if snapshot.get("Secret", name) is not None else None


def endpoint(snapshot: Snapshot, service: str) -> str:
    """host:port of a Service: its own word (annotation), its load balancer's, else its DNS name."""
    live = snapshot.get("Service", service)
    if live is None:
        return ""
    if own := live["metadata"].get("annotations", {}).get(names.ANNOTATION_ENDPOINT):
        return str(own)
    for entry in live.get("status", {}).get("loadBalancer", {}).get("ingress", ()):
        if host := entry.get("hostname") or entry.get("ip"):
            return names.address(host, names.PORT)
    host = f"{service}.{snapshot.cache.metadata.namespace}.svc.{snapshot.site.cluster_domain}"
    return names.address(host, names.PORT)


def _calm(old: CacheStatus, new: CacheStatus, now: float, allowed: int) -> CacheStatus:
    """`new` with the samples of `old`, unless there is a reason to show newer ones."""
    if without_samples(old) != without_samples(new) or not old.sampled_at:
        return new
    due = now - seconds(old.sampled_at) >= SAMPLE_S
    moved = any(_moved(a, b, allowed) for a, b in zip(old.pods, new.pods, strict=True))
    return new if due and moved else old


def _moved(old: PodStatus, new: PodStatus, allowed: int) -> bool:
    if old.last_save != new.last_save or abs((old.lag_seconds or 0) - (new.lag_seconds or 0)) > times.BEAT_MISSED_S:
        return True
    return abs(old.used_memory - new.used_memory) > SAMPLE_SHARE * max(1, allowed)


def without_samples(status: CacheStatus) -> CacheStatus:
    return status.model_copy(update={"pods": tuple(map(_news, status.pods)), "memory": "", "sampled_at": ""})


def _news(pod: PodStatus) -> PodStatus:
    late = pod.lag_seconds is not None and pod.lag_seconds >= times.BEAT_MISSED_S
    lag = int(times.BEAT_MISSED_S) if late else 0
    return pod.model_copy(update={"used_memory": 0, "last_save": "", "offset": 0, "lag_seconds": lag})

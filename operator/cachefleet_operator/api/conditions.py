"""Condition types and their reasons, and phases: one row each, and docs/conditions.md is generated from these tables.

A condition is True, False or Unknown with one of its reasons; the message says it for people. `Ready` is what
`kubectl wait --for=condition=Ready` waits for. The phase is one word for the most pressing of them, for `kubectl get`;
programs read conditions.
"""

from __future__ import annotations

from typing import NamedTuple

TYPES = READY, PROGRESSING, DEGRADED, CONFIG_APPLIED = "Ready", "Progressing", "Degraded", "ConfigApplied"
# Those of a Cache with more than one pod.
FLEET_TYPES = PRIMARY_HEALTHY, REPLICATION_HEALTHY = "PrimaryHealthy", "ReplicationHealthy"
RECONCILE_FAILED = "ReconcileFailed"  # that it stands decides what is said next (execution/cycle.py)


class Reason(NamedTuple):
    condition: str
    name: str
    status: str  # "True" or "False"
    meaning: str


REASONS: tuple[Reason, ...] = (
    Reason(READY, "Serving", "True", "The primary answers and takes writes."),
    Reason(READY, "ReadOnly", "False", "The primary answers reads and refuses writes, as its disk or a save fails."),
    Reason(READY, "PasswordLost", "False", "The primary has another password than the Secrets say."),
    Reason(READY, "NotServing", "False", "No primary takes writes; the message says what it waits for."),
    Reason(READY, "Loading", "False", "The primary is reading its data from disk."),
    Reason(READY, "SpecRefused", "False", "The spec asks for what cannot be or is not built; nothing was changed."),
    Reason(PROGRESSING, "UpToDate", "False", "Everything is as the spec says."),
    Reason(PROGRESSING, "Creating", "True", "Objects are being made for the first time."),
    Reason(PROGRESSING, "Updating", "True", "Objects are being changed."),
    Reason(PROGRESSING, "Restarting", "True", "Pods are being replaced; the message says who is next, or not back."),
    Reason(PROGRESSING, "ResizingStorage", "True", "A volume is growing."),
    Reason(PROGRESSING, "Waiting", "True", "Something else must happen first; the message names it."),
    Reason(PROGRESSING, "Paused", "False", "spec.paused is true: what is lost is made again, nothing else is changed."),
    Reason(PROGRESSING, "Deleting", "True", "The Cache is being deleted; its objects follow by their owner."),
    Reason(DEGRADED, "AsExpected", "False", "Nothing is wrong."),
    Reason(DEGRADED, "PodFailing", "True", "A pod crashes, is killed, or cannot be made, scheduled or run."),
    Reason(DEGRADED, "VolumeDeleted", "True", "A volume is being deleted and lives as long as its pod does."),
    Reason(DEGRADED, "ServerFailing", "True", "A server says that it cannot write to its disk or save."),
    Reason(DEGRADED, "Unreachable", "True", "A server has started and does not answer the operator."),
    Reason(DEGRADED, "PasswordLost", "True", "A server takes none of the passwords that the Secrets hold or held."),
    Reason(DEGRADED, "StorageRefused", "True", "A volume is not as the spec says, and does not become so."),
    Reason(DEGRADED, "SecretMissing", "True", "The Secret or key that auth.secretRef names does not exist."),
    Reason(DEGRADED, "SpecRefused", "True", "The spec asks for what cannot be or is not built."),
    Reason(
        DEGRADED, "ApplyFailed", "True", "An object cannot be had: the API server refused it or did not keep what was "
        "written, or one of its name is somebody else's. The message says which, in the words of who refused it.",
    ),
    Reason(
        DEGRADED, RECONCILE_FAILED, "True", "The operator cannot do what it should, again and again; the message has "
        "the words of who does not let it.",
    ),
    Reason(PRIMARY_HEALTHY, "Reigning", "True", "The primary of the record takes writes."),
    Reason(PRIMARY_HEALTHY, "Electing", "False", "A primary is being chosen, or has been and is being told."),
    Reason(
        PRIMARY_HEALTHY, "WaitingForLease", "False", "The old primary cannot be reached, and may take writes for some "
        "seconds more.",
    ),
    Reason(
        PRIMARY_HEALTHY, "WaitingForMember", "False", "Too few members answer to elect a primary, or to confirm its "
        "writes; the message says who is missing.",
    ),
    Reason(PRIMARY_HEALTHY, "NoCandidate", "False", "No pod that answers may become the primary."),
    Reason(
        PRIMARY_HEALTHY, "DataConflict", "False", "Pods have data of different origins, and a person must say which "
        "are to live.",
    ),
    Reason(REPLICATION_HEALTHY, "InSync", "True", "As many replicas as are wished have what the primary has."),
    Reason(REPLICATION_HEALTHY, "Degraded", "False", "Fewer replicas than are wished are in sync."),
    Reason(REPLICATION_HEALTHY, "Solo", "False", "The primary is alone: nobody has its changes."),
    Reason(CONFIG_APPLIED, "Applied", "True", "Every server runs with the parameters of the spec."),
    Reason(CONFIG_APPLIED, "Pending", "False", "Parameters are about to be set, or wait for a server to answer."),
    Reason(CONFIG_APPLIED, "RestartRequired", "False", "Some parameters need a restart, which is coming."),
    Reason(
        CONFIG_APPLIED, "Unsupported", "False", "A server is of a version that does not know a parameter of the spec, "
        "which is left out until all of them do; the message says who does not.",
    ),
    Reason(CONFIG_APPLIED, "Refused", "False", "A parameter was refused; the message has the words of who refused it."),
)


class Phase(NamedTuple):
    name: str
    meaning: str


# In the order in which they win.
PHASES: tuple[Phase, ...] = (
    Phase("Deleting", "The Cache is being deleted."),
    Phase("Paused", "spec.paused is true: nothing is changed."),
    Phase("Refused", "The spec asks for what cannot be or is not built; what runs goes on as it was."),
    Phase("Degraded", "Something is wrong; condition Degraded has its reason."),
    Phase("Loading", "The primary is reading its data from disk."),
    Phase("Creating", "Objects are being made for the first time."),
    Phase("Waiting", "No primary takes writes yet, or something else must happen first."),
    Phase("Updating", "Objects or parameters are being changed."),
    Phase("Restarting", "A pod is being replaced."),
    Phase("Resizing", "A volume is growing."),
    Phase("Running", "The primary takes writes, and everything is as the spec says."),
)

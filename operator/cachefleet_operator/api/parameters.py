"""The server's parameters: what they are called, what they take, who decides them, and whether CONFIG SET changes them.

The rows come from server_parameters.json, which is generated from the server's own table (tests/support/fleettest/
server_parameters.py; `make generated`), also which feature that is not built a parameter is for. What the server cannot
know is here: which parameters are another field's or the operator's (OWNERS), which features are refused (UNBUILT),
and which parameters older servers lack (SINCE). The rows speak of the server of this operator's own version; what the
server of a Cache knows, which may be an older one, is api/known.py.

What values a parameter takes is the server's own code, cachefleet_parameters; a row says which kind, with which limits.
`canonical` gives the text that CONFIG GET answers after a value was set, so that wish and fact compare as strings. Some
parameters are set piecewise (client-output-buffer-limit): what a value leaves out is the default here, so the canonical
text, and not the user's, is what must be sent to a server.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from cachefleet_parameters import kinds
from cachefleet_parameters.kinds import Kind

OPERATOR = "the operator"  # owner of what no field of the spec sets

# Names or globs of parameters -> the fields that set them.
OWNERS: dict[str, str] = {
    "maxmemory": "spec.memory.limit and spec.memory.maxmemoryPercent",
    "maxmemory-policy": "spec.memory.evictionPolicy",
    "appendonly": "spec.persistence.mode",
    "save": "spec.persistence.mode and spec.persistence.schedule",
    "appendfsync": "spec.persistence.fsync",
    "requirepass": "spec.auth",
    "replicaof": "spec.instances",
    # Replication and failover.
    "managed": OPERATOR,
    "primaryauth": OPERATOR,
    "primaryuser": OPERATOR,
    "min-replicas-*": OPERATOR,
    "replica-announce*": OPERATOR,
    "replica-priority": OPERATOR,
    "replica-read-only": OPERATOR,
    # Where a pod listens.
    "bind": OPERATOR,
    "bind-source-addr": OPERATOR,
    "port": OPERATOR,
    "protected-mode": OPERATOR,
    "unixsocket*": OPERATOR,
    "metrics-bind": OPERATOR,
    "metrics-port": OPERATOR,
    # Where a pod writes.
    "dir": OPERATOR,
    "dbfilename": OPERATOR,
    "appendfilename": OPERATOR,
    "appenddirname": OPERATOR,
    "aclfile": OPERATOR,
    "pidfile": OPERATOR,
    "logfile": OPERATOR,
    "syslog-*": OPERATOR,
    # How the process lives and ends.
    "daemonize": OPERATOR,
    "supervised": OPERATOR,
    "shutdown-on-*": OPERATOR,
    "hash-seed": OPERATOR,
    # They would open what all of the above closes.
    "enable-protected-configs": OPERATOR,
    "enable-module-command": OPERATOR,
}

# Features that are not built and whose parameters no spec may set. Those of others do no harm: they have no effect yet.
UNBUILT = ("active defragmentation", "cluster mode", "RDMA", "TLS")

# Parameters that came after the first release -> the first version whose servers know them.
SINCE: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    kind: Kind
    default: str  # as CONFIG GET shows it
    live: bool  # CONFIG SET changes it
    owner: str  # the field that sets it, or the operator; empty = spec.config does
    unbuilt: str  # the feature that it belongs to, if that is not built
    alias: str = ""
    needs: str = ""  # the server takes only the default, because this is not built
    secret: bool = False


def find(name: str) -> Parameter | None:
    """The parameter of a name or alias, in any case."""
    return _BY_NAME.get(name.lower())


def resolve(name: str) -> str:
    """The first name of a parameter, given any of its names; an unknown one in lower case."""
    parameter = find(name)
    return parameter.name if parameter is not None else name.lower()


def is_live(name: str) -> bool:
    """Whether CONFIG SET changes it; what is unknown needs a restart."""
    parameter = find(name)
    return parameter is not None and parameter.live


def canonical(name: str, value: str, default: str | None = None) -> str:
    """What CONFIG GET shows after `value` was set on a server with this default; None: with that of our own version.
    ValueError in the server's words."""
    parameter = find(name)
    if parameter is None:
        raise ValueError("unknown parameter")
    kind = parameter.kind
    old = kind.read(kind.split(parameter.default if default is None else default)) if kind.piecewise else None
    shown = kind.show(kind.read(kind.split(value), old))
    if parameter.needs and shown != parameter.default:
        raise ValueError(f"{parameter.needs} is not supported by this version of the server")
    return shown


def _read(row: dict[str, Any]) -> Parameter:
    feature = row.pop("feature", "")
    owner = next((field for glob, field in OWNERS.items() if fnmatchcase(row["name"], glob)), "")
    limits = {name: tuple(limit) if isinstance(limit, list) else limit for name, limit in row.pop("limits").items()}
    unbuilt = feature if feature in UNBUILT or row.get("needs") else ""
    return Parameter(**{**row, "kind": getattr(kinds, row["kind"])(**limits), "owner": owner, "unbuilt": unbuilt})


def _load() -> tuple[Parameter, ...]:
    text = Path(__file__).with_name("server_parameters.json").read_text(encoding="utf-8")
    return tuple(_read(row) for row in json.loads(text))


PARAMETERS: tuple[Parameter, ...] = _load()
_BY_NAME: dict[str, Parameter] = {name: p for p in PARAMETERS for name in (p.name, p.alias) if name}

"""The server's table of parameters as data for the operator, which must not import the server.

`python -m fleettest.server_parameters FILE` (`make generated`) writes api/server_parameters.json; a test regenerates it
and compares. One row a parameter: its names, its kind with the limits of that kind (of cachefleet_parameters, where the
server's own is more), the default as CONFIG GET shows it, and only those flags that are set. `live` means that CONFIG
SET may change it.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from cachefleet_parameters import kinds
from cachefleet_server.config.config import Config
from cachefleet_server.config.params import PARAMS, Param


def limits(row: Param) -> dict[str, Any]:
    """What the row says of its kind, less what every parameter of that kind says."""
    fields = dataclasses.fields(row.kind)
    values = {field.name: getattr(row.kind, field.name) for field in fields}
    return {f.name: values[f.name] for f in fields if values[f.name] != f.default or f.name in ("low", "high")}


def as_row(row: Param, config: Config) -> dict[str, Any]:
    flags = {"alias": row.alias, "needs": row.needs, "feature": row.feature, "secret": row.secret}
    return {
        "name": row.name,
        "kind": next(kind.__name__ for kind in type(row.kind).__mro__ if kind.__module__ == kinds.__name__),
        "limits": limits(row),
        "default": "" if row.name == "dir" else config.shown(row.name),
        "live": not row.immutable and not row.protected,
        **{name: value for name, value in flags.items() if value},
    }


def text() -> str:
    config = Config()
    rows = (json.dumps(as_row(row, config), ensure_ascii=False) for row in PARAMS)
    return "[\n" + ",\n".join(rows) + "\n]\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(text())

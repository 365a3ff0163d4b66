"""The operator of a next version: two parameters more, other defaults, a newer pod template.

    become(monkeypatch.setattr)             in this process, for a test
    python -m fleettest.newer local up ...  `cachefleet` of it
    FAULT_NEWER=1                           fleettest.operator_main of it
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace

from cachefleet_operator.api import parameters
from cachefleet_operator.api.parameters import PARAMETERS, Parameter
from cachefleet_operator.api.v1alpha1 import Cache
from cachefleet_operator.resources import podspec
from cachefleet_parameters.kinds import Integer

VERSION = "99.0.0"
DEFAULTS = {"timeout": "60", "databases": "32", "client-output-buffer-limit": "normal 0 0 0 slave 9 9 9 pubsub 9 9 9"}
ADDED = tuple(
    Parameter(name, Integer(0, 9), "3", live, owner="", unbuilt="")
    for name, live in (("new-live", True), ("new-at-start", False))
)
TABLE = (*(replace(p, default=DEFAULTS.get(p.name, p.default)) for p in PARAMETERS), *ADDED)

_template = podspec.GENERATIONS[1]


def become(put: Callable[[str, object], None]) -> None:
    put("cachefleet_operator.api.parameters.PARAMETERS", TABLE)
    put("cachefleet_operator.api.parameters._BY_NAME", {n: p for p in TABLE for n in (p.name, p.alias) if n})
    put("cachefleet_operator.api.parameters.SINCE", {**parameters.SINCE, **{p.name: VERSION for p in ADDED}})
    put("cachefleet_operator.cli.up.version", lambda package: VERSION)
    generations(put)


def generations(put: Callable[[str, object], None]) -> None:
    """Of the template alone."""
    for module in ("resources.podspec", "resources.statefulset", "planning.template"):
        put(f"cachefleet_operator.{module}.GENERATIONS", {1: _template, 2: _newest})


def put(place: str, value: object) -> None:
    """For a process of its own."""
    module, _, name = place.rpartition(".")
    __import__(module)
    setattr(sys.modules[module], name, value)


def _newest(cache: Cache, image: str) -> podspec.Fields:
    return {**_template(cache, image), "terminationGracePeriodSeconds": 7}


if __name__ == "__main__":
    from cachefleet_operator.cli.main import run

    become(put)
    sys.exit(run())

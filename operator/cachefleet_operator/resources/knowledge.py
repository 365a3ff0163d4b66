"""ConfigMap <name>-parameters: what servers of each image said that they know (planning/knowledge.py), as people and
the operator read it. The image that was first to answer is the first."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cachefleet_operator.api import names
from cachefleet_operator.api.known import Fact, Known
from cachefleet_operator.api.objects import Object
from cachefleet_operator.api.v1alpha1 import Cache
from cachefleet_operator.resources.metadata import metadata

IMAGES = "images.json"


@dataclass(frozen=True, slots=True)
class Image:
    """One that a server has answered of."""

    name: str  # as the pod has it
    digest: str  # its runtime's id of it; empty where there is none
    version: str  # of the server
    known: Known


def known_parameters(cache: Cache, images: Iterable[Image]) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(cache, names.configmap_parameters(cache.metadata.name)),
        "data": {IMAGES: json.dumps([_written(image) for image in images], indent=1, ensure_ascii=False) + "\n"},
    }


def read(obj: Object) -> tuple[Image, ...]:
    """Those of such a ConfigMap. What cannot be read is none: servers can be asked anew."""
    try:
        return tuple(_read(row) for row in json.loads(obj["data"][IMAGES]))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return ()


def _written(image: Image) -> dict[str, Any]:
    facts = sorted(image.known.items())
    return {
        "image": image.name,
        "digest": image.digest,
        "version": image.version,
        # Parameters and their defaults: null is unknown.
        "live": {name: fact.default for name, fact in facts if fact.live},
        "atStart": {name: fact.default for name, fact in facts if not fact.live},
    }


def _read(row: dict[str, Any]) -> Image:
    known = {
        str(name): Fact(live, default if default is None else str(default))
        for live, key in ((True, "live"), (False, "atStart"))
        for name, default in row[key].items()
    }
    return Image(str(row["image"]), str(row["digest"]), str(row["version"]), known)

"""Which image a Cache runs: the one it names, else the default at the version that it began with.

The version is remembered in the status (and, should that be lost, read from the StatefulSet), so that an operator with
a newer default restarts nothing.
"""

from __future__ import annotations

from cachefleet_operator.api import names
from cachefleet_operator.api.images import split
from cachefleet_operator.api.objects import server_container
from cachefleet_operator.planning.snapshot import Snapshot


def default_version(snapshot: Snapshot) -> str:
    """What spec.version means when it is empty."""
    known = snapshot.cache.status.default_version
    return known or _version_that_lives(snapshot) or snapshot.site.default_version


def image(snapshot: Snapshot) -> str:
    spec = snapshot.cache.spec
    return spec.image or f"{snapshot.site.default_image}:{spec.version or default_version(snapshot)}"


def _version_that_lives(snapshot: Snapshot) -> str:
    live = snapshot.get("StatefulSet", names.statefulset(snapshot.cache.metadata.name))
    if live is None:
        return ""
    found = split(server_container(live["spec"]["template"]).get("image", ""))
    return found.tag if found.name == split(snapshot.site.default_image).name else ""

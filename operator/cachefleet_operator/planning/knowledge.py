"""Knowledge: what the servers of a Cache know, by image; so that a server is given nothing that it does not know, and a
newer operator changes nothing by what it believes.

A server that answers is asked for its parameters with everything else. What it says is kept in the ConfigMap
<name>-parameters under the digest of its image (without one, under the image's name and the server's version), once
and for good: a restarted operator, and a newer one, read it there. api/known.py has what is believed before, and what
is kept.

    pods    what a running server knows, by its image: what it may be told
    file    what the wanted image and each running one know: what may be in the file. A pod of either may start next

What is learned changes no template that is true: the template names the parameters that only a start changes, unless
they are set to the default, and whether they are may have been a guess.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from cachefleet_operator.api import names
from cachefleet_operator.api.images import is_elsewhere, split
from cachefleet_operator.api.known import Known, common, expected, kept, learned
from cachefleet_operator.api.objects import Key, Object, key_of, server_container
from cachefleet_operator.api.parameters import resolve
from cachefleet_operator.api.v1alpha1 import Cache, Refusal
from cachefleet_operator.planning import pods as pod_facts
from cachefleet_operator.planning.actions import Apply
from cachefleet_operator.planning.image import image
from cachefleet_operator.planning.refusals import WHOLE
from cachefleet_operator.planning.snapshot import Server, Snapshot
from cachefleet_operator.planning.step import NOTHING, Step
from cachefleet_operator.resources.configmap import annotated, parameters
from cachefleet_operator.resources.diff import drift, stamp
from cachefleet_operator.resources.knowledge import Image, known_parameters, read
from cachefleet_operator.resources.metadata import labelled

IMAGES_MAX = 4  # that are remembered: what runs, what is wanted, and what one may go back to


@dataclass(frozen=True, slots=True)
class Knowledge:
    file: Known
    pods: Mapping[str, Known]
    images: tuple[Image, ...]

    def of(self, pod: str) -> Known:
        return self.pods.get(pod, self.file)


def key(cache: Cache) -> Key:
    return Key("ConfigMap", names.configmap_parameters(cache.metadata.name))


def knowledge(snapshot: Snapshot) -> Knowledge:
    """Of the snapshot's Cache, with the image that its spec wants."""
    images = read(snapshot.objects.get(key(snapshot.cache), {}))
    for pod in snapshot.pods():
        server = snapshot.servers.get(pod["metadata"]["name"])
        if server is not None and not server.error and server.parameters:
            images = _with(images, pod, server, snapshot.site.version)
    found = {pod["metadata"]["name"]: _of_pod(snapshot, images, pod) for pod in snapshot.pods()}
    wanted = _of_image(snapshot, images, image(snapshot))
    return Knowledge(_as_said(snapshot, common(wanted, found.values())), found, images)


def step(snapshot: Snapshot, has: Knowledge, refusals: Iterable[Refusal]) -> Step:
    """Keeps what was said."""
    wanted, live = record(snapshot, has), snapshot.objects.get(key(snapshot.cache))
    refused = any(r.subject in WHOLE and r.target == str(key_of(wanted)) for r in refusals)
    if refused or not has.images or (live is not None and not drift(wanted, live)):
        return NOTHING
    words = f"noted in {key_of(wanted)} which parameters the servers know"
    return Step((Apply(words, wanted, create=live is None),))


def record(snapshot: Snapshot, has: Knowledge) -> Object:
    return stamp(labelled(known_parameters(snapshot.cache, has.images), snapshot.cache, snapshot.site))


def unknown(snapshot: Snapshot, cache: Cache, has: Knowledge) -> tuple[str, ...]:
    """Parameters of the spec that are not written, and who does not know them."""
    lacking = [name for name in cache.spec.config if resolve(name) not in has.file]
    return tuple(f"{name}: {_who(snapshot, resolve(name), has)}" for name in lacking)


def _who(snapshot: Snapshot, name: str, has: Knowledge) -> str:
    for pod, server in sorted(snapshot.servers.items()):
        if not server.error and name not in has.of(pod):
            return f"the server in {pod}, version {server.version}, does not know it"
    return f"no server of {image(snapshot)} has said that it knows it"


def _as_said(snapshot: Snapshot, known: Known) -> Known:
    """`known` with the defaults that the live template was made by: what it names is none, and what it does not name is
    one, if nobody knows better and the servers run with it."""
    if (said := _annotation(snapshot)) is None:
        return known
    answers = [server.parameters for server in snapshot.servers.values() if not server.error]
    found = dict(known)
    fixed = {name: value for name, value in parameters(snapshot.cache, known).items() if not known[name].live}
    for name, value in fixed.items():
        fact = known[name]
        if said.get(name) == annotated(value):
            found[name] = fact._replace(default=None)
        elif name not in said and fact.default is None and all(shows.get(name, value) == value for shows in answers):
            found[name] = fact._replace(default=value)
    return found


def _annotation(snapshot: Snapshot) -> Mapping[str, Any] | None:
    """What the template says of parameters; None where there is neither it nor a pod of it."""
    live = snapshot.get("StatefulSet", names.statefulset(snapshot.cache.metadata.name))
    made = [live["spec"]["template"]] if live is not None else snapshot.pods()
    for obj in made:
        try:
            found = json.loads(obj["metadata"].get("annotations", {}).get(names.ANNOTATION_RESTART, ""))
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            return found
    return None


def _with(images: tuple[Image, ...], pod: Object, server: Server, ours: str) -> tuple[Image, ...]:
    """`images`, and what the server in `pod` says just now."""
    fresh = learned(server.parameters, server.version, ours)
    new = Image(_name(pod), pod_facts.image_digest(pod), server.version, fresh)
    for old in images:
        if _is_same(old, new):
            known = kept(old.known, fresh, server.parameters)
            return tuple(replace(i, known=known) if i is old else i for i in images)
    return (*images, new)[-IMAGES_MAX:]


def _of_pod(snapshot: Snapshot, images: tuple[Image, ...], pod: Object) -> Known:
    digest, name = pod_facts.image_digest(pod), _name(pod)
    server = snapshot.servers.get(pod["metadata"]["name"])
    version = server.version if server is not None else ""
    same = [i for i in images if (i.digest == digest if digest else i.name == name and version in ("", i.version))]
    return same[-1].known if same else _of_image(snapshot, images, name)


def _of_image(snapshot: Snapshot, images: tuple[Image, ...], name: str) -> Known:
    """The last that answered under that name."""
    same = [i for i in images if i.name == name or is_elsewhere(name, i.name)]
    return same[-1].known if same else expected(split(name).tag, snapshot.site.version)


def _is_same(one: Image, other: Image) -> bool:
    if one.digest or other.digest:
        return one.digest == other.digest
    return (one.name, one.version) == (other.name, other.version)


def _name(pod: Object) -> str:
    return str(server_container(pod).get("image", ""))

"""What differs between an object as we want it and as it lives. Pure readers.

`stamp` marks a wanted object with a hash of itself. A live object with another hash was written by another wish of
ours; `drift` finds what somebody else changed since. It looks at the fields that we want and at no others: what the API
server filled in and what other managers own is theirs.

    scalars      equal; quantities by value ("1Gi" is "1024Mi", 0.5 is "500m"), images wherever they come from
    maps         key by key; those in ATOMIC have no other keys
    lists        those in listkeys.py are sets: elements are matched by their keys, foreign ones passed over; any
                 other is one value, of the same length and order
    empty        null, "", 0, false and empty maps and lists are as good as absent, for the API server stores them so;
                 but for the fields in KEPT, where absence means something else

A foreign key in a selector would keep our pods out, and server-side apply takes one away: it is one value there. So is
a nodeSelector, but policies of a cluster add to that, and would do so again.
A NetworkPolicy's spec is compared exactly: there a foreign field (an endPort) opens what we closed, and nothing is
filled in that we leave out.

A pod is compared with the template that it should have come from (`outdated`, `why`); admission adds to a pod, so only
what the template says counts there, too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from cachefleet_operator.api import names
from cachefleet_operator.api.images import is_elsewhere
from cachefleet_operator.api.objects import Object, server_container
from cachefleet_operator.api.quantity import as_stored
from cachefleet_operator.resources.listkeys import identity, keys_of

Path = tuple[str, ...]  # names of fields; "[x]" is an element of a list

SHOWN_CHARACTERS_MAX = 80  # of a value in a sentence
LINES_MAX = 4  # of a text in a sentence
REASONS_MAX = 3  # that `why` gives
ANNOTATION_RESTARTED = "kubectl.kubernetes.io/restartedAt"  # set by `kubectl rollout restart`

KEPT = frozenset((
    "allowPrivilegeEscalation", "automountServiceAccountToken", "emptyDir", "enableServiceLinks", "namespaceSelector",
    "podSelector", "replicas", "runAsUser",
))  # fmt: skip
QUANTITY_MAPS = frozenset(("requests", "limits", "overhead"))
QUANTITIES = frozenset(("sizeLimit", "divisor"))
ATOMIC = frozenset(("selector",))
# The API server overwrites it with a copy of serviceAccountName.
DERIVED = frozenset(("serviceAccount",))


class _Absent:
    """A field that is not there; null may be."""


_ABSENT = _Absent()


class Difference(NamedTuple):
    path: Path
    want: Any
    have: Any

    def __str__(self) -> str:
        where = ".".join(self.path).replace(".[", "[")
        if isinstance(self.want, str) and isinstance(self.have, str) and "\n" in self.want:
            return f"{where}: {_lines_apart(self.want, self.have)}"
        have = "is missing" if self.have is _ABSENT else f"is {_show(self.have)}"
        return f"{where} {have}, want {'nothing' if self.want is _ABSENT else _show(self.want)}"


# -- objects


def stamp(obj: Object) -> Object:
    """The object with the annotation `applied`: a hash of all the rest."""
    text = json.dumps(obj, sort_keys=True, separators=(",", ":"))
    applied = hashlib.sha256(text.encode()).hexdigest()[:16]
    meta = obj["metadata"]
    annotations = {**meta.get("annotations", {}), names.ANNOTATION_APPLIED: applied}
    return {**obj, "metadata": {**meta, "annotations": annotations}}


def drift(wanted: Object, live: Object) -> tuple[str, ...]:
    """Where the live object lacks what we want, each as a sentence: "spec.replicas is 3, want 1"."""
    found: list[Difference] = []
    for name, want in wanted.items():
        if name in ("apiVersion", "kind"):
            continue  # That is how it was found.
        have = live.get(name, _ABSENT)
        exact = name == "spec" and wanted.get("kind") == "NetworkPolicy"
        found += _exact_differences(want, have, (name,)) if exact else _differences(want, have, (name,))
    return tuple(map(str, found))


def _exact_differences(want: Any, have: Any, path: Path) -> list[Difference]:
    want, have = _pruned(want), _pruned(have)
    lacking = list(_differences(want, have, path))
    foreign = [Difference(d.path, d.have, d.want) for d in _differences(have, want, path) if d.have is _ABSENT]
    return lacking + foreign


def _differences(want: Any, have: Any, path: Path) -> Iterator[Difference]:
    if _is_nothing(path[-1], want):
        # A map or a list may have been filled by others, a scalar may not have become true.
        if want is not None and have is not _ABSENT and have and not isinstance(have, Mapping | list):
            yield Difference(path, want, have)
    elif have is _ABSENT or have is None:
        yield Difference(path, want, _ABSENT)
    elif isinstance(want, Mapping) and isinstance(have, Mapping):
        for name in want:
            if name not in DERIVED:
                yield from _differences(want[name], have.get(name, _ABSENT), (*path, name))
        if path[-1] in ATOMIC:
            yield from _foreign(want, have, path)
    elif isinstance(want, list) and isinstance(have, list):
        yield from _list_differences(want, have, path)
    elif not _equal(path, want, have):
        yield Difference(path, want, have)


def _foreign(want: Mapping[str, Any], have: Mapping[str, Any], path: Path) -> Iterator[Difference]:
    """What a map has beyond what we want."""
    for name, value in have.items():
        ours = want.get(name, _ABSENT)
        if isinstance(ours, Mapping) and isinstance(value, Mapping):
            yield from _foreign(ours, value, (*path, name))
        elif ours is _ABSENT and not _is_nothing(name, value):
            yield Difference((*path, name), _ABSENT, value)


def _list_differences(want: list[Any], have: list[Any], path: Path) -> Iterator[Difference]:
    keys = keys_of(path[-1], want)
    if keys:
        theirs = {identity(keys, element): element for element in reversed(have) if isinstance(element, Mapping)}
        for element in want:
            place = (*path, f"[{element[keys[0]]}]")
            yield from _differences(element, theirs.get(identity(keys, element), _ABSENT), place)
    elif len(want) != len(have):
        yield Difference(path, want, have)
    else:
        for index, (ours, other) in enumerate(zip(want, have, strict=True)):
            yield from _differences(ours, other, (*path, f"[{index}]"))


def _is_nothing(field: str, value: Any) -> bool:
    """As good as absent."""
    return value is None or (field not in KEPT and value in ("", 0, False, {}, []))


def _pruned(value: Any) -> Any:
    """Without the fields that are as good as absent."""
    if isinstance(value, Mapping):
        inner = {name: _pruned(part) for name, part in value.items()}
        return {name: part for name, part in inner.items() if not _is_nothing(name, part)}
    return [_pruned(part) for part in value] if isinstance(value, list) else value


def _equal(path: Path, want: Any, have: Any) -> bool:
    if path[-1] in QUANTITIES or (len(path) > 1 and path[-2] in QUANTITY_MAPS):
        return _amounts_equal(want, have)
    if path[-1] == "image" and isinstance(want, str) and isinstance(have, str):
        return is_elsewhere(want, have)
    return type(want) is type(have) and bool(want == have)


def _amounts_equal(one: Any, other: Any) -> bool:
    try:
        return as_stored(str(one)) == as_stored(str(other))
    except ValueError:
        return bool(one == other)


def _lines_apart(want: str, have: str) -> str:
    """What differs between two texts: a file's beginning would say nothing. A parameter, the first word of one line,
    changes; other lines come and go."""
    ours, theirs = want.splitlines(), have.splitlines()
    new, old = [x for x in ours if x not in theirs], [x for x in theirs if x not in ours]
    after, before = _parameters_in(new), _parameters_in(old)
    said = [f"{name} changes from {before[name]} to {after[name]}" for name in after if name in before]
    changed = before.keys() & after.keys()
    said += [f"gets {line}" for line in new if _parameter(line)[0] not in changed]
    said += [f"loses {line}" for line in old if _parameter(line)[0] not in changed]
    more = [f"and {len(said) - LINES_MAX} more"] if len(said) > LINES_MAX else []
    return "; ".join([*map(_show, said[:LINES_MAX]), *more]) or "its lines are in another order"


def _parameter(line: str) -> tuple[str, str]:
    name, _, value = line.partition(" ")
    return name, value or '""'


def _parameters_in(lines: list[str]) -> dict[str, str]:
    """Name -> value of those that are there once."""
    found = [_parameter(line) for line in lines]
    every = [name for name, _ in found]
    return {name: value for name, value in found if every.count(name) == 1}


def _show(value: Any) -> str:
    text = value if isinstance(value, str) and value else json.dumps(value, sort_keys=True)
    return text if len(text) <= SHOWN_CHARACTERS_MAX else f"{text[: SHOWN_CHARACTERS_MAX - 3]}..."


# -- pods


def is_behind(statefulset: Object) -> bool:
    """Whether its controller has not seen the newest version yet: nobody knows which pods are outdated."""
    status = statefulset.get("status", {})
    seen = status.get("observedGeneration")
    return not status.get("updateRevision") or seen != statefulset["metadata"].get("generation")


def outdated(statefulset: Object, pod: Object) -> bool:
    """Whether the pod is of another revision than the StatefulSet's newest; False while that is not known."""
    if is_behind(statefulset):
        return False
    revision = pod["metadata"].get("labels", {}).get("controller-revision-hash")
    return bool(revision != statefulset["status"]["updateRevision"])


def why(template: Object, pod: Object) -> str:
    """What makes the pod outdated, for people."""
    ours, other = server_container(template), server_container(pod)
    reasons = [*_image_changes(ours, other), *_resource_changes(ours, other), *_annotation_changes(template, pod)]
    if not reasons:
        wanted = {"spec": template.get("spec", {}), "metadata": template.get("metadata", {})}
        reasons = list(drift(wanted, _without_admission(pod, wanted["spec"])))
        reasons = [f"the pod template changed: {reason}" for reason in reasons[:1]] or ["the pod template changed"]
    more = f" and {len(reasons) - REASONS_MAX} more" if len(reasons) > REASONS_MAX else ""
    return "; ".join(reasons[:REASONS_MAX]) + more


def _image_changes(want: Mapping[str, Any], have: Mapping[str, Any]) -> Iterator[str]:
    if not is_elsewhere(want.get("image", ""), have.get("image", "")):
        yield f"image changed from {have.get('image')} to {want.get('image')}"


def _resource_changes(want: Mapping[str, Any], have: Mapping[str, Any]) -> Iterator[str]:
    for kind, word in (("limits", "limit"), ("requests", "request")):
        ours, theirs = (dict(c.get("resources", {}).get(kind, {})) for c in (want, have))
        for name, amount in sorted(ours.items()):
            if not _amounts_equal(amount, theirs.get(name, "")):
                yield f"{name} {word} changed from {theirs.get(name, 'none')} to {amount}"


def _annotation_changes(template: Object, pod: Object) -> Iterator[str]:
    want, have = (dict(x.get("metadata", {}).get("annotations", {})) for x in (template, pod))
    new, old = (_parameters(x.get(names.ANNOTATION_RESTART, "")) for x in (want, have))
    for name in sorted({*new, *old}):
        if new.get(name) != old.get(name):
            yield f"parameter {name} needs a restart"
    if want.get(ANNOTATION_RESTARTED, "") != have.get(ANNOTATION_RESTARTED, ""):
        yield "a restart was asked for by kubectl rollout restart"


def _parameters(text: str) -> Mapping[str, str]:
    """What the annotation says; nothing, if somebody wrote into it."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _without_admission(pod: Object, wanted: Mapping[str, Any]) -> Object:
    """The pod without the tolerations that admission adds to each."""
    spec = dict(pod.get("spec", {}))
    if "tolerations" in wanted:
        ours = {json.dumps(toleration, sort_keys=True) for toleration in wanted["tolerations"]}
        spec["tolerations"] = [t for t in spec.get("tolerations", ()) if json.dumps(t, sort_keys=True) in ours]
    return {**pod, "spec": spec}

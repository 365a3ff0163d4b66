"""What an API promises: everything that was valid under a CRD is valid, and means the same, under a later one.

`breaks(before, after)` compares two CRD specs and says, as "place: what", what a later one takes away or newly demands.
What it adds is not looked at. Rules in CEL are compared as text: a new one, or one that was put in other words, is a
break unless it compares with what was before (`oldSelf`), for such a one judges changes and not what is stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

Schema = Mapping[str, Any]

LOWER_BOUNDS: Final = ("minimum", "minLength", "minItems", "minProperties")
UPPER_BOUNDS: Final = ("maximum", "maxLength", "maxItems", "maxProperties")
SAME: Final = ("pattern", "format", "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type")
LISTS: Final = ("x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type")
EITHER: Final = "x-kubernetes-int-or-string"
UNKNOWN: Final = "x-kubernetes-preserve-unknown-fields"
RULES: Final = "x-kubernetes-validations"


def breaks(before: Schema, after: Schema) -> list[str]:
    """Of two CRD specs."""
    found = [f"{name}: changed" for name in ("group", "scope") if before[name] != after[name]]
    names, later = before["names"], after["names"]
    found += [f"names.{name}: changed" for name in ("kind", "plural", "singular") if names[name] != later[name]]
    found += [f"names.shortNames: without {name}" for name in set(names["shortNames"]) - set(later["shortNames"])]
    versions = {version["name"]: version for version in after["versions"]}
    for version in before["versions"]:
        name = version["name"]
        other = versions.get(name)
        if other is None or not other["served"]:
            found.append(f"{name}: not served")
            continue
        if version["subresources"] != {k: v for k, v in other["subresources"].items() if k in version["subresources"]}:
            found.append(f"{name}: subresources changed")
        schemas = (each["schema"]["openAPIV3Schema"] for each in (version, other))
        found += _node(name, *schemas)
    return found


def _node(place: str, before: Schema, after: Schema) -> Iterator[str]:
    yield from _type(place, before, after)
    yield from _bounds(place, before, after)
    yield from _rules(place, before, after)
    fields, later = before.get("properties", {}), after.get("properties", {})
    for name in sorted(set(after.get("required", ())) - set(before.get("required", ()))):
        # One with a default is filled in before it is missed.
        if "default" not in later.get(name, {}):
            yield f"{place}.{name}: newly required"
    for name, field in fields.items():
        if name in later:
            yield from _node(f"{place}.{name}", field, later[name])
        else:
            yield f"{place}.{name}: removed"
    for key, step in (("items", "[]"), ("additionalProperties", ".*")):
        if key in before:
            if key in after:
                yield from _node(place + step, before[key], after[key])
            else:
                yield f"{place}{step}: removed"


def _type(place: str, before: Schema, after: Schema) -> Iterator[str]:
    wider = after.get(EITHER) and before.get("type") in ("integer", "string")
    if (before.get("type"), before.get(EITHER)) != (after.get("type"), after.get(EITHER)) and not wider:
        yield f"{place}: another type"
    if before.get(UNKNOWN) and not after.get(UNKNOWN):
        yield f"{place}: unknown fields are dropped"
    # Defaults of objects are made of their fields' own.
    if "default" in before and not isinstance(before["default"], dict) and before["default"] != after.get("default"):
        yield f"{place}: another default than {before['default']!r}"
    if before and "default" in after and "default" not in before and not isinstance(after["default"], dict):
        yield f"{place}: a default where there was none"
    if before.get("nullable") and not after.get("nullable"):
        yield f"{place}: not null any more"


def _bounds(place: str, before: Schema, after: Schema) -> Iterator[str]:
    if "enum" in after:
        if "enum" not in before:
            yield f"{place}: only {after['enum']}"
        gone = [value for value in before.get("enum", ()) if value not in after["enum"]]
        yield from (f"{place}: not {value!r} any more" for value in gone)
    for keys, sign in ((LOWER_BOUNDS, 1), (UPPER_BOUNDS, -1)):
        for key in keys:
            if key in after and (key not in before or sign * after[key] > sign * before[key]):
                yield f"{place}: {key} is {after[key]}"
    yield from (f"{place}: {key} changed" for key in SAME if key in after and after[key] != before.get(key))
    yield from (f"{place}: {key} changed" for key in LISTS if key in before and key not in after)


def _rules(place: str, before: Schema, after: Schema) -> Iterator[str]:
    known = {rule["rule"] for rule in before.get(RULES, ())}
    for rule in after.get(RULES, ()):
        if rule["rule"] not in known and "oldSelf" not in rule["rule"]:
            yield f"{place}: newly demands {rule['rule']}"

"""The part of a PodSpec that a local process can have, with the types that the API server would insist on.

`read(spec)` gives it, or says in ConfigError which fields are wrong: a spec is free-form until here, and there is no
API server. What is not named below is nobody's concern on one machine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field, StrictBool, StrictInt, ValidationError

from cachefleet_operator.api import names
from cachefleet_operator.api.parse import Malformed, sentence
from cachefleet_operator.api.v1alpha1 import Model
from cachefleet_operator.execution.errors import ExecutionError

GRACE_S = 30  # Kubernetes' default
SECONDS_MAX = 2**31 - 1


class ConfigError(ExecutionError):
    """The container cannot be made: something in its pod cannot be read, is missing, or does not exist here."""


def _text(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain NUL")
    if text != text.encode(errors="replace").decode():
        raise ValueError("must be Unicode")
    return text


def _name(text: str) -> str:
    if not _text(text):
        raise ValueError("must not be empty")
    return text


def _label(text: str) -> str:
    if not names.is_label(text):
        raise ValueError(names.LABEL_WORDS)
    return text


def _variable(text: str) -> str:
    if not re.fullmatch("[ -<>-~]+", text):
        raise ValueError("must be printable ASCII without =")
    return text


def _inner_path(text: str) -> str:
    path = PurePosixPath(_name(text))
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ValueError("must be a relative path without ..")
    return text


Text = Annotated[str, AfterValidator(_text)]
Name = Annotated[str, AfterValidator(_name)]
Label = Annotated[str, AfterValidator(_label)]


class _Part(Model):
    model_config = ConfigDict(populate_by_name=False)  # Kubernetes' names alone


class KeyToPath(_Part):
    key: Name
    path: Annotated[str, AfterValidator(_inner_path)]


class _Source(_Part):
    items: tuple[KeyToPath, ...] = ()  # empty: all
    optional: StrictBool = False


class NamedSource(_Source):
    """Of a ConfigMap, and of a Secret in a projected volume."""

    name: Name


class SecretSource(_Source):
    """A Secret that is a volume of its own has another field for its name."""

    name: Name = Field(alias="secretName")


class Projection(_Part):
    config_map: NamedSource | None = None
    secret: NamedSource | None = None


class Projected(_Part):
    sources: tuple[Projection, ...] = ()


class Volume(_Part):
    name: Label
    config_map: NamedSource | None = None
    secret: SecretSource | None = None
    projected: Projected | None = None


class KeyRef(_Part):
    name: Name
    key: Name
    optional: StrictBool = False


class FieldRef(_Part):
    field_path: Name


class ValueFrom(_Part):
    model_config = ConfigDict(extra="allow")  # what has no meaning here is refused by its name
    field_ref: FieldRef | None = None
    secret_key_ref: KeyRef | None = None
    config_map_key_ref: KeyRef | None = None


class Variable(_Part):
    name: Annotated[str, AfterValidator(_variable)]
    value: Text = ""
    value_from: ValueFrom | None = None


class Container(_Part):
    name: Label
    image: Text = ""
    command: tuple[Text, ...] = ()
    args: tuple[Text, ...] = ()
    env: tuple[Variable, ...] = ()


class PodSpec(_Part):
    containers: tuple[Container, ...]
    init_containers: tuple[Container, ...] = ()
    volumes: tuple[Volume, ...] = ()
    termination_grace_period_seconds: Annotated[StrictInt, Field(ge=0, le=SECONDS_MAX)] = GRACE_S

    @property
    def server(self) -> Container:
        return next(c for c in self.containers if c.name == names.CONTAINER)


def read(spec: Any) -> PodSpec:
    """Raises ConfigError."""
    if not isinstance(spec, Mapping):
        raise ConfigError("spec: must be an object")
    try:
        found = PodSpec.model_validate(spec)
    except ValidationError as error:
        wrong = [f"spec.{sentence(detail)}" for detail in error.errors(include_url=False)]
        raise ConfigError(str(Malformed(wrong))) from None
    if not any(container.name == names.CONTAINER for container in found.containers):
        raise ConfigError(f"spec.containers: there is no container {names.CONTAINER}")
    return found

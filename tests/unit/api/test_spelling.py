"""Guesses at what a misspelt name was to be."""

from __future__ import annotations

import pytest

from cachefleet_operator.api.parameters import PARAMETERS
from cachefleet_operator.api.spelling import did_you_mean

FIELDS = ("memory", "maxmemoryPercent", "podTemplate", "networkPolicy")


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("timeot", "timeout"),
        ("max-clients", "maxclients"),
        ("slowlog-log-slower", "slowlog-log-slower-than"),
        ("banana", ""),
        ("", ""),
        ("x" * 100_000, ""),
    ],
)
def test_parameters(given: str, meant: str) -> None:
    assert did_you_mean(given, (p.name for p in PARAMETERS)) == (f" (did you mean {meant}?)" if meant else "")


@pytest.mark.parametrize("given", ["pod_template", "PodTemplate", "podTemplates"])
def test_fields(given: str) -> None:
    assert did_you_mean(given, FIELDS) == " (did you mean podTemplate?)"

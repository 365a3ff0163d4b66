"""The ConfigMap of what servers know: as people read it, and as the operator reads it back."""

from __future__ import annotations

from typing import Any

import pytest

from cachefleet_operator.api.known import Fact
from cachefleet_operator.resources.knowledge import IMAGES, Image, known_parameters, read
from fleettest.snapshots import cache

IMAGE = Image("a/é:1", "sha256:x", "1.0.0", {
    "timeout": Fact(True, "0"), "databases": Fact(False, "16"), "hz": Fact(True, None), "pidfile": Fact(False, ""),
})  # fmt: skip
TEXT = """[
 {
  "image": "a/é:1",
  "digest": "sha256:x",
  "version": "1.0.0",
  "live": {
   "hz": null,
   "timeout": "0"
  },
  "atStart": {
   "databases": "16",
   "pidfile": ""
  }
 }
]
"""


def test_what_is_known_has_a_line_a_parameter() -> None:
    made = known_parameters(cache(), [IMAGE])
    assert made["metadata"]["name"] == "orders-parameters"
    assert made["data"] == {IMAGES: TEXT}


def test_what_was_written_reads_back() -> None:
    other = Image("b:2", "", "2.0.0", {})
    assert read(known_parameters(cache(), [IMAGE, other])) == (IMAGE, other)
    assert read(known_parameters(cache(), [])) == ()


@pytest.mark.parametrize("data", [
    {}, {IMAGES: ""}, {IMAGES: "["}, {IMAGES: "7"}, {IMAGES: "[7]"}, {IMAGES: "[{}]"}, {IMAGES: "[" * 100_000},
    {IMAGES: TEXT.replace('{\n   "hz"', '[{\n   "hz"').replace('"0"\n  }', '"0"\n  }]')}, {IMAGES: None},
], ids=lambda data: str(data)[:40])  # fmt: skip
def test_what_cannot_be_read_is_nothing(data: dict[str, Any]) -> None:
    assert read({"data": data}) == ()


def test_a_default_that_somebody_wrote_as_a_number_is_a_text() -> None:
    (image,) = read({"data": {IMAGES: TEXT.replace('"16"', "16")}})
    assert image == IMAGE

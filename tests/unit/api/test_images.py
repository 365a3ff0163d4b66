"""Names of images: their parts, and what admission makes of them."""

from __future__ import annotations

import pytest

from cachefleet_operator.api.images import is_elsewhere, split

WANTED = "registry.test:5000/team/server:1.0.0"
DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("image", "parts"),
    [
        ("server", ("server", "", "")),
        ("server:1", ("server", "1", "")),
        ("registry.test:5000/server", ("registry.test:5000/server", "", "")),
        (WANTED, ("registry.test:5000/team/server", "1.0.0", "")),
        (f"{WANTED}@{DIGEST}", ("registry.test:5000/team/server", "1.0.0", DIGEST)),
        (f"team/server@{DIGEST}", ("team/server", "", DIGEST)),
        ("", ("", "", "")),
    ],
)
def test_parts(image: str, parts: tuple[str, str, str]) -> None:
    assert tuple(split(image)) == parts


@pytest.mark.parametrize(
    ("wanted", "live", "same"),
    [
        (WANTED, WANTED, True),
        (WANTED, "mirror.test/registry.test/team/server:1.0.0", True),
        (WANTED, f"{WANTED}@{DIGEST}", True),
        (WANTED, f"mirror.test/server@{DIGEST}", True),
        ("server", "mirror.test/server:latest", True),
        (f"server@{DIGEST}", f"mirror.test/server@{DIGEST}", True),
        (WANTED, "registry.test:5000/team/server:1.0.1", False),
        (WANTED, "registry.test:5000/team/other:1.0.0", False),
        (WANTED, "registry.test:5000/team/server", False),
        (f"server@{DIGEST}", "server:1", False),
        (f"server@{DIGEST}", f"server@{DIGEST[:-1]}1", False),
        (WANTED, "", False),
    ],
)
def test_what_is_only_elsewhere(wanted: str, live: str, same: bool) -> None:
    assert is_elsewhere(wanted, live) is same

"""Names of images: REGISTRY/PATH/NAME:TAG@DIGEST, of which all but NAME may be missing."""

from __future__ import annotations

from typing import NamedTuple


class Image(NamedTuple):
    repository: str
    tag: str
    digest: str

    @property
    def name(self) -> str:
        return self.repository.rpartition("/")[2]


def split(image: str) -> Image:
    place, _, digest = image.partition("@")
    head, colon, tag = place.rpartition(":")
    if not colon or "/" in tag:  # that was the registry's port
        head, tag = place, ""
    return Image(head, tag, digest)


def is_elsewhere(wanted: str, live: str) -> bool:
    """Whether `live` is `wanted` as admission may have rewritten it: from a mirror, pinned to a digest, or both. Were
    the wish written again, it would only be rewritten again."""
    ours, other = split(wanted), split(live)
    same_tag = (other.tag or "latest") == (ours.tag or "latest") or bool(other.digest and not other.tag)
    return ours.name == other.name and same_tag and ours.digest in ("", other.digest)

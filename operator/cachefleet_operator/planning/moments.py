"""Moments as Kubernetes writes them (RFC 3339, UTC, whole seconds) and as numbers. Reads no clock."""

from __future__ import annotations

from datetime import UTC, datetime

LAST = 253402300799  # the end of the year 9999: nothing later can be written


def stamp(moment: float) -> str:
    """2026-01-31T12:00:00Z of unix seconds; a server may say anything of its last save."""
    return datetime.fromtimestamp(min(max(0, int(moment)), LAST), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds(text: str) -> float:
    """Unix seconds of such a text; 0 for one that is none."""
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    except (ValueError, OverflowError):
        return 0.0

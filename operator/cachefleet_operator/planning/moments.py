"""Moments as Kubernetes writes them (RFC 3339, UTC, whole seconds) and as numbers. Reads no clock."""

from __future__ import annotations

from datetime import UTC, datetime


def stamp(moment: float) -> str:
    """2026-01-31T12:00:00Z of unix seconds."""
    return datetime.fromtimestamp(int(moment), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds(text: str) -> float:
    """Unix seconds of such a text; 0 for one that is none."""
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return 0.0

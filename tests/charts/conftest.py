"""Fixtures of helm and promtool."""

from __future__ import annotations

from fleettest.helm import helm, promtool

__all__ = ["helm", "promtool"]

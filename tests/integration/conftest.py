"""The fixture `local` (fleettest.local): here and not for the whole suite, because it imports the command line."""

from __future__ import annotations

from fleettest.local import local

__all__ = ["local"]

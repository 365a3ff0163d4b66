"""Cachefleet server: a Redis-compatible cache with a compiled engine."""

from cachefleet_server.version import __version__

__all__ = ["__version__"]

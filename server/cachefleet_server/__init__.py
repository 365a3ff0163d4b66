"""Cachefleet server: a Redis-compatible cache with a compiled engine."""

__version__ = "0.1.0"

"""Crash reports: what the log says when the process dies of a fatal signal (handler.pyx)."""

from cachefleet_server.crash.handler import install, uninstall

__all__ = ["install", "uninstall"]

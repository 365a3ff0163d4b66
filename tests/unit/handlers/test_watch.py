"""What kopf is told: to look, by label, at every kind; to write nothing, anywhere."""

from __future__ import annotations

import asyncio
from typing import Any

import kopf
import pytest

from cachefleet_operator.execution.kube.client import SELECTOR
from cachefleet_operator.execution.kube.kinds import CACHE, WATCHED
from cachefleet_operator.handlers import watch


def test_only_events_are_handled() -> None:
    registry = watch.registry(WATCHED, lambda kind, obj: None)
    assert len(registry._watching.get_all_handlers()) == len(WATCHED)
    for writes in (registry._changing, registry._spawning, registry._indexing, registry._webhooks):
        handlers: Any = writes
        assert not handlers.get_all_handlers()


def test_nothing_is_posted_scanned_or_waited_for_without_end() -> None:
    settings = watch.settings(WATCHED)
    assert not settings.posting.enabled
    assert settings.peering.standalone
    assert settings.scanning.disabled
    assert settings.process.ultimate_exiting_timeout is None
    assert settings.watching.server_timeout
    assert settings.watching.client_timeout
    assert settings.networking.request_timeout
    assert settings.watching.inactivity_timeout <= 75  # Bookmarks come once a minute.


def test_all_but_caches_are_watched_by_label() -> None:
    selectors = watch.settings(WATCHED).watching.label_selectors
    found = {(s.group, s.version, s.any_name or s.plural): text for s, text in selectors.items()}
    assert found == {(k.group, k.version, k.plural): SELECTOR for k in WATCHED if k != CACHE}


def test_a_pod_whose_user_has_no_name_can_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """kopf would look the user up in /etc/passwd, where 65532 is not."""
    told: dict[str, Any] = {}

    async def spawn_tasks(**given: Any) -> None:
        told.update(given)
        raise InterruptedError

    monkeypatch.setattr(kopf, "spawn_tasks", spawn_tasks)
    with pytest.raises(InterruptedError):
        asyncio.run(watch.watch(WATCHED, ("shop",), lambda kind, obj: None, lambda: None))
    assert told["identity"]
    assert (told["namespaces"], told["clusterwide"]) == (("shop",), False)

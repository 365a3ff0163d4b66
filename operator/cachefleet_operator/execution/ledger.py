"""What is being done, and was done, by the lanes of each Cache: two that decide the same at the same time do it once.

A lane that finds its action being done by another one, or done since it looked, leaves it: it decided by what was so
before. If the other fails, or meant something else, its next look tells.
"""

from __future__ import annotations

from typing import NamedTuple

from cachefleet_operator.api.v1alpha1 import CacheKey
from cachefleet_operator.planning.actions import Action


class _Deed(NamedTuple):
    who: object
    serial: int  # 0 while it is being done


class Ledger:
    def __init__(self) -> None:
        self._deeds: dict[CacheKey, dict[tuple[type[Action], str], _Deed]] = {}
        self._serial = 1

    def now(self) -> int:
        """To be remembered by who looks, before."""
        return self._serial

    def begin(self, who: object, key: CacheKey, action: Action, since: int) -> bool:
        """False: it is being done, or another one has done it since."""
        deeds = self._deeds.setdefault(key, {})
        deed = deeds.get((type(action), action.subject))
        # One's own is under way where its server has been left to itself (cycle.py).
        if deed is not None and (not deed.serial or (deed.who is not who and deed.serial > since)):
            return False
        deeds[type(action), action.subject] = _Deed(who, 0)
        return True

    def is_under_way(self, key: CacheKey, action: Action) -> bool:
        deed = self._deeds.get(key, {}).get((type(action), action.subject))
        return deed is not None and not deed.serial

    def end(self, key: CacheKey, action: Action, *, done: bool) -> None:
        deeds = self._deeds.get(key, {})
        deed = deeds.pop((type(action), action.subject), None)
        if done and deed is not None:
            self._serial += 1
            deeds[type(action), action.subject] = _Deed(deed.who, self._serial)

    def forget(self, key: CacheKey) -> None:
        self._deeds.pop(key, None)

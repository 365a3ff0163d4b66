"""How many examples hypothesis tries: few in each run, since each tree draws its own, and many under `make exhaustive`.

    @examples(150)                                        # instead of settings(max_examples=150)
    TestMachine.settings = examples(30, stateful_step_count=40)

CACHEFLEET_EXAMPLES=10 tries ten times as many, of these and of tests that say nothing.
"""

from __future__ import annotations

import os
from typing import Any, Final

from hypothesis import settings

FACTOR: Final = int(os.environ.get("CACHEFLEET_EXAMPLES") or 1)
DEFAULT: Final = 50


def examples(count: int, **more: Any) -> settings:
    return settings(max_examples=count * FACTOR, **more)

"""The times of the protocol (§8), in seconds. A longer wait here is only slower, never wrong."""

from __future__ import annotations

from typing import Final

LEASE_S: Final = 2.5  # W: a primary writes only while members confirm beats that it sent less than this ago
DRIFT: Final = 0.01  # of two clocks that run beside each other
LEASE_OVER_S: Final = LEASE_S * (1 + DRIFT) / (1 - DRIFT) + 0.1  # D: then no lease of that confirmation is left
BEAT_MISSED_S: Final = 2.0  # O9: a replica that heard nothing for so long agrees that the primary is away
FAILURES_SUSPECT: Final = 3  # questions in a row without an answer
QUIET_S: Final = 0.6  # since the last confirmation of a member that is suspect, too: three beats
JOIN_S: Final = 3.0  # how long a member may take to follow a new primary, or one under a new epoch
RETELL_S: Final = 10.0  # how often who does not reach the primary is told again where it is
OTHERS_S: Final = 10.0  # how long other members are waited for where one alone would do, and could lose more
PAUSE_MS: Final = 800
NAMED_S: Final = 1.0  # how long the one that a person named may take to promise, while nobody takes writes
# Until writes are held again for an heir that did not come level while they were, doubled each time.
PAUSE_AGAIN_S: Final = 5.0
PAUSE_AGAIN_S_MAX: Final = 30.0
LEVEL_BYTES: Final = 1 << 20  # a replica that lacks no more than this is in sync: it has the rest before a beat ends
LOOK_S: Final = 5.0  # how often it is looked where a position, or time alone, may decide something

"""The story of one schedule: python tests/sim/simrun.py SEED [SETTING] [managed]. Faults, commands, records."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "sim"), str(ROOT / "operator"), str(ROOT / "server")]

import simfaults  # noqa: E402
import simfleet  # noqa: E402
import simmanaged  # noqa: E402
import simserver  # noqa: E402

TOLD = ("command", "start", "stop")


def main(seed: int, setting: int, make: type[simserver.Server]) -> int:
    def said(fleet: simfleet.Fleet, *words: object) -> None:
        print(f"{fleet.clock.now:7.2f}", *words)

    def told(name: str, old: Any, server: simserver.Server, *words: Any) -> Any:
        answer = old(server, *words)
        shown = [getattr(word, "id", None) or b" ".join(word[1:]).decode() for word in words]
        said(
            server.fleet, f"    {server.pod} {server.disk.id} {server.run}", name, *shown, "->", answer, server.point()
        )
        return answer

    for name in TOLD:
        method = partial(told, name, getattr(make, name))
        setattr(make, name, lambda self, *words, method=method: method(self, *words))
    store, draw = simfleet.Fleet.store, simfaults.Schedule._draw

    def stored(fleet: simfleet.Fleet, version: str, record: Any, *, seen: bool) -> Any:
        late = "" if version == fleet.cache.metadata.resource_version else "(too late) "
        disks = [member.disk for member in record.members]
        said(fleet, f"RECORD {late}{record.epoch} {record.kind}", disks, record.acks, record.reason)
        return store(fleet, version, record, seen=seen)

    def drawn(schedule: simfaults.Schedule) -> None:
        draw(schedule)
        said(schedule.fleet, "FAULT", schedule.said[-1])

    def lost(fleet: simfleet.Fleet, pod: str, *, hangs: bool = False) -> None:
        said(fleet, "FAULT", pod, "hangs for ever" if hangs else "ends for ever")
        lose(fleet, pod, hangs=hangs)

    lose = simfleet.Fleet.lose
    simfleet.Fleet.store, simfaults.Schedule._draw = stored, drawn  # type: ignore[method-assign, assignment]
    simfleet.Fleet.lose = lost  # type: ignore[method-assign, assignment]
    try:
        simfleet.run(seed, simfleet.SETTINGS[setting], make=make)
    except (simfleet.Broken, simfleet.Crashed) as broken:
        print(broken)
        return 1
    return 0


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:] if word.isdecimal()]
    kind = simmanaged.Managed if "managed" in sys.argv else simserver.Server
    sys.exit(main(numbers[0], numbers[1] if len(numbers) > 1 else numbers[0] % len(simfleet.SETTINGS), kind))

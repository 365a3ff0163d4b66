"""Runs episodes of random commands on two servers and explains the first difference.

An episode starts on empty servers with new connections and ends with a comparison of all keys. On a mismatch the
episode's commands are cut down, by running it again with parts left out, to the few that still show it.

    python tests/differential/lockstep.py --seed 7 --commands 20000 --keep-going     every kind of mismatch, once each
"""

from __future__ import annotations

import argparse
import itertools
import random
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from fleettest.grammar import Command, Draw, episode
from fleettest.instance import Instance, Option
from fleettest.programs import Kind
from fleettest.reference import Mismatch, Pair, show
from fleettest.seeder import KINDS

Steps = list[tuple[int, Command]]
EPISODE_COMMANDS = 2000
PIPELINE_MAX = 60
SHRINK_S = 20.0
CHUNK_COMMANDS = 50  # with --keep-going
DATABASES = (0, 1, 2, 15)
SAMPLES = (b"", b"12", b"-1", b"70000", b"5000000000", b"99999999999999999999", b"text", b"x" * 100, b"abc" * 2000)


class Lockstep:
    """Two servers that get the same commands."""

    def __init__(self, ours: Instance, theirs: Instance, *, seed: int | str, resp: int) -> None:
        self.ours, self.theirs, self.seed, self.resp = ours, theirs, seed, resp
        self.commands = 0
        self.payloads = self._payloads()

    def _payloads(self) -> list[bytes]:
        """DUMP of some values by the reference, for RESTORE."""
        made: list[bytes] = []
        with self.theirs.connect() as connection:
            for value in SAMPLES:
                connection.call("SET", "sample", value)
                made.append(connection.call("DUMP", "sample"))
            connection.call("FLUSHALL")
        return made

    def run(self, count: int) -> None:
        """At least this many commands; Mismatch with the shortest sequence found."""
        for number in itertools.count():
            if self.commands >= count:
                return
            steps = self.steps(number)
            try:
                self.play(steps)
            except Mismatch as first:
                raise Mismatch(self.explain(number, steps, first)) from None
            self.commands += len(steps)

    def steps(self, number: int) -> Steps:
        rng = random.Random(f"{self.seed}:{self.resp}:{number}")
        return episode(Draw(rng, int(time.time()), payloads=self.payloads), EPISODE_COMMANDS)

    def play(self, steps: Steps) -> None:
        """From empty servers, in pipelines; then all keys must be the same."""
        rng = random.Random(len(steps))
        self.revive()
        with Pair(self.ours, self.theirs) as cleaner:
            cleaner.flush()
            # MSETEX with a time that has passed leaves keys, which go when each server's timer comes to them.
            assert cleaner.run("DEBUG", "SET-ACTIVE-EXPIRE", "0") == "OK"
        with self.pair() as first, self.pair() as second:
            for connection, group in itertools.groupby(steps, key=lambda step: step[0]):
                commands = [command for _, command in group]
                while commands:
                    size = rng.randint(1, PIPELINE_MAX)
                    (first, second)[connection].pipeline(commands[:size])
                    del commands[:size]
        with Pair(self.ours, self.theirs, resp=self.resp) as pair:
            compare_state(pair)

    def revive(self) -> None:
        """An earlier attempt may have crashed it."""
        try:
            self.ours.call("PING")
        except (OSError, EOFError):
            self.ours.kill()
            self.ours.start()

    def pair(self) -> Pair:
        return Pair(self.ours, self.theirs, resp=self.resp)

    # -- explaining

    def explain(self, number: int, steps: Steps, first: Mismatch) -> str:
        short, last = self.shrink(steps, first)
        lines = [f"seed {self.seed}, RESP{self.resp}, episode {number}: {last}"]
        if str(last) != str(first):
            lines.append(f"first seen as: {first}")
        lines.append(f"shortest sequence found ({len(short)} commands, on empty servers):")
        lines += [f"  {'second connection: ' if connection else ''}{show(command)}" for connection, command in short]
        return "\n".join(lines)

    def shrink(self, steps: Steps, mismatch: Mismatch) -> tuple[Steps, Mismatch]:
        """Leaves out halves, quarters ... single commands while a mismatch of the same command remains."""
        culprit = mismatch.command
        end = time.monotonic() + SHRINK_S
        size = len(steps)
        while size >= 1:
            at = 0
            while at < len(steps) and time.monotonic() < end:
                shorter = steps[:at] + steps[at + size :]
                found = self.attempt(shorter)
                if found is None or found.command != culprit:
                    at += size
                else:
                    steps, mismatch = shorter, found
            size //= 2
        return steps, mismatch

    def attempt(self, steps: Steps) -> Mismatch | None:
        try:
            self.play(steps)
        except Mismatch as mismatch:
            return mismatch
        except OSError as error:
            return Mismatch(f"{error!r}\n{self.ours.log_tail()}")
        return None


def compare_state(pair: Pair) -> None:
    """All keys of all databases: value, type, encoding and expiry."""
    for database in DATABASES:
        assert pair.run("SELECT", database) == "OK"
        pair.run("DBSIZE")
        keys = sorted(pair.run("KEYS", "*"))
        checks = [("TYPE",), ("OBJECT", "ENCODING"), ("PEXPIRETIME",), ("DEBUG", "DIGEST-VALUE")]
        pair.pipeline([(*check, key) for key in keys for check in checks])
        pair.pipeline([kind.read(key) for key in keys for kind in KINDS])


def distinct_mismatches(lockstep: Lockstep, episodes: int) -> Iterator[str]:
    """For development: goes on after a mismatch, without the command that showed it; each kind once."""
    seen: set[str] = set()
    for number in range(episodes):
        steps = lockstep.steps(number)
        for at in range(0, EPISODE_COMMANDS, CHUNK_COMMANDS):
            part = steps[at : at + CHUNK_COMMANDS]
            while mismatch := lockstep.attempt(part):
                short, last = lockstep.shrink(part, mismatch)
                culprit = short[-1] if short else part[-1]
                part = [step for step in part if step != culprit]
                replies = [re.sub(r"\d+", "N", line)[:45] for line in str(last).split("\n")[1:3]]
                kind = culprit[1][0].upper().decode("latin-1") + "".join(replies)
                if kind not in seen:
                    seen.add(kind)
                    yield "\n".join([str(last), "sequence:", *(f"  {c}: {show(command)}" for c, command in short)])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--commands", type=int, default=20_000)
    parser.add_argument("--resp", type=int, default=2, choices=[2, 3])
    parser.add_argument("--subject", default="cachefleet", choices=["cachefleet", "valkey", "redis"])
    parser.add_argument("--keep-going", action="store_true", help="short episodes; every kind of mismatch once")
    options = parser.parse_args(arguments)
    print(f"seed {options.seed}")
    subject: Kind = options.subject
    debug: dict[str, Option] = {"enable-debug-command": "yes"}
    with Instance(subject, options=debug) as ours, Instance("valkey", options=debug) as theirs:
        lockstep = Lockstep(ours, theirs, seed=options.seed, resp=options.resp)
        if options.keep_going:
            found = 0
            for text in distinct_mismatches(lockstep, -(-options.commands // EPISODE_COMMANDS)):
                found += 1
                print(f"\n{found}. {text}", flush=True)
            return int(found > 0)
        start = time.monotonic()
        lockstep.run(options.commands)
        print(f"{lockstep.commands} commands in RESP{options.resp}: no mismatch ({time.monotonic() - start:.1f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())

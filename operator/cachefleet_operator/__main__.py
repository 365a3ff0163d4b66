"""`cachefleet-operator`: reads the environment, logs JSON, runs until it is told to stop.

Exit codes: 0 stopped as asked, 1 lost its Lease (or a bug), 2 wrong arguments, wrong settings, no cluster, or the
packages of the extra `operator` are missing. They are imported when they are used: --help does without them.
"""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import json
import logging
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from cachefleet_operator.settings import VARIABLES, Settings, SettingsError, own_version, read

PROGRAM = "cachefleet-operator"

OURS = "cachefleet_operator"
# The API server takes JSON that is nested 10,000 deep, Python's parser 1,000: with one such Cache in a cluster, no list
# and no watch of Caches could be read. What such a Cache says is refused later (api/validation.py).
RECURSION_MAX = 12_000


class JsonFormatter(logging.Formatter):
    """One JSON object a line; `cache` and `reason` where a record has them."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            **{name: value for name in ("cache", "reason") if (value := getattr(record, name, None))},
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def set_up_logging(level: str) -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    # Libraries say what is wrong, not what they do.
    logging.basicConfig(handlers=[handler], level=logging.DEBUG if level == "debug" else logging.WARNING, force=True)
    logging.getLogger(OURS).setLevel(level.upper())


def main(arguments: Sequence[str] | None = None) -> int:
    _parser().parse_args(arguments)
    faulthandler.enable()
    sys.setrecursionlimit(RECURSION_MAX)
    try:
        return _run(read(os.environ))
    except SettingsError as error:
        sys.stderr.write(f"{PROGRAM}: {error}\n")
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        if package == OURS:
            raise
        sys.stderr.write(f"{PROGRAM}: {package} is not installed: pip install 'cachefleet[operator]'\n")
    return 2


def _parser() -> argparse.ArgumentParser:
    """There is nothing to say on the command line, but somebody who asks should not get an operator started."""
    rows = [f"  {v.name:<26} {v.meaning}{f' [{v.default}]' if v.default else ''}\n" for v in VARIABLES.values()]
    parser = argparse.ArgumentParser(
        PROGRAM,
        description="The operator of Caches, on the cluster that it is in or that KUBECONFIG names.\n"
        "The chart starts it, and sets its environment.",
        epilog=f"environment:\n{''.join(rows)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {own_version()}")
    return parser


def _run(settings: Settings) -> int:
    from kubernetes.aio.config import ConfigException
    from prometheus_client import disable_created_metrics

    from cachefleet_operator.handlers.supervisor import Lost, run

    set_up_logging(settings.log_level)
    disable_created_metrics()  # type: ignore[no-untyped-call]
    log = logging.getLogger(OURS)
    try:
        asyncio.run(run(settings))
    except Lost as error:
        log.error("%s", error)
        return 1
    except ConfigException as error:
        log.error("no cluster: %s", error)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

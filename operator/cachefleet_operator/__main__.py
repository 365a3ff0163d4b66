"""`cachefleet-operator`: reads the environment, logs JSON, runs until it is told to stop.

Exit codes: 0 stopped as asked, 1 lost its Lease (or a bug), 2 wrong settings or no cluster.
"""

from __future__ import annotations

import asyncio
import faulthandler
import json
import logging
import os
import sys
import time
from typing import Any

from kubernetes.aio.config import ConfigException
from prometheus_client import disable_created_metrics

from cachefleet_operator.handlers.supervisor import Lost, run
from cachefleet_operator.settings import SettingsError, read

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


def main() -> int:
    faulthandler.enable()
    sys.setrecursionlimit(RECURSION_MAX)
    try:
        settings = read(os.environ)
    except SettingsError as error:
        sys.stderr.write(f"cachefleet-operator: {error}\n")
        return 2
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

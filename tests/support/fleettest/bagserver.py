"""The server with the tests' own data type: what `python -m cachefleet_server` runs, and one row more."""

from __future__ import annotations

import sys
from typing import Any
from unittest.mock import patch

from cachefleet_server import server
from cachefleet_server.__main__ import main
from cachefleet_server.engine import Engine
from cachefleet_server.persistence._testing import plug_bag

PROGRAM = [sys.executable, __file__]


def engine_with_bags(**parameters: Any) -> Engine:
    engine = Engine(**parameters)
    plug_bag(engine)
    return engine


if __name__ == "__main__":
    with patch.object(server, "Engine", engine_with_bags):
        main()

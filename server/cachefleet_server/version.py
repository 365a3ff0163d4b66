"""What this server calls itself.

Clients and tools choose features by the version that HELLO and INFO give. Commands, replies and errors follow Valkey
9.1, so that is what is announced; with `extended-redis-compatibility` HELLO says "redis" and the Redis version that
Valkey stands in for, as Valkey does.
"""

from typing import Final

__version__ = "0.1.0"
COMPATIBLE_NAME: Final = "valkey"
COMPATIBLE_VERSION: Final = "9.1.2"  # Valkey's
REDIS_VERSION: Final = "7.2.4"  # the last Redis that Valkey follows

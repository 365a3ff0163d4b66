"""How each kind of parameter reads and shows values. Cases and texts are what Valkey 9.1 was seen to do."""

from __future__ import annotations

import contextlib
import time

import pytest

from cachefleet_server.config.config import Config, SetError
from cachefleet_server.config.params import PARAMS, Param
from cachefleet_server.config.parser import Line, option_lines
from cachefleet_server.errors import ConfigError

pytestmark = pytest.mark.unit


def set_and_show(name: str, value: str) -> str:
    """What CONFIG GET shows after CONFIG SET, or the complaint after a "!"."""
    config = Config()
    try:
        config.set([(name, value)], protected=True)
    except SetError as error:
        return "!" + str(error)
    return config.shown(name)


NO_INTEGER = "!argument couldn't be parsed into an integer"
NO_MEMORY = "!argument must be a memory value"
NO_SAVE = "!Invalid save parameters"
SHUTDOWN = "!argument(s) must be one of the following: default, save, nosave, now, force, safe, failover"
LIMIT_CLASS = "!Invalid client class specified in buffer limit configuration."
LIMIT_VALUE = "!Error in hard, soft or soft_seconds setting in buffer limit configuration."
LIMIT_COUNT = "!Wrong number of arguments in buffer limit configuration."
OOM = "!Invalid oom-score-adj-values, elements must be between -2000 and 2000."


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("maxmemory", "1kb", "1024"),
        ("maxmemory", "1K", "1000"),
        ("maxmemory", "1MB", "1048576"),
        ("maxmemory", "1m", "1000000"),
        ("maxmemory", "1g", "1000000000"),
        ("maxmemory", "1gb", "1073741824"),
        ("maxmemory", "7b", "7"),
        ("maxmemory", "", "0"),
        ("maxmemory", "010", "10"),
        ("maxmemory", "18446744073709551615", "18446744073709551615"),
        ("maxmemory", "18446744073709551616", NO_MEMORY),
        ("maxmemory", "1t", NO_MEMORY),
        ("maxmemory", "1.5gb", NO_MEMORY),
        ("maxmemory", "-1", NO_MEMORY),
        ("maxmemory", "1 ", NO_MEMORY),
        ("maxmemory", "0" * 126 + "5", "5"),
        ("maxmemory", "0" * 127 + "5", NO_MEMORY),
        ("maxmemory", "5mb\0x", "5242880"),
        ("proto-max-bulk-len", "1048575", "!argument must be between 1048576 and 9223372036854775807 inclusive"),
        ("hz", "+10", NO_INTEGER),
        ("hz", "010", NO_INTEGER),
        ("hz", " 10", NO_INTEGER),
        ("hz", "10\0", NO_INTEGER),
        ("hz", "", NO_INTEGER),
        ("hz", "0", "1"),
        ("hz", "501", "500"),
        ("hz", "-1", "!argument must be between 0 and 2147483647 inclusive"),
        ("slowlog-log-slower-than", "-1", "-1"),
        ("activerehashing", "YES", "yes"),
        ("activerehashing", "1", "!argument must be 'yes' or 'no'"),
        ("loglevel", "WARNING", "warning"),
        ("loglevel", "x", "!argument(s) must be one of the following: debug, verbose, notice, warning, nothing"),
        ("shutdown-on-sigterm", "nosave now", "nosave now"),
        ("shutdown-on-sigterm", "failover save", "save failover"),
        ("shutdown-on-sigterm", "default save", "save"),
        ("shutdown-on-sigterm", "now now", "now"),
        ("shutdown-on-sigterm", "", SHUTDOWN),
        ("shutdown-on-sigterm", "save nosave", "!shutdown options SAVE and NOSAVE can't be used simultaneously"),
        ("save", "", ""),
        ("save", "100 1 200 2", "100 1 200 2"),
        ("save", "1 0", "1 0"),
        ("save", "0 1", NO_SAVE),
        ("save", "100 1 200", NO_SAVE),
        ("save", "100  1", NO_SAVE),
        ("save", "a 1", NO_SAVE),
        ("save", "+4 ", "4 0"),
        ("save", "4 0x5", NO_SAVE),
        ("save", "4 +", NO_SAVE),
        ("client-output-buffer-limit", "foo 1 1 1", LIMIT_CLASS),
        ("client-output-buffer-limit", "normal 1 1", LIMIT_COUNT),
        ("client-output-buffer-limit", "normal a 1 1", LIMIT_VALUE),
        ("client-output-buffer-limit", "normal 1 1 -1", LIMIT_VALUE),
        (
            "client-output-buffer-limit",
            "replica 2mb 1mb 10 NORMAL 1 2 3",
            "normal 1 2 3 slave 2097152 1048576 10 pubsub 33554432 8388608 60",
        ),
        ("maxmemory-clients", "5%", "5%"),
        ("maxmemory-clients", "0%", "0"),
        ("maxmemory-clients", "10mb", "10485760"),
        ("maxmemory-clients", "101%", "!percentage argument must be less or equal to 100"),
        ("maxmemory-clients", "-5%", "!argument must be a memory or percent value"),
        ("latency-tracking-info-percentiles", "", ""),
        ("latency-tracking-info-percentiles", "0 50.55555 100", "0 50.55555 100"),
        (
            "latency-tracking-info-percentiles",
            "100.1",
            "!latency-tracking-info-percentiles parameters should sit between [0.0,100.0]",
        ),
        ("latency-tracking-info-percentiles", "1_0", "!Invalid latency-tracking-info-percentiles parameters"),
        ("latency-tracking-info-percentiles", "9" * 400, "!Invalid latency-tracking-info-percentiles parameters"),
        ("latency-tracking-info-percentiles", "+1e1 .5 5.", "10 0.5 5"),
        ("latency-tracking-info-percentiles", "abc", "!Invalid latency-tracking-info-percentiles parameters"),
        ("oom-score-adj-values", "-2000 0 2000", "-2000 0 2000"),
        ("oom-score-adj-values", "1 2", "!wrong number of arguments"),
        ("oom-score-adj-values", "0 3000 0", OOM),
        ("notify-keyspace-events", "KEA", "AKE"),
        ("notify-keyspace-events", "Ex", "xE"),
        ("notify-keyspace-events", "KEn", "nKE"),
        ("notify-keyspace-events", "An", "A"),
        ("notify-keyspace-events", "g$lshzxetdmn", "Am"),
        ("notify-keyspace-events", "Q", "!Invalid event class character. Use 'Ag$lshzxeKEtmdn'."),
        ("bind", "0.0.0.0 -::1", "0.0.0.0 -::1"),
        ("bind", "", ""),
        ("dbfilename", "a/b", "!dbfilename can't be a path, just a filename"),
        ("cluster-announce-client-ipv4", "256.1.1.1", "!Invalid IPv4 address"),
        ("cluster-announce-client-ipv4", "1.2.3.4\0x", "1.2.3.4"),
        ("cluster-announce-client-ipv4", "\udcff", "!Invalid IPv4 address"),
        ("cluster-announce-client-ipv6", "::1", "::1"),
        ("cluster-announce-ip", "1" * 45, "1" * 45),
        ("cluster-announce-ip", "%" * 46, "!cluster-announce-ip is too long"),
        ("cluster-announce-ip", "a\0", "!cluster-announce-ip contains invalid character"),
        ("cluster-announce-human-nodename", "\udcff\u00e9", "\udcff\u00e9"),
        ("requirepass", "a\0b", "a\0b"),
        ("dbfilename", "a\0/b", "a"),
        ("proc-title-template", "{x}", "!template format is invalid or contains unknown variables"),
        ("proc-title-template", "{title} {port}", "{title} {port}"),
        ("slot-migration-max-failover-repl-bytes", "-1", "-1"),
        ("slot-migration-max-failover-repl-bytes", "1k", "1000"),
        ("dir", "/no/such/folder", "!No such file or directory"),
    ],
)
def test_set_and_show(name: str, value: str, shown: str) -> None:
    assert set_and_show(name, value) == shown


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("oom-score-adj-values", "0 0 " + "0" * 500_000 + "x"),
        ("client-output-buffer-limit", "normal 0 0 " + "0" * 500_000 + "x"),
        ("latency-tracking-info-percentiles", "1" * 500_000 + "x"),
    ],
)
def test_the_cost_of_a_long_value_is_not_its_square(name: str, value: str) -> None:
    """CONFIG SET takes one of any length, and there is one thread."""
    began = time.process_time()
    assert set_and_show(name, value).startswith("!")
    assert time.process_time() - began < 2.0


HOSTILE = (
    "", " ", "\n", "a\nb", "a b", "\0", "1\0", "a\0b", "9" * 5000, "9" * 5000 + "mb", "9" * 5000 + "%",
    "-" + "9" * 5000, "9" * (1 << 20), "x" * (1 << 20), " " * 5000, "\udcff\udcfe", "1\udcff", "\u0665",
    "\u0665%", "\u00a01", "1_0",
    "normal " + "9" * 5000 + " 0 0", "normal 0 0 " + "9" * 5000, "1 " + "9" * 5000, "1 2 " + "9" * 5000,
)  # fmt: skip


@pytest.mark.parametrize("row", PARAMS, ids=lambda row: row.name)
def test_hostile_values_are_taken_or_refused(row: Param) -> None:
    """By each way that a value may come; never another exception."""
    for value in HOSTILE:
        for name in (row.name, row.name + "-file") if row.secret else (row.name,):
            config = Config()
            with contextlib.suppress(ConfigError):
                config.load([Line("x.conf", 1, "", (name, value))], {})
            with contextlib.suppress(ConfigError):
                config.load([Line("x.conf", 1, "", (name, *value.split(" ")))], {})
            with contextlib.suppress(ConfigError):
                if len(value) < 128 << 10:  # what the system passes in one argument
                    config.load(option_lines(["--" + name, value]), {})
            if name == row.name and not row.immutable:
                shown = set_and_show(name, value)
                assert shown.startswith("!") or set_and_show(name, shown) == shown

"""docs/metrics.md, made from the tables: `python -m cachefleet_server.metrics.document > docs/metrics.md`.

A test fails when the file is not what this prints.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from cachefleet_server.metrics.table import FAMILIES, TABLE, Metric

HEAD = """\
# Metrics

<!-- Made by `python -m cachefleet_server.metrics.document > docs/metrics.md`; edit metrics/table.py instead. -->

`metrics-port` (off by default; `metrics-bind` says where) serves `GET /metrics` in Prometheus' text format, or
OpenMetrics when asked for. The names are those of redis_exporter where it has the metric, so its dashboards work
without it; what it lacks begins with `cachefleet_`. Many lines of INFO are shown, too: where a column names one, both
are the same number.

`GET /healthz` answers 200 while the process serves its event loop. `GET /readyz` answers 200 when data is loaded and
writes are possible, else 503 with the reason. Its checks are

- `loading`: data are being loaded at the start;
- `disk`: the append-only file cannot be written, or snapshots fail and therefore writes are refused;
- `replication`: this is a replica without its primary's data, as its first synchronisation goes on or its file did not
  say of which history the data are; or its link has been down for more than `repl-timeout` seconds.

`GET /readyz?exclude=disk` answers 200 while the disk fails and only reads are possible, `?exclude=disk&exclude=loading`
leaves out both. A name that is no check is ignored.

The port serves 32 connections at a time, each for 5 seconds at most. When more come, the oldest of the address that
holds most is closed, so that probes get through whoever else is there. One scrape is worked out at a time; then it
rests four times as long, so that the engine keeps its thread.

Histograms have buckets at powers of two of 1.024 µs; buckets above the longest duration so far are left out.
"""


def page() -> str:
    lines = [HEAD, *_families(), *_ours()]
    for section in dict.fromkeys(row.section for row in TABLE if row.section):
        lines += _section(section)
    return "\n".join(lines)


def _families() -> Iterator[str]:
    yield "## With labels\n"
    yield "| series | type | labels | meaning |\n|---|---|---|---|"
    for family in FAMILIES.values():
        labels = ", ".join(f"`{label}`" for label in family.labels)
        yield f"| `{family.series}` | {family.kind} | {labels} | {family.help} |"
    yield ""


def _ours() -> Iterator[str]:
    yield "## Without a line in INFO\n"
    yield "| series | type | meaning |\n|---|---|---|"
    for row in TABLE:
        if not row.section:
            yield f"| `{row.series}` | {_kind(row)} | {row.help} |"
    yield ""


def _section(section: str) -> list[str]:
    rows = [row for row in TABLE if row.section == section and row.series]
    if not rows:
        return []
    lines = [f"## INFO {section}\n", "| series | type | line of INFO | meaning |\n|---|---|---|---|"]
    lines += [f"| `{row.series}` | {_kind(row)} | `{row.field}` | {row.help} |" for row in rows]
    return [*lines, ""]


def _kind(row: Metric) -> str:
    return "counter" if row.is_counter else "gauge"


if __name__ == "__main__":
    sys.stdout.write(page())

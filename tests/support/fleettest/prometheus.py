"""A real Prometheus for a test: scrapes and evaluates every second, answers by its HTTP API.

with Prometheus(folder, targets=[Target(9121, {"namespace": "shop"})], rules=[path]) as prometheus:
    prometheus.query("up")
"""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from fleettest.instance import _die_with_parent, free_port
from fleettest.wait import assert_eventually

START_S = 30.0


@dataclass(frozen=True)
class Target:
    """What to scrape, and the labels that its series get."""

    port: int
    labels: Mapping[str, str]
    path: str = "/metrics"
    host: str = "127.0.0.1"
    honor_labels: bool = False  # whether labels of the series win


@dataclass
class Prometheus:
    folder: Path
    targets: Sequence[Target]
    rules: Sequence[Path] = ()
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Prometheus:
        program = shutil.which("prometheus")
        assert program is not None, "prometheus is missing: apt-get install prometheus"
        config, log = self.folder / "prometheus.yml", self.folder / "prometheus.log"
        config.write_text(yaml.safe_dump(self._config()))
        flags = {
            "config.file": config,
            "storage.tsdb.path": self.folder / "tsdb",
            "web.listen-address": f"127.0.0.1:{self.port}",
        }
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                [program, *(f"--{name}={value}" for name, value in flags.items())],
                stdout=out,
                stderr=out,
                preexec_fn=_die_with_parent,
            )
        try:
            assert_eventually(self._ready, lambda: f"Prometheus: {log.read_text()[-3000:]}", deadline_s=START_S)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _config(self) -> dict[str, Any]:
        return {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(path) for path in self.rules],
            "scrape_configs": [
                {
                    "job_name": str(number),
                    "metrics_path": target.path,
                    "honor_labels": target.honor_labels,
                    "static_configs": [{"targets": [f"{target.host}:{target.port}"], "labels": dict(target.labels)}],
                }
                for number, target in enumerate(self.targets)
            ],
        }

    def _ready(self) -> bool:
        assert self._process is not None and self._process.poll() is None, "it has ended"
        try:
            return self._get("/-/ready", {}).startswith(b"Prometheus Server is Ready")
        except OSError:
            return False

    def _get(self, path: str, parameters: Mapping[str, str]) -> bytes:
        url = f"http://127.0.0.1:{self.port}{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 503:
                    return b""
                raise AssertionError(f"{url}: {error.read().decode()}") from None

    def _data(self, path: str, parameters: Mapping[str, str]) -> Any:
        return json.loads(self._get(path, parameters))["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Samples, now; those that are no number left out. AssertionError for a query that fails."""
        found = self._data("/api/v1/query", {"query": expression})
        return [sample for sample in found["result"] if sample["value"][1] != "NaN"]

    def label_values(self, label: str, selector: str) -> list[str]:
        return list(self._data(f"/api/v1/label/{label}/values", {"match[]": selector}))

    def alerts(self) -> dict[str, dict[str, Any]]:
        """Every alert: `state` (inactive, pending, firing), `health`, `lastError`, `lastEvaluation`, `alerts`."""
        groups = self._data("/api/v1/rules", {"type": "alert"})["groups"]
        return {rule["name"]: rule for group in groups for rule in group["rules"]}

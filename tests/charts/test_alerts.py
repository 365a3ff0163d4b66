"""Alerts: each fires when it should and is silent when it should, by Prometheus' own unit tests; each has a runbook.

A case is the series that make an alert fire, the value that its words show, and series that look alike and must not.
`*` in a series stands for the labels of one Cache's pod, as its PodMonitor gives them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from fleettest.docs import anchors
from fleettest.helm import ROOT, Promtool

FILE = ROOT / "deploy" / "alerts" / "cachefleet.yaml"
RUNBOOK = ROOT / "docs" / "troubleshooting.md"
CHART = yaml.safe_load((ROOT / "charts" / "cachefleet" / "Chart.yaml").read_text())
POD = {"namespace": "shop", "cache": "orders", "pod": "orders-0"}
CONDITION = {"namespace": "shop", "cache": "orders"}
OPERATOR = {"namespace": "cachefleet-system"}
MINUTES = 90
# A counter that jumps once, at any time before the end: what happened in one moment pages nobody.
ONCE = tuple(f"0x{MINUTES - ago} 1000x{ago}" for ago in range(1, 16))

Series = Mapping[str, str]  # series -> values, one a minute, in promtool's notation


@dataclass(frozen=True)
class Case:
    fires: Series
    value: str = ""  # as the words show it
    quiet: tuple[Series, ...] = ()
    labels: Mapping[str, str] = field(default_factory=lambda: POD)  # besides alertname and severity


def condition(kind: str, status: str, reason: str, pod: str = "o-1") -> str:
    """As a replica of the operator tells it; its monitor has honorLabels."""
    about = f'namespace="shop",cache="orders",condition="{kind}",status="{status}",reason="{reason}"'
    return f'cachefleet_operator_cache_condition_since_seconds{{{about},pod="{pod}"}}'


TENURE = 'cachefleet_operator_cache_tenure{namespace="shop",cache="orders",pod="o-1"}'

CASES: dict[str, Case] = {
    "CachefleetServerDown": Case(
        {'up{*,container="server"}': "0x90"},
        quiet=({'up{*,container="server"}': "1x90"}, {'up{namespace="shop",container="server"}': "0x90"}),
        labels={**POD, "container": "server"},
    ),
    "CachefleetServerRestarting": Case(
        {"redis_uptime_in_seconds{*}": "0+60x60 0+60x8 0+60x8 0+60x11"}, "3",
        quiet=({"redis_uptime_in_seconds{*}": "0+60x60 0+60x8 0+60x20"}, {"redis_uptime_in_seconds": "5 4 3 2 1 0x90"}),
    ),
    "CachefleetLoadingTooLong": Case(
        {"redis_loading_dump_file{*}": "1x90"},
        quiet=({"redis_loading_dump_file{*}": "1x5 0x85"}, {"redis_loading_dump_file{*}": "0x78 1x10"}),
    ),
    "CachefleetMemoryNearlyFull": Case(
        {"redis_memory_used_bytes{*}": "95x90", "redis_memory_max_bytes{*}": "100x90",
         'redis_instance_info{*,maxmemory_policy="noeviction"}': "1x90"}, "95%",
        quiet=(
            {"redis_memory_used_bytes{*}": "89x90", "redis_memory_max_bytes{*}": "100x90",
             'redis_instance_info{*,maxmemory_policy="noeviction"}': "1x90"},
            {"redis_memory_used_bytes{*}": "95x90", "redis_memory_max_bytes{*}": "100x90",
             'redis_instance_info{*,maxmemory_policy="allkeys-lru"}': "1x90"},
            {"redis_memory_used_bytes{*}": "95x90", "redis_memory_max_bytes{*}": "0x90",
             'redis_instance_info{*,maxmemory_policy="noeviction"}': "1x90"},
        ),
    ),
    "CachefleetWritesRefused": Case(
        {'redis_errors_total{*,err="OOM"}': "0+60x90"}, "1",
        quiet=(
            {'redis_errors_total{*,err="OOM"}': "7x90"}, {'redis_errors_total{*,err="WRONGTYPE"}': "0+60x90"},
            *({'redis_errors_total{*,err="OOM"}': once} for once in ONCE),
            {'redis_errors_total{*,err="OOM"}': "0x83 1 2 3 4 5 6 7"},  # not for long yet
        ),
        labels={**POD, "err": "OOM"},
    ),
    "CachefleetEvictionsHigh": Case(
        {"redis_evicted_keys_total{*}": "0+20x90", 'redis_db_keys{*,db="db0"}': "1000x90",
         'redis_db_keys{*,db="db1"}': "500x90"}, "200",
        quiet=(
            {"redis_evicted_keys_total{*}": "0+10x90", 'redis_db_keys{*,db="db0"}': "1500x90"},
            *({"redis_evicted_keys_total{*}": once, 'redis_db_keys{*,db="db0"}': "1500x90"} for once in ONCE),
        ),
    ),
    "CachefleetNearMemoryLimit": Case(
        {'container_memory_working_set_bytes{namespace="shop",pod="orders-0",container="server"}': "96x90",
         'container_spec_memory_limit_bytes{namespace="shop",pod="orders-0",container="server"}': "100x90",
         "redis_up{*}": "1x90"}, "96%",
        quiet=(
            {'container_memory_working_set_bytes{namespace="shop",pod="web-0",container="server"}': "96x90",
             'container_spec_memory_limit_bytes{namespace="shop",pod="web-0",container="server"}': "100x90",
             "redis_up{*}": "1x90"},
            {'container_memory_working_set_bytes{namespace="shop",pod="orders-0",container="server"}': "96x90",
             'container_spec_memory_limit_bytes{namespace="shop",pod="orders-0",container="server"}': "0x90",
             "redis_up{*}": "1x90"},
        ),
        labels={**POD, "container": "server"},
    ),
    "CachefleetConnectionsNearLimit": Case(
        {"redis_connected_clients{*}": "900x90", "redis_max_clients{*}": "1000x90"}, "90%",
        quiet=({"redis_connected_clients{*}": "800x90", "redis_max_clients{*}": "1000x90"},),
    ),
    "CachefleetConnectionsRefused": Case(
        {"redis_rejected_connections_total{*}": "0+6x90"}, "100m",
        quiet=tuple({"redis_rejected_connections_total{*}": once} for once in ONCE),
    ),
    "CachefleetLatencyHigh": Case(
        {'cachefleet_command_duration_seconds_bucket{*,cmd="keys",le="0.008192"}': "0x90",
         'cachefleet_command_duration_seconds_bucket{*,cmd="keys",le="0.016384"}': "0+60x90",
         'cachefleet_command_duration_seconds_bucket{*,cmd="keys",le="+Inf"}': "0+60x90"}, "16.3ms",
        quiet=(
            {'cachefleet_command_duration_seconds_bucket{*,cmd="get",le="0.008192"}': "0+60x90",
             'cachefleet_command_duration_seconds_bucket{*,cmd="get",le="+Inf"}': "0+60x90"},
        ),
    ),
    "CachefleetEventLoopLate": Case(
        {'cachefleet_event_loop_lag_seconds_bucket{*,le="0.25"}': "0x90",
         'cachefleet_event_loop_lag_seconds_bucket{*,le="0.5"}': "0+60x90",
         'cachefleet_event_loop_lag_seconds_bucket{*,le="+Inf"}': "0+60x90"}, "497.5ms",
        quiet=(
            {'cachefleet_event_loop_lag_seconds_bucket{*,le="0.25"}': "0+60x90",
             'cachefleet_event_loop_lag_seconds_bucket{*,le="+Inf"}': "0+60x90"},
        ),
    ),
    "CachefleetStreamLagGrowing": Case(
        {'redis_stream_group_lag{*,db="db0",stream="jobs",group="work"}': "0+100x90"}, "9k",
        quiet=(
            {'redis_stream_group_lag{*,db="db0",stream="jobs",group="work"}': "0+10x90"},
            {'redis_stream_group_lag{*,db="db0",stream="jobs",group="work"}': "9000-50x90"},
            {'redis_stream_group_lag{*,db="db0",stream="jobs",group="work"}': "5000x90"},
        ),
        labels={**POD, "db": "db0", "stream": "jobs", "group": "work"},
    ),
    "CachefleetDiskWriteFailing": Case(
        {"redis_aof_last_write_status{*}": "1x60 0x30"}, quiet=({"redis_aof_last_write_status{*}": "1x90"},)
    ),
    "CachefleetSnapshotFailing": Case(
        {"redis_rdb_last_bgsave_status{*}": "1x60 0x30"}, quiet=({"redis_rdb_last_bgsave_status{*}": "1x90"},)
    ),
    "CachefleetSnapshotTooOld": Case(
        {"cachefleet_snapshot_age_seconds{*}": "100000x90", "redis_rdb_changes_since_last_save{*}": "5x90",
         "redis_rdb_saves_total{*}": "3x90", "redis_aof_enabled{*}": "0x90"}, "1d 3h 46m 40s",
        quiet=tuple(
            {"cachefleet_snapshot_age_seconds{*}": "100000x90", "redis_rdb_changes_since_last_save{*}": "5x90",
             "redis_rdb_saves_total{*}": "3x90", "redis_aof_enabled{*}": "0x90", **other}
            for other in (
                {"cachefleet_snapshot_age_seconds{*}": "3600x90"},
                {"redis_rdb_changes_since_last_save{*}": "0x90"},
                {"redis_rdb_saves_total{*}": "0x90"},  # mode none
                {"redis_aof_enabled{*}": "1x90"},
            )
        ),
    ),
    "CachefleetAofRewriteFailing": Case(
        {"cachefleet_aof_rewrites_consecutive_failures{*}": "3x90"}, "3",
        quiet=({"cachefleet_aof_rewrites_consecutive_failures{*}": "2x90"},),
    ),
    "CachefleetVolumeNearlyFull": Case(
        {'kubelet_volume_stats_available_bytes{namespace="shop",persistentvolumeclaim="data-orders-0"}': "10x90",
         'kubelet_volume_stats_capacity_bytes{namespace="shop",persistentvolumeclaim="data-orders-0"}': "100x90",
         "redis_up{*}": "1x90"}, "10%",
        quiet=(
            {'kubelet_volume_stats_available_bytes{namespace="shop",persistentvolumeclaim="data-orders-0"}': "20x90",
             'kubelet_volume_stats_capacity_bytes{namespace="shop",persistentvolumeclaim="data-orders-0"}': "100x90",
             "redis_up{*}": "1x90"},
            {'kubelet_volume_stats_available_bytes{namespace="shop",persistentvolumeclaim="data-pg-0"}': "10x90",
             'kubelet_volume_stats_capacity_bytes{namespace="shop",persistentvolumeclaim="data-pg-0"}': "100x90",
             "redis_up{*}": "1x90"},
        ),
        labels={"namespace": "shop", "cache": "orders", "persistentvolumeclaim": "data-orders-0"},
    ),
    "CachefleetReplicaLinkDown": Case(
        {'redis_master_link_up{*,master_host="10.0.0.1",master_port="6379"}': "0x90"},
        quiet=(
            {'redis_master_link_up{*,master_host="10.0.0.1",master_port="6379"}': "1x87 0x3"},
            # It follows another one now; Prometheus has the old series for some minutes yet.
            {'redis_master_link_up{*,master_host="10.0.0.1",master_port="6379"}': "0x90",
             'redis_master_link_up{*,master_host="10.0.0.2",master_port="6379"}': "1x90"},
        ),
    ),
    "CachefleetReplicaSyncFailing": Case(
        {"cachefleet_replica_sync_failures_total{*}": "0+1x90",
         'redis_master_link_up{*,master_host="10.0.0.1",master_port="6379"}': "0x90"}, "30",
        quiet=(
            # The primary cannot be reached: another alert is about that.
            {"cachefleet_replica_sync_failures_total{*}": "7x90",
             'redis_master_link_up{*,master_host="10.0.0.1",master_port="6379"}': "0x90"},
            {"cachefleet_replica_sync_failures_total{*}": "0+1x90",
             'redis_master_link_up{*,master_host="10.0.0.1",master_port="6379"}': "1x90"},
            *({"cachefleet_replica_sync_failures_total{*}": once,
               'redis_master_link_up{*,master_host="10.0.0.1",master_port="6379"}': "1x90"} for once in ONCE),
        ),
    ),
    "CachefleetReplicaLagging": Case(
        {"redis_master_repl_offset{*}": "0+6000000x90",
         'redis_connected_slave_offset_bytes{*,slave_ip="10.0.0.2",slave_port="6379",slave_state="online"}':
         "0x10 0+6000000x80"}, "11m 0s",
        quiet=(
            # A second's worth, as replicas confirm once a second.
            {"redis_master_repl_offset{*}": "100000000+600000000x90",
             'redis_connected_slave_offset_bytes{*,slave_ip="10.0.0.2",slave_port="6379",slave_state="online"}':
             "90000000+600000000x90"},
            # PINGs of a primary that nobody writes to.
            {"redis_master_repl_offset{*}": "14+84x90",
             'redis_connected_slave_offset_bytes{*,slave_ip="10.0.0.2",slave_port="6379",slave_state="online"}':
             "0x90"},
            # It gets all data just now.
            {"redis_master_repl_offset{*}": "0+6000000x90",
             'redis_connected_slave_offset_bytes{*,slave_ip="10.0.0.2",slave_port="6379",slave_state="send_bulk"}':
             "0x90"},
        ),
        labels={**POD, "slave_ip": "10.0.0.2", "slave_port": "6379", "slave_state": "online"},
    ),
    "CachefleetNotReady": Case(
        {condition("Ready", "False", "NotServing"): "600x90"}, "1h 20m 0s",
        quiet=(
            {condition("Ready", "True", "Serving"): "0x90"},
            # Not ready again and again, and never for long.
            {condition("Ready", "False", "NotServing"): "0x30 1500x30 4900x30"},
            # A second operator that has not seen yet what the first has.
            {condition("Ready", "False", "NotServing"): "5100x90",
             condition("Ready", "False", "NotServing", pod="o-2"): "0x90"},
        ),
        labels=CONDITION | {"reason": "NotServing"},
    ),
    "CachefleetDegraded": Case(
        {condition("Degraded", "True", "PodFailing"): "0x90"}, "1h 30m 0s",
        quiet=({condition("Degraded", "False", "AsExpected"): "0x90"},),
        labels=CONDITION | {"reason": "PodFailing"},
    ),
    "CachefleetConfigNotApplied": Case(
        {condition("ConfigApplied", "False", "Refused"): "0x90"}, "1h 30m 0s",
        quiet=(
            {condition("ConfigApplied", "False", "Refused"): "4800x90"},
            # A server that does not answer: other alerts are about it.
            {condition("ConfigApplied", "False", "Pending"): "0x90"},
        ),
        labels=CONDITION | {"reason": "Refused"},
    ),
    "CachefleetChangeStuck": Case(
        {condition("Progressing", "True", "ResizingStorage"): "0x90"}, "1h 30m 0s",
        quiet=(
            {condition("Progressing", "True", "Restarting"): "3600x90"},
            {condition("Progressing", "False", "Paused"): "0x90"},
        ),
        labels=CONDITION | {"reason": "ResizingStorage"},
    ),
    "CachefleetNoPrimary": Case(
        {condition("PrimaryHealthy", "False", "WaitingForMember"): "5200x90", TENURE: "7x90"}, "3m 20s",
        quiet=(
            {condition("PrimaryHealthy", "True", "Reigning"): "0x90", TENURE: "7x90"},
            # A failover.
            {condition("PrimaryHealthy", "False", "Electing"): "5300x90", TENURE: "7x90"},
            # A new Cache whose pods start.
            {condition("PrimaryHealthy", "False", "Electing"): "0x90"},
            {condition("PrimaryHealthy", "False", "Electing"): "0x90", TENURE.replace("orders", "carts"): "7x90"},
        ),
        labels=CONDITION | {"reason": "WaitingForMember"},
    ),
    "CachefleetReplicationDegraded": Case(
        {condition("ReplicationHealthy", "False", "Solo"): "0x90"}, "1h 30m 0s",
        quiet=(
            {condition("ReplicationHealthy", "True", "InSync"): "0x90"},
            # A replica is restarted, and gets its data.
            {condition("ReplicationHealthy", "False", "Degraded"): "4600x90"},
        ),
        labels=CONDITION | {"reason": "Solo"},
    ),
    "CachefleetOperatorDown": Case(
        {"up": "1x90"}, quiet=({'cachefleet_operator_leader{namespace="a",pod="o-1"}': "0x90"},), labels={}
    ),
    "CachefleetOperatorNotLeading": Case(
        {'cachefleet_operator_leader{namespace="cachefleet-system",pod="o-1"}': "0x90",
         'cachefleet_operator_leader{namespace="cachefleet-system",pod="o-2"}': "0x90"}, "0",
        quiet=({'cachefleet_operator_leader{namespace="a",pod="o-1"}': "1x90",
                'cachefleet_operator_leader{namespace="a",pod="o-2"}': "0x90"},),
        labels=OPERATOR,
    ),
    "CachefleetOperatorNotSynced": Case(
        {'cachefleet_operator_synced{namespace="cachefleet-system",pod="o-1"}': "0x90"},
        quiet=({'cachefleet_operator_synced{namespace="a",pod="o-1"}': "0x5 1x85"},),
        labels={**OPERATOR, "pod": "o-1"},
    ),
    "CachefleetReconcileFailing": Case(
        {'cachefleet_operator_reconcile_total{namespace="cachefleet-system",pod="o-1",result="failed"}': "0+6x90",
         'cachefleet_operator_reconcile_total{namespace="cachefleet-system",pod="o-1",result="unchanged"}': "0+6x90"},
        "50%",
        quiet=(
            {'cachefleet_operator_reconcile_total{namespace="a",pod="o-1",result="failed"}': "0+1x90",
             'cachefleet_operator_reconcile_total{namespace="a",pod="o-1",result="unchanged"}': "0+60x90"},
            {'cachefleet_operator_reconcile_total{namespace="a",pod="o-1",result="conflict"}': "0+60x90"},
        ),
        labels=OPERATOR,
    ),
    "CachefleetReconcileSlow": Case(
        {'cachefleet_operator_reconcile_duration_seconds_bucket{namespace="cachefleet-system",le="10"}': "0x90",
         'cachefleet_operator_reconcile_duration_seconds_bucket{namespace="cachefleet-system",le="30"}': "0+60x90",
         'cachefleet_operator_reconcile_duration_seconds_bucket{namespace="cachefleet-system",le="+Inf"}': "0+60x90"},
        "29.8s",
        quiet=(
            {'cachefleet_operator_reconcile_duration_seconds_bucket{namespace="a",le="10"}': "0+60x90",
             'cachefleet_operator_reconcile_duration_seconds_bucket{namespace="a",le="+Inf"}': "0+60x90"},
        ),
        labels=OPERATOR,
    ),
    "CachefleetOperatorOverloaded": Case(
        {'cachefleet_operator_queue_depth{namespace="cachefleet-system",pod="o-1"}': "150x90"}, "150",
        quiet=({'cachefleet_operator_queue_depth{namespace="a",pod="o-1"}': "150x5 0x85"},),
        labels=OPERATOR,
    ),
    "CachefleetApiErrors": Case(
        {'cachefleet_operator_api_requests_total{namespace="cachefleet-system",code="500"}': "0+6x90",
         'cachefleet_operator_api_requests_total{namespace="cachefleet-system",code="200"}': "0+6x90"}, "50%",
        quiet=({'cachefleet_operator_api_requests_total{namespace="a",code="409"}': "0+60x90",
                'cachefleet_operator_api_requests_total{namespace="a",code="200"}': "0+6x90"},),
        labels=OPERATOR,
    ),
}  # fmt: skip


def rules() -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load(FILE.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def words(text: str, case: Case) -> str:
    """An annotation as Prometheus fills it in."""
    text = re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: case.labels[found[1]], text)
    return re.sub(r"\{\{ \$value[^}]*\}\}", case.value, text)


def inputs(series: Series) -> list[dict[str, str]]:
    chosen = ",".join(f'{name}="{value}"' for name, value in POD.items())
    return [{"series": name.replace("*", chosen), "values": values} for name, values in series.items()]


def unit_test(alert: str, series: Series, expected: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "interval": "1m",
        "input_series": inputs(series),
        "alert_rule_test": [{"eval_time": f"{MINUTES}m", "alertname": alert, "exp_alerts": expected}],
    }


def run(promtool: Promtool, folder: Path, alert: str, tests: list[dict[str, Any]]) -> str:
    """With the one rule: Prometheus evaluates all that it has at each minute."""
    rule, file = folder / "rule.yaml", folder / "test.yaml"
    rule.write_text(yaml.safe_dump({"groups": [{"name": alert, "rules": [rules()[alert]]}]}))
    file.write_text(yaml.safe_dump({"rule_files": [str(rule)], "evaluation_interval": "1m", "tests": tests}))
    return promtool("test", "rules", file)


def test_every_alert_has_a_case() -> None:
    assert list(CASES) == list(rules())


@pytest.mark.parametrize("alert", CASES)
def test_fires(promtool: Promtool, tmp_path: Path, alert: str) -> None:
    case, rule = CASES[alert], rules()[alert]
    expected = {
        "exp_labels": {**case.labels, **rule["labels"]},
        "exp_annotations": {name: words(text, case) for name, text in rule["annotations"].items()},
    }
    run(promtool, tmp_path, alert, [unit_test(alert, case.fires, [expected])])


@pytest.mark.parametrize("alert", CASES)
def test_is_silent(promtool: Promtool, tmp_path: Path, alert: str) -> None:
    assert CASES[alert].quiet
    run(promtool, tmp_path, alert, [unit_test(alert, series, []) for series in CASES[alert].quiet])


@pytest.mark.parametrize("alert", rules())
def test_has_what_people_need(alert: str) -> None:
    rule = rules()[alert]
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["labels"]["severity"] in ("critical", "warning")
    link = rule["annotations"]["runbook_url"]
    assert link == f"{CHART['home']}/blob/v{CHART['version']}/docs/troubleshooting.md#{alert.lower()}"
    assert alert.lower() in anchors(RUNBOOK.read_text())


@pytest.mark.parametrize("alert", [alert for alert, case in CASES.items() if case.labels.get("cache")])
def test_who_is_paged_reads_whose_it_is(alert: str) -> None:
    rule = rules()[alert]
    assert {"namespace", "cache"} <= set(CASES[alert].labels)
    assert "{{ $labels.namespace }}/{{ $labels.cache }}" in rule["annotations"]["summary"]


def test_names_are_ours_alone() -> None:
    names = [rule["alert"] for group in yaml.safe_load(FILE.read_text())["groups"] for rule in group["rules"]]
    assert len(set(names)) == len(names)
    assert [name for name in names if not name.startswith("Cachefleet")] == []


def test_a_rate_must_last_longer_than_its_range() -> None:
    """Else one burst keeps it above its threshold for as long as the range is."""
    for alert, rule in rules().items():
        ranges = re.findall(r"(?:errors|rejected\w+|evicted\w+)_total\{[^\[]*\[(\d+)m\]", rule["expr"])
        assert all(int(minutes) < int(rule["for"].removesuffix("m")) for minutes in ranges), alert


def test_rules_are_well_formed(promtool: Promtool) -> None:
    assert f"SUCCESS: {len(rules())} rules found" in promtool("check", "rules", FILE)

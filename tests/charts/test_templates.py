"""The charts as helm renders them: goldens, and what must hold whatever the values are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cachefleet_operator import settings
from cachefleet_operator.api.objects import Site
from cachefleet_operator.execution.kube.lease import NAME as LEASE
from cachefleet_operator.execution.kube.permissions import lease_rules, rules
from fleettest.helm import CHARTS, NAMESPACE, ROOT, VALUES, Helm, Promtool

GOLDEN = Path(__file__).with_name("golden")
CASES = sorted(tuple(path.stem.split("-", 1)) for path in VALUES.glob("*.yaml"))
SELECTORS = {
    "PodDisruptionBudget": "selector", "NetworkPolicy": "podSelector", "PodMonitor": "selector",
    "ServiceMonitor": "selector",
}  # fmt: skip
OPERATOR_CASES = [values for chart, values in CASES if chart == "cachefleet"]

OUTER = f"{NAMESPACE}.fleet-cachefleet"  # what is not in the release's own namespace

Object = dict[str, Any]
VERSION = yaml.safe_load((CHARTS / "cachefleet" / "Chart.yaml").read_text())["appVersion"]
ROWS: list[Object] = [
    row
    for group in yaml.safe_load((ROOT / "deploy" / "generate" / "alerts.yaml").read_text())["groups"]
    for row in group["rules"]
]


def kept(objects: list[Object]) -> list[Object]:
    """Without what has a test of its own or is a copy of a file: the CRD, dashboards, alerts."""
    found = []
    for obj in sorted(objects, key=lambda o: (o["kind"], o["metadata"].get("namespace", ""), o["metadata"]["name"])):
        if obj["kind"] == "ConfigMap":
            obj = {**obj, "data": dict.fromkeys(obj["data"], "...")}
        if obj["kind"] == "PrometheusRule":
            obj = {**obj, "spec": {"groups": [group["name"] for group in obj["spec"]["groups"]]}}
        if obj["kind"] != "CustomResourceDefinition":
            found.append(obj)
    return found


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    return [obj for obj in objects if obj["kind"] == kind]


def named(objects: list[Object], kind: str, name: str) -> Object:
    (found,) = (obj for obj in of_kind(objects, kind) if obj["metadata"]["name"] == name)
    return found


@pytest.mark.parametrize(("chart", "values"), CASES)
def test_golden(helm: Helm, chart: str, values: str, update_goldens: bool) -> None:
    path = GOLDEN / f"{chart}-{values}.yaml"
    text = yaml.safe_dump_all(kept(helm.template(chart, values)), width=120, explicit_start=True)
    if update_goldens:
        path.write_text(text)
    assert path.read_text() == text, "if this is meant: pytest tests/charts --update-goldens"


@pytest.mark.parametrize(("chart", "values"), CASES)
def test_lint(helm: Helm, chart: str, values: str) -> None:
    said = helm.run("lint", "--strict", str(CHARTS / chart), "--values", str(VALUES / f"{chart}-{values}.yaml"))
    assert "WARNING" not in said and "ERROR" not in said, said


@pytest.mark.parametrize("chart", ["cachefleet", "cache"])
def test_rendering_has_no_chance(helm: Helm, chart: str) -> None:
    """GitOps tools compare what is rendered twice."""
    assert helm.template(chart) == helm.template(chart)


@pytest.mark.parametrize("chart", ["cachefleet", "cache"])
def test_versions_are_the_projects(chart: str) -> None:
    project = next(
        line.split('"')[1] for line in (ROOT / "pyproject.toml").read_text().splitlines() if line.startswith("version")
    )
    found = yaml.safe_load((CHARTS / chart / "Chart.yaml").read_text())
    assert (found["version"], found["appVersion"]) == (project, project)


def test_the_crd_upgrades_with_the_chart_and_stays_without_it(helm: Helm) -> None:
    """Helm upgrades templates (not crds/), and keeps what says so."""
    crd = named(helm.template("cachefleet"), "CustomResourceDefinition", "caches.cachefleet.io")
    assert crd["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert not of_kind(helm.template("cachefleet", "namespaced"), "CustomResourceDefinition")
    assert not (CHARTS / "cachefleet" / "crds").exists()


# -- names


def texts(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """What must be a string: names, namespaces, arguments, and the values of labels, annotations and selectors."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("labels", "annotations", "matchLabels"):
                yield from ((f"{path}.{key}.{name}", text) for name, text in value.items())
            elif key in ("name", "namespace", "serviceAccountName", "priorityClassName"):
                yield f"{path}.{key}", value
            else:
                yield from texts(value, f"{path}.{key}")
    elif isinstance(node, list):
        for element in node:
            yield from texts(element, path)
            if path.endswith(".args"):
                yield path, element


@pytest.mark.parametrize("release", ["123", "true", "1e3"])
def test_names_that_yaml_takes_for_something_else(helm: Helm, release: str) -> None:
    objects = helm.template("cachefleet", "full", "--set", "namespaces={2024,shop,2024}", "-n", "2024", release=release)
    ours = [obj for obj in objects if obj["kind"] != "CustomResourceDefinition"]
    wrong = [found for obj in ours for found in texts(obj, obj["kind"]) if not isinstance(found[1], str)]
    assert not wrong
    roles = [r["metadata"]["namespace"] for r in of_kind(objects, "Role") if r["rules"] == rules()]
    assert roles == ["2024", "shop"]
    (deployment,) = of_kind(objects, "Deployment")
    assert deployment["metadata"]["labels"]["app.kubernetes.io/instance"] == release


@pytest.mark.parametrize("values", OPERATOR_CASES)
def test_releases_of_one_name_in_two_namespaces_share_nothing(helm: Helm, values: str) -> None:
    """But for the CRD, which one of them installs."""

    def made(namespace: str) -> set[tuple[str, str, str]]:
        objects = helm.template("cachefleet", values, "-n", namespace, "--set", "crds.install=false")
        return {(o["kind"], o["metadata"].get("namespace", ""), o["metadata"]["name"]) for o in objects}

    assert not made("one") & made("two")


@pytest.mark.parametrize("name", ["true", "null", "yes"])
def test_a_cache_may_have_a_name_that_yaml_takes_for_something_else(helm: Helm, name: str) -> None:
    (cache,) = helm.template("cache", "default", "-n", "2024", release=name)
    assert (cache["metadata"]["name"], cache["metadata"]["namespace"]) == (name, "2024")


# -- the operator's pods


@pytest.mark.parametrize("values", OPERATOR_CASES)
def test_the_operator_reads_every_variable_that_the_chart_sets(helm: Helm, values: str) -> None:
    (deployment,) = of_kind(helm.template("cachefleet", values), "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    given = yaml.safe_load((VALUES / f"cachefleet-{values}.yaml").read_text())
    extra = given.get("extraEnv", [])
    ours = container["env"][: len(container["env"]) - len(extra)]
    assert ours + extra == container["env"]
    environment = {v["name"]: v.get("value", "from-the-pod") for v in ours}
    assert set(environment) == {variable.name for variable in settings.VARIABLES.values()}
    read = settings.read(environment)
    assert list(read.namespaces) == list(dict.fromkeys(given.get("namespaces", [])))
    assert read.log_level == given.get("logLevel", "info")
    probes = given.get("probeSeconds", 1), given.get("probeSingleSeconds", 10)
    assert (read.probe_s, read.probe_single_s) == probes
    caches = given.get("caches", {})
    assert list(read.image_pull_secrets) == [secret["name"] for secret in caches.get("imagePullSecrets", [])]
    assert read.storage_class == caches.get("storageClassName", "")
    assert read.priority_class == caches.get("priorityClassName", "")
    assert read.labels == caches.get("labels", {})
    assert read.fixed_user == caches.get("fixedUser", True)
    assert read.server_image == given.get("server", {}).get("repository", "cachefleet/server")
    assert [port["containerPort"] for port in container["ports"]] == [read.http_port]


@pytest.mark.parametrize("values", OPERATOR_CASES)
def test_selectors_mean_the_operators_pods_and_no_others(helm: Helm, values: str) -> None:
    objects = helm.template("cachefleet", values)
    (deployment,) = of_kind(objects, "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    (test_pod,) = of_kind(objects, "Pod")
    selectors = [deployment["spec"]["selector"]["matchLabels"]]
    for kind, field in SELECTORS.items():
        selectors += [obj["spec"][field]["matchLabels"] for obj in of_kind(objects, kind)]
    for selector in selectors:
        assert selector.items() <= labels.items()
        assert not selector.items() <= test_pod["metadata"]["labels"].items()
    # The policies of Caches let in the operator by this label.
    assert Site("image", "version").operator_labels.items() <= labels.items()


def test_the_image_is_a_tag_or_a_digest(helm: Helm) -> None:
    def image(*flags: str) -> str:
        (deployment,) = of_kind(helm.template("cachefleet", "default", *flags), "Deployment")
        return str(deployment["spec"]["template"]["spec"]["containers"][0]["image"])

    digest = f"sha256:{'0a' * 32}"
    assert image() == f"cachefleet/operator:{VERSION}"
    assert image("--set", "image.tag=v9") == "cachefleet/operator:v9"
    assert image("--set", f"image.tag=v9,image.digest={digest}") == f"cachefleet/operator@{digest}"


@pytest.mark.parametrize("values", ["full", "openshift"])
def test_users_can_be_left_to_openshift(helm: Helm, values: str) -> None:
    """restricted-v2 refuses users, groups and profiles that are not its own, and wants the rest of `restricted`."""
    objects = helm.template("cachefleet", values)
    pods = [of_kind(objects, "Deployment")[0]["spec"]["template"], of_kind(objects, "Pod")[0]]
    for spec in (pod["spec"] for pod in pods):
        assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
        for container in spec["containers"]:
            context = container["securityContext"]
            assert (context["allowPrivilegeEscalation"], context["capabilities"]) == (False, {"drop": ["ALL"]})


def test_common_labels_are_on_every_object_and_in_no_selector(helm: Helm) -> None:
    """`full` asks for another app.kubernetes.io/name, too: ours wins."""
    objects = helm.template("cachefleet", "full")
    assert [o["kind"] for o in objects if o["metadata"]["labels"].get("cost") != "platform"] == []
    assert {o["metadata"]["labels"]["app.kubernetes.io/name"] for o in objects} <= {
        "cachefleet-operator", "cachefleet-test",
    }  # fmt: skip
    (deployment,) = of_kind(objects, "Deployment")
    assert "cost" not in deployment["spec"]["selector"]["matchLabels"]


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        ("", "fleet-cachefleet"),
        ("nameOverride=caches", "fleet-caches"),
        ("nameOverride=fleet", "fleet"),
        ("fullnameOverride=op,nameOverride=caches", "op"),
    ],
)
def test_names_can_be_chosen(helm: Helm, flags: str, name: str) -> None:
    objects = helm.template("cachefleet", "default", "--set", flags)
    (deployment,) = of_kind(objects, "Deployment")
    assert deployment["metadata"]["name"] == name
    for obj in objects:
        if obj["kind"] != "CustomResourceDefinition":
            assert obj["metadata"]["name"].startswith((name, f"{NAMESPACE}.{name}")), obj["metadata"]["name"]


def test_a_spread_means_our_pods_unless_it_says_which(helm: Helm) -> None:
    (deployment,) = of_kind(helm.template("cachefleet", "full"), "Deployment")
    ours, theirs = (c["labelSelector"] for c in deployment["spec"]["template"]["spec"]["topologySpreadConstraints"])
    assert ours == {"matchLabels": deployment["spec"]["selector"]["matchLabels"]}
    assert theirs == {"matchLabels": {"team": "platform"}}


def test_one_replica_has_no_disruption_budget(helm: Helm) -> None:
    """It would keep a node from being drained."""
    assert not of_kind(helm.template("cachefleet", "namespaced"), "PodDisruptionBudget")
    assert of_kind(helm.template("cachefleet"), "PodDisruptionBudget")


# -- rights


def test_cluster_wide_it_has_the_rights_that_it_uses(helm: Helm) -> None:
    objects = helm.template("cachefleet")
    assert named(objects, "ClusterRole", OUTER)["rules"] == rules()
    assert [b["roleRef"]["name"] for b in of_kind(objects, "ClusterRoleBinding")] == [OUTER]
    assert named(objects, "Role", "fleet-cachefleet-lease")["rules"] == lease_rules(LEASE)


def test_namespaced_it_has_rights_in_its_namespaces_only(helm: Helm) -> None:
    objects = helm.template("cachefleet", "namespaced")
    assert not of_kind(objects, "ClusterRole") and not of_kind(objects, "ClusterRoleBinding")
    granted = {r["metadata"]["namespace"]: r["rules"] for r in of_kind(objects, "Role") if r["rules"] == rules()}
    assert set(granted) == {"shop", "billing"}
    account = {"kind": "ServiceAccount", "name": "fleet-cachefleet", "namespace": NAMESPACE}
    bound = [b for b in of_kind(objects, "RoleBinding") if b["roleRef"]["name"] == OUTER]
    assert {b["metadata"]["namespace"]: b["subjects"] for b in bound} == {namespace: [account] for namespace in granted}


@pytest.mark.parametrize("values", OPERATOR_CASES)
def test_every_binding_names_a_role_and_an_account_that_exist(helm: Helm, values: str) -> None:
    objects = helm.template("cachefleet", values)
    here = {(o["kind"], o["metadata"].get("namespace", ""), o["metadata"]["name"]) for o in objects}
    bindings = of_kind(objects, "RoleBinding") + of_kind(objects, "ClusterRoleBinding")
    assert bindings
    for binding in bindings:
        role = binding["roleRef"]
        scope = binding["metadata"].get("namespace", "") if role["kind"] == "Role" else ""
        assert (role["kind"], scope, role["name"]) in here
        for subject in binding["subjects"]:
            assert (subject["kind"], subject["namespace"], subject["name"]) in here


# -- monitoring


def test_a_service_monitor_finds_the_operators_service_and_port(helm: Helm) -> None:
    objects = helm.template("cachefleet", "openshift")
    assert not of_kind(objects, "PodMonitor")
    (monitor,), (service,) = of_kind(objects, "ServiceMonitor"), of_kind(objects, "Service")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (endpoint,), (port,) = monitor["spec"]["endpoints"], service["spec"]["ports"]
    (deployment,) = of_kind(objects, "Deployment")
    pod = deployment["spec"]["template"]
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert (endpoint["port"], port["targetPort"]) == (port["name"], pod["spec"]["containers"][0]["ports"][0]["name"])
    assert endpoint["honorLabels"] is True


def test_monitoring_is_made_when_asked_for(helm: Helm) -> None:
    kinds = ("PodMonitor", "PrometheusRule", "ConfigMap")
    assert not [obj for kind in kinds for obj in of_kind(helm.template("cachefleet"), kind)]
    full = helm.template("cachefleet", "full")
    assert [len(of_kind(full, kind)) for kind in kinds] == [1, 1, 3]
    boards = {name: text for obj in of_kind(full, "ConfigMap") for name, text in obj["data"].items()}
    assert boards == {path.name: path.read_text() for path in (ROOT / "deploy" / "dashboards").glob("*.json")}


def rule_file() -> Object:
    return dict(yaml.safe_load((ROOT / "deploy" / "alerts" / "cachefleet.yaml").read_text()))


def by_name(spec: Object) -> dict[str, Object]:
    return {rule["alert"]: rule for group in spec["groups"] for rule in group["rules"]}


def alerts(helm: Helm, **values: Any) -> Object:
    """The spec of the PrometheusRule for these values of `prometheusRule`."""
    given = ("--set-json", f"prometheusRule={json.dumps({'enabled': True, **values})}")
    (made,) = of_kind(helm.template("cachefleet", "default", *given), "PrometheusRule")
    return dict(made["spec"])


def test_alerts_are_those_of_the_rule_file(helm: Helm) -> None:
    assert alerts(helm) == rule_file()


def test_alerts_link_to_the_runbook_that_is_named(helm: Helm) -> None:
    rules = by_name(alerts(helm, runbook="https://wiki.test/cachefleet"))
    links = {name: rule["annotations"]["runbook_url"] for name, rule in rules.items()}
    assert links == {name: f"https://wiki.test/cachefleet#{name.lower()}" for name in by_name(rule_file())}


@pytest.mark.parametrize("first", [0, 1])
def test_alerts_can_be_switched_off(helm: Helm, first: int) -> None:
    off = {row["alert"] for row in ROWS[first::2]}
    made = by_name(alerts(helm, alerts={name: {"enabled": False} for name in off}))
    assert made == {name: rule for name, rule in by_name(rule_file()).items() if name not in off}


def test_no_alert_at_all(helm: Helm) -> None:
    assert alerts(helm, alerts={name: {"enabled": False} for name in by_name(rule_file())}) == {"groups": []}


@pytest.mark.parametrize("low", [0, 0.25, 12345678])
def test_alerts_can_be_changed(helm: Helm, low: float) -> None:
    """Each by itself; zero, fractions and large numbers are thresholds, too."""
    given: dict[str, Object] = {
        row["alert"]: {"for": f"{number + 1}h30m", "severity": "info"}
        | ({"threshold": low + number} if "threshold" in row else {})
        for number, row in enumerate(ROWS)
    }
    made = by_name(alerts(helm, alerts=given))
    for row in ROWS:
        rule, wish = made[row["alert"]], given[row["alert"]]
        assert (rule["for"], rule["labels"]) == (wish["for"], {"severity": "info"})
        assert ("THRESHOLD" in row["expr"]) == ("threshold" in row)
        before, _, after = row["expr"].partition("THRESHOLD")
        assert rule["expr"].startswith(before) and rule["expr"].endswith(after)
        number = rule["expr"][len(before) : len(rule["expr"]) - len(after)]
        assert float(number or 0) == wish.get("threshold", 0)


def test_alerts_get_labels_for_their_way_to_people(helm: Helm) -> None:
    """Ours win."""
    made, plain = by_name(alerts(helm, alertLabels={"team": "caches", "severity": "none"})), by_name(rule_file())
    assert {n: r["labels"] for n, r in made.items()} == {n: {"team": "caches", **r["labels"]} for n, r in plain.items()}


def test_changed_alerts_are_rules_that_prometheus_takes(helm: Helm, promtool: Promtool, tmp_path: Path) -> None:
    changes = {row["alert"]: {"threshold": 7e9} for row in ROWS if "threshold" in row}
    (file := tmp_path / "rules.yaml").write_text(yaml.safe_dump(alerts(helm, alerts=changes)))
    assert f"SUCCESS: {len(ROWS)} rules found" in promtool("check", "rules", file)


# -- the chart of one Cache


def test_a_cache_is_what_the_values_say(helm: Helm) -> None:
    """Whole numbers stay whole: helm reads them as floats."""
    (cache,) = helm.template("cache", "full")
    assert cache["spec"] == yaml.safe_load((VALUES / "cache-full.yaml").read_text())["spec"]
    assert cache["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"
    (plain,) = helm.template("cache")
    assert (plain["metadata"]["name"], plain["spec"]) == ("fleet", {})

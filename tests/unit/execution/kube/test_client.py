"""Our calls of the Kubernetes API against a server that answers as it is told: paths, bodies, retries, words."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration

from cachefleet_operator.api import names
from cachefleet_operator.execution.kube import client as kube_module
from cachefleet_operator.execution.kube.client import ApiError, Kube, NotLeading
from cachefleet_operator.execution.kube.kinds import KINDS

pytestmark = pytest.mark.asyncio

SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "orders-rw", "namespace": "shop"}}
STATEFULSET = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "orders"}}


def status(code: int, message: str, reason: str = "") -> tuple[int, str, dict[str, str]]:
    return code, json.dumps({"kind": "Status", "message": message, "reason": reason, "code": code}), {}


class Api:
    """Answers in turn; the last one for ever. What was asked is in `asked` as (method, path?query, type, body)."""

    def __init__(self, *answers: tuple[int, str, dict[str, str]] | None) -> None:
        self.answers = list(answers) or [(200, "{}", {})]
        self.asked: list[tuple[str, str, str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.counted: list[tuple[str, str, int]] = []

    async def handle(self, request: web.Request) -> web.Response:
        text = await request.text()
        self.headers.append(dict(request.headers))
        kind = request.headers["Content-Type"]
        self.asked.append((request.method, request.raw_path, kind, json.loads(text) if text else None))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is None:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        return web.Response(status=answer[0], text=answer[1], headers=answer[2])

    def count(self, verb: str, kind: str, code: int) -> None:
        self.counted.append((verb, kind, code))


@asynccontextmanager
async def serving(api: Api, **options: Any) -> AsyncIterator[Kube]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    configuration = Configuration(host=f"http://{host}:{port}", api_key={"BearerToken": "Bearer t0ken"})
    kube = Kube(ApiClient(configuration), counted=api.count, **options)
    try:
        yield kube
    finally:
        await kube.close()
        await runner.cleanup()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube_module, "BACK_OFF_S", (0.0, 0.0, 0.0))


async def test_what_is_asked() -> None:
    api = Api((200, '{"metadata": {"resourceVersion": "7"}}', {}))
    async with serving(api) as kube:
        await kube.get("Secret", "shop", "orders-auth")
        await kube.apply("shop", SERVICE)
        await kube.create("shop", SERVICE)
        await kube.merge("Cache", "shop", "orders", {"status": {}}, "status")
        await kube.delete("StatefulSet", "shop", "orders", "u1", orphan=True)
        await kube.delete("Pod", "shop", "orders-0", "u2")
        await kube.replace("ops", {"kind": "Lease", "metadata": {"name": "l"}})
        await kube.list_metadata("Cache", None)
        await kube.list_metadata("Service", "shop")
        await kube.events_of("shop", "u3", "FailedCreate")
    plain, manager = "application/json", "fieldManager=cachefleet-operator"
    options = {"apiVersion": "v1", "kind": "DeleteOptions"}
    assert api.asked == [
        ("GET", "/api/v1/namespaces/shop/secrets/orders-auth", plain, None),
        ("PATCH", f"/api/v1/namespaces/shop/services/orders-rw?{manager}&force=true", kube_module.APPLY, SERVICE),
        ("POST", f"/api/v1/namespaces/shop/services?{manager}", plain, SERVICE),
        ("PATCH", f"/apis/cachefleet.io/v1alpha1/namespaces/shop/caches/orders/status?{manager}", kube_module.MERGE,
         {"status": {}}),
        ("DELETE", "/apis/apps/v1/namespaces/shop/statefulsets/orders", plain,
         {**options, "preconditions": {"uid": "u1"}, "propagationPolicy": "Orphan"}),
        ("DELETE", "/api/v1/namespaces/shop/pods/orders-0", plain,
         {**options, "preconditions": {"uid": "u2"}, "propagationPolicy": "Background"}),
        ("PUT", "/apis/coordination.k8s.io/v1/namespaces/ops/leases/l", plain,
         {"kind": "Lease", "metadata": {"name": "l"}}),
        ("GET", "/apis/cachefleet.io/v1alpha1/caches", plain, None),
        ("GET", "/api/v1/namespaces/shop/services?labelSelector=cachefleet.io/cache,app.kubernetes.io/"
         "name%3Dcachefleet", plain, None),
        ("GET", "/apis/events.k8s.io/v1/namespaces/shop/events?fieldSelector=regarding.uid%3Du3,reason%3DFailedCreate",
         plain, None),
    ]  # fmt: skip
    assert {h["Authorization"] for h in api.headers} == {"Bearer t0ken"}
    assert {h["User-Agent"] for h in api.headers} == {"cachefleet-operator"}
    assert api.counted[:3] == [("get", "Secret", 200), ("apply", "Service", 200), ("create", "Service", 200)]


@pytest.mark.parametrize("kind", sorted(kind.name for kind in KINDS.values() if "delete" in kind.verbs))
async def test_nobody_is_deleted_before_its_grace_is_over(kind: str) -> None:
    """A pod that is deleted by force may go on writing on a node that is away, beside the one that takes its place."""
    api = Api((200, "{}", {}))
    async with serving(api) as kube:
        await kube.delete(kind, "shop", "orders-0", "u1")
        await kube.delete(kind, "shop", "orders-0", "u1", orphan=True)
    for method, path, _, options in api.asked:
        assert (method, path.partition("?")[1:]) == ("DELETE", ("", ""))
        assert options.keys() == {"apiVersion", "kind", "preconditions", "propagationPolicy"}


async def test_there_is_no_other_way_to_delete() -> None:
    """Nor a grace that is said elsewhere, nor an eviction."""
    other = re.compile(r"\bgracePeriodSeconds|\bgrace_period|/eviction|delete_namespaced_(pod|stateful)")
    for path in Path(kube_module.__file__).parents[2].rglob("*.py"):
        text = path.read_text()
        assert not other.search(text), path
        assert path.name == "client.py" or '"DELETE"' not in text, path


async def test_the_newest_event_is_the_last() -> None:
    """Controllers write events of the old kind, whose time of the last is elsewhere."""
    items = [{"note": "a", "deprecatedLastTimestamp": "2026-01-01T00:00:09Z", "eventTime": None},
             {"note": "b", "eventTime": "2026-01-01T00:00:05.000000Z"}]  # fmt: skip
    async with serving(Api((200, json.dumps({"items": items}), {}))) as kube:
        assert [e["note"] for e in await kube.events_of("shop", "u", "x")] == ["b", "a"]


async def test_claims_are_selected_by_the_only_labels_that_they_have() -> None:
    """The StatefulSet controller gives them those of its selector, and nothing else."""
    labels = names.selector_labels("orders")
    key, _, equation = kube_module.SELECTOR.partition(",")
    name, _, value = equation.partition("=")
    assert labels[key] == "orders"
    assert labels[name] == value


@pytest.mark.parametrize("name", ["../../nodes/n", "..", "a/b", "A", "", "a b", "a%2fb", "a?x=y"])
async def test_no_name_reaches_another_path(name: str) -> None:
    api = Api()
    async with serving(api) as kube:
        assert await kube.get("Secret", "shop", name) is None
    assert not api.asked


async def test_a_kind_that_is_not_in_the_table_is_a_bug() -> None:
    async with serving(Api()) as kube:
        with pytest.raises(KeyError):
            await kube.get("Node", "shop", "n")


@pytest.mark.parametrize(
    "answer", [status(429, "slow"), status(500, "oops"), status(503, "later"), (502, "<html>", {}), None]
)
async def test_what_may_pass_is_tried_again(answer: tuple[int, str, dict[str, str]] | None) -> None:
    api = Api(answer, answer, (200, '{"kind": "Service"}', {}))
    async with serving(api) as kube:
        assert await kube.apply("shop", SERVICE) == {"kind": "Service"}
    assert len(api.asked) == 3
    assert len({json.dumps(asked) for asked in api.asked}) == 1


async def test_what_does_not_pass_ends_with_the_servers_words() -> None:
    api = Api(status(500, "failed calling webhook", "InternalError"))
    async with serving(api) as kube:
        with pytest.raises(ApiError, match=r"^failed calling webhook$") as error:
            await kube.apply("shop", SERVICE)
    assert (error.value.code, error.value.reason, error.value.for_good) == (500, "InternalError", False)
    assert len(api.asked) == 1 + len(kube_module.BACK_OFF_S)


async def test_a_field_that_no_schema_has_is_refused_for_good() -> None:
    """The API server says it with a 500 and without a reason (kubernetes/kubernetes#122480)."""
    words = "failed to create typed patch object (shop/orders; apps/v1, Kind=StatefulSet): .x: field not declared"
    api = Api(status(500, words))
    async with serving(api) as kube:
        with pytest.raises(ApiError, match=r"field not declared") as error:
            await kube.apply("shop", STATEFULSET)
    assert error.value.for_good
    assert len(api.asked) == 1


async def test_nobody_answers() -> None:
    api = Api(None)
    async with serving(api) as kube:
        with pytest.raises(ApiError, match=r"^the API server does not answer: ") as error:
            await kube.apply("shop", SERVICE)
    assert error.value.code == 0
    assert api.counted == [("apply", "Service", 0)] * 4


async def test_a_try_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(Api):
        async def handle(self, request: web.Request) -> web.Response:
            await asyncio.Event().wait()
            return web.Response()

    monkeypatch.setattr(kube_module, "WRITE_S", 0.05)
    async with serving(Slow()) as kube:
        with pytest.raises(ApiError, match="the API server does not answer"):
            await kube.apply("shop", SERVICE)


@pytest.mark.parametrize(
    ("code", "for_good", "conflict"),
    [(400, True, False), (401, False, False), (403, True, False), (404, False, False), (409, False, True),
     (422, True, False)],
)  # fmt: skip
async def test_what_is_refused_is_asked_once(code: int, for_good: bool, conflict: bool) -> None:
    api = Api(status(code, "Forbidden: no"))
    async with serving(api) as kube:
        with pytest.raises(ApiError, match=r"^Forbidden: no$") as error:
            await kube.apply("shop", SERVICE)
    assert (error.value.for_good, error.value.conflict) == (for_good, conflict)
    assert len(api.asked) == 1


@pytest.mark.parametrize("body", ["<html>502</html>", "", "[]", "null", '"x"', "x" * 100_000])
async def test_answers_that_are_no_status(body: str) -> None:
    async with serving(Api((403, body, {}))) as kube:
        with pytest.raises(ApiError, match=r"^HTTP 403: ") as error:
            await kube.apply("shop", SERVICE)
    assert len(str(error.value)) <= kube_module.WORDS_MAX


async def test_there_is_none() -> None:
    async with serving(Api(status(404, "not found"))) as kube:
        assert await kube.get("Secret", "shop", "x") is None


@pytest.mark.parametrize("code", [404, 409])
async def test_deleting_what_is_gone_is_success(code: int) -> None:
    async with serving(Api(status(code, "gone"))) as kube:
        await kube.delete("Pod", "shop", "orders-0", "u1")


async def test_retry_after_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(kube_module.asyncio, "sleep", sleep)
    late = [(429, "{}", {"Retry-After": after}) for after in ("1", "9999", "soon")]
    async with serving(Api(*late, (200, "{}", {}))) as kube:
        await kube.apply("shop", SERVICE)
    assert slept[:3] == [1.0, kube_module.RETRY_AFTER_S_MAX, 0.0]


async def test_who_does_not_lead_writes_nothing_but_the_lease() -> None:
    api = Api((200, '{"metadata": {}}', {}))
    async with serving(api, allowed=lambda: False) as kube:
        for write in (
            kube.apply("shop", SERVICE),
            kube.create("shop", SERVICE),
            kube.merge("Cache", "shop", "orders", {}, "status"),
            kube.delete("Pod", "shop", "orders-0", "u"),
        ):
            with pytest.raises(NotLeading):
                await write
        assert not api.asked
        await kube.replace("ops", {"kind": "Lease", "metadata": {"name": "l"}})
        await kube.get("Secret", "shop", "x")
    assert [method for method, *_ in api.asked] == ["PUT", "GET"]


async def test_leadership_lost_between_two_tries_stops_the_second() -> None:
    leads = [True, False]
    api = Api(status(503, "later"))
    async with serving(api, allowed=lambda: leads.pop(0)) as kube:
        with pytest.raises(NotLeading):
            await kube.apply("shop", SERVICE)
    assert len(api.asked) == 1


async def test_which_kinds_the_cluster_has() -> None:
    class Discovery(Api):
        async def handle(self, request: web.Request) -> web.Response:
            if request.path.endswith("/monitoring.coreos.com/v1"):
                found = [{"name": "podmonitors", "kind": "PodMonitor"}, {"name": "podmonitors/status", "kind": "X"}]
                return web.json_response({"resources": found})
            return web.json_response({"kind": "Status"}, status=404)

    async with serving(Discovery()) as kube:
        assert await kube.served() == {"PodMonitor"}


async def test_an_api_that_is_away_is_not_an_api_without_kinds() -> None:
    for answer in (None, status(503, "later")):
        async with serving(Api(answer)) as kube:
            with pytest.raises(ApiError):
                await kube.served()

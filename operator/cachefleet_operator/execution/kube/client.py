"""Our calls of the Kubernetes API: plain dicts in and out, for the kinds of kinds.py alone.

Writes go through server-side apply (one field manager, forced) or a merge patch; nothing is read, changed and put back,
but for the Lease. Each try has a deadline; too many requests, server errors and a broken network are tried again with
back-off (every call here may be done twice), everything else at once becomes an ApiError with the API server's words.

`allowed` is asked before each write: an operator that lost its Lease while it slept must not finish what it began.
Raw calls of kubernetes.aio's ApiClient cost 1 MB of memory; its typed models would cost 25.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Object
from cachefleet_operator.execution.errors import ExecutionError
from cachefleet_operator.execution.kube.kinds import CACHE, EVENT, KINDS, LEASE, OPTIONAL, Kind

READ_S = 30.0
WRITE_S = 5.0  # not longer than a lost Lease stays ours: lease.DURATION_S - RENEW_S
BACK_OFF_S = (0.2, 0.6, 1.8)  # between tries
RETRY_AFTER_S_MAX = 5.0
AGAIN = frozenset((429, 500, 502, 503, 504))
# What server-side apply says of a field that its schema lacks. It comes as a 500, and the same patch has it always.
UNTYPED = "failed to create typed patch object"
WORDS_MAX = 1024
CONNECTIONS_MAX = 16

APPLY, MERGE, JSON = "application/apply-patch+yaml", "application/merge-patch+json", "application/json"
METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
# What all of ours have: a StatefulSet gives its claims no other labels than those that it selects its pods by.
SELECTOR = f"{names.LABEL_CACHE},{names.LABEL_APP}={names.APP}"

# No path can be made of anything else.
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")

Counted = Callable[[str, str, int], None]  # verb, kind, HTTP code (0: no answer)


class ApiError(ExecutionError):
    """The API server said no, or nothing. `code` is HTTP's, 0 without an answer."""

    def __init__(self, words: str, code: int = 0, reason: str = "") -> None:
        super().__init__(words, conflict=code == 409, final=not code)
        self.code, self.reason = code, reason

    @property
    def for_good(self) -> bool:
        """The same request will be refused again: invalid, or forbidden."""
        return self.code in (400, 403, 405, 413, 415, 422) or str(self).startswith(UNTYPED)


class NotLeading(ExecutionError):
    """We may not write (any more)."""


async def connect() -> ApiClient:
    """A client of the cluster that we run in, or else of the kubeconfig."""
    configuration = Configuration()
    try:
        load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    except ConfigException:
        await load_kube_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    configuration.connection_pool_maxsize = CONNECTIONS_MAX
    return ApiClient(configuration)


class Kube:
    def __init__(
        self,
        client: ApiClient,
        *,
        allowed: Callable[[], bool] = lambda: True,
        counted: Counted = lambda verb, kind, code: None,
    ) -> None:
        self._client: Any = client  # Its methods have no types.
        self._allowed, self._counted = allowed, counted

    async def close(self) -> None:
        await self._client.close()

    def must_lead(self) -> None:
        """Raises NotLeading if we may not change anything (any more), the servers included."""
        if not self._allowed():
            raise NotLeading("this operator does not lead any more", final=True)

    # -- reading

    async def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """None: there is none."""
        if not _NAME.fullmatch(name):
            return None  # No object has such a name.
        try:
            return await self._call("get", KINDS[kind], namespace, name)
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    async def list_metadata(self, kind: str, namespace: str | None) -> tuple[list[Object], str]:
        """Metadata of all that we watch of a kind (in one namespace or all), and the resourceVersion of the list."""
        query = {} if kind == CACHE.name else {"labelSelector": SELECTOR}
        found = await self._call("list", KINDS[kind], namespace, query=query, headers={"Accept": METADATA})
        return found.get("items") or [], found["metadata"]["resourceVersion"]

    async def events_of(self, namespace: str, uid: str, reason: str) -> list[Object]:
        """What somebody's events say of one object; the newest last."""
        query = {"fieldSelector": f"regarding.uid={uid},reason={reason}"}
        found = (await self._call("list", EVENT, namespace, query=query)).get("items") or []
        return sorted(found, key=lambda e: e.get("deprecatedLastTimestamp") or e.get("eventTime") or "")

    async def served(self) -> frozenset[str]:
        """Which of the kinds that come as CRDs the cluster has: the Cache, and the optional ones."""
        versions = {KINDS[kind].api_version for kind in (CACHE.name, *OPTIONAL)}
        return frozenset().union(*[await self._served(version) for version in sorted(versions)])

    # -- writing

    async def apply(self, namespace: str, obj: Object) -> Object:
        """Server-side apply of the whole object, as it lives afterwards."""
        query = {"fieldManager": names.FIELD_MANAGER, "force": "true"}
        name = obj["metadata"]["name"]
        return await self._call("apply", KINDS[obj["kind"]], namespace, name, obj, query, {"Content-Type": APPLY})

    async def create(self, namespace: str, obj: Object) -> Object:
        query = {"fieldManager": names.FIELD_MANAGER}
        return await self._call("create", KINDS[obj["kind"]], namespace, body=obj, query=query)

    async def merge(self, kind: str, namespace: str, name: str, patch: Object, subresource: str = "") -> Object:
        """JSON merge patch. With metadata.resourceVersion or uid in it, it is refused if that has changed."""
        query, headers = {"fieldManager": names.FIELD_MANAGER}, {"Content-Type": MERGE}
        return await self._call("patch", KINDS[kind], namespace, name, patch, query, headers, subresource)

    async def delete(self, kind: str, namespace: str, name: str, uid: str, *, orphan: bool = False) -> None:
        """Deletes this very object; that it is gone already, or another one has its name, is success."""
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid},
            "propagationPolicy": "Orphan" if orphan else "Background",
        }
        try:
            await self._call("delete", KINDS[kind], namespace, name, body)
        except ApiError as error:
            if error.code not in (404, 409):
                raise

    async def replace(self, namespace: str, obj: Object) -> Object:
        """PUT with the resourceVersion in it: for the Lease alone, which is what decides whether we may write."""
        return await self._call("update", KINDS[obj["kind"]], namespace, obj["metadata"]["name"], obj)

    # -- how

    async def _served(self, api_version: str) -> set[str]:
        try:
            status, _, body = await self._request("GET", f"/apis/{api_version}", None, {})
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ApiError(f"the API server does not answer: {error or type(error).__name__}") from None
        if status == 404:
            return set()
        if status != 200:
            raise ApiError(_words(body, status), status)
        return {resource["kind"] for resource in json.loads(body)["resources"] if "/" not in resource["name"]}

    async def _call(
        self,
        verb: str,
        kind: Kind,
        namespace: str | None,
        name: str = "",
        body: Object | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        subresource: str = "",
    ) -> dict[str, Any]:
        path = _path(kind, namespace, name, subresource) + (f"?{urlencode(query)}" if query else "")
        delays = iter(BACK_OFF_S)
        while True:
            if verb not in ("get", "list") and kind != LEASE:
                self.must_lead()
            code, retry_after_s, text = 0, 0.0, b""
            try:
                code, retry_after_s, text = await self._request(_METHODS[verb], path, body, headers or {})
                words = "" if code < 300 else _words(text, code)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                words = f"the API server does not answer: {str(error) or type(error).__name__}"
            self._counted(verb, kind.name, code)
            if not words:
                return dict(json.loads(text))
            answer = ApiError(words, code, _reason(text))
            passing = not answer.for_good and (code in AGAIN or not code)
            delay_s = next(delays, None) if passing else None
            if delay_s is None:
                raise answer
            await asyncio.sleep(max(delay_s * random.uniform(0.5, 1.5), min(retry_after_s, RETRY_AFTER_S_MAX)))

    async def _request(
        self, method: str, path: str, body: Object | None, headers: Mapping[str, str]
    ) -> tuple[int, float, bytes]:
        sent = {"Content-Type": JSON, "Accept": JSON, "User-Agent": names.FIELD_MANAGER, **headers}
        await self._client.update_params_for_auth(sent, [], ["BearerToken"], path, method, body)
        url = self._client.configuration.host + path
        timeout = aiohttp.ClientTimeout(total=READ_S if method == "GET" else WRITE_S)
        response = await self._client.rest_client.request(method, url, sent, body, _request_timeout=timeout)
        text = await response.read()
        return response.status, _number(response.headers.get("Retry-After")), text


_METHODS = {
    "get": "GET", "list": "GET", "apply": "PATCH", "patch": "PATCH", "create": "POST", "update": "PUT",
    "delete": "DELETE",
}  # fmt: skip


def _path(kind: Kind, namespace: str | None, name: str, subresource: str) -> str:
    root = f"/apis/{kind.api_version}" if kind.group else f"/api/{kind.api_version}"
    place = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
    return "/".join(filter(None, (f"{root}{place}/{kind.plural}", quote(name, safe=""), subresource)))


def _status(text: bytes) -> dict[str, Any]:
    """The Status object of a refusal; empty if it is none (a proxy's page)."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _words(text: bytes, code: int) -> str:
    words = _status(text).get("message") or f"HTTP {code}: {text.decode(errors='replace').strip()}"
    return str(words)[:WORDS_MAX]


def _reason(text: bytes) -> str:
    return str(_status(text).get("reason", ""))


def _number(text: str | None) -> float:
    try:
        return max(0.0, float(text or 0))
    except ValueError:
        return 0.0

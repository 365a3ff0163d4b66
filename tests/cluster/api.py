"""A client of the Kubernetes API in the standard library's terms: for what runs inside the cluster's own scripts.

It reads the kubeconfig files that `pki` writes (JSON, certificates inside). Tests talk through kubectl instead.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import tempfile
import urllib.parse
from pathlib import Path
from typing import Any, Final

TIMEOUT_S: Final = 10.0
APPLICATION_JSON: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"


class ApiError(OSError):
    """A reply that is no success."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status


class Api:
    """One request a connection: a restarted API server needs no care."""

    def __init__(self, kubeconfig: Path, agent: str = "cluster") -> None:
        config = json.loads(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self._url = urllib.parse.urlsplit(cluster["server"])
        self._agent = agent
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._context = ssl.create_default_context(cadata=authority)
        with tempfile.NamedTemporaryFile() as pem:
            for field in ("client-certificate-data", "client-key-data"):
                pem.write(base64.b64decode(user[field]))
            pem.flush()
            self._context.load_cert_chain(pem.name)

    def get(self, path: str) -> Any:
        return json.loads(self._request("GET", path))

    def post(self, path: str, body: object) -> None:
        self._request("POST", path, body)

    def patch(self, path: str, body: object) -> None:
        self._request("PATCH", path, body, MERGE_PATCH)

    def delete(self, path: str) -> None:
        self._request("DELETE", path)

    def ready(self) -> bool:
        return self._request("GET", "/readyz") == b"ok"

    def _request(self, method: str, path: str, body: object = None, content: str = APPLICATION_JSON) -> bytes:
        connection = http.client.HTTPSConnection(
            self._url.hostname or "", self._url.port, timeout=TIMEOUT_S, context=self._context
        )
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"Content-Type": content, "User-Agent": self._agent})
            reply = connection.getresponse()
            data = reply.read()
        except http.client.HTTPException as error:
            raise OSError(f"{method} {path}: {error!r}") from error
        finally:
            connection.close()
        if reply.status >= 300:
            raise ApiError(reply.status, data.decode(errors="replace"))
        return data

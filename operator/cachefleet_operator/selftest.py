"""`helm test`: makes a Cache, waits until it is Ready, writes and reads through its Service, and deletes it.

Runs in a pod of the operator's image with a ServiceAccount of its own (charts/cachefleet/templates/tests). Prints what
it does; exits 1 with the Cache's own words when it does not become Ready in time.
"""

from __future__ import annotations

import argparse
import sys
import time
from base64 import b64decode
from typing import Any

import redis
from kubernetes import client, config

from cachefleet_operator.api import names
from cachefleet_operator.api.v1alpha1 import API_VERSION, GROUP, KIND, PLURAL, VERSION

READY_S = 180.0
POLL_S = 1.0


def main() -> int:
    parser = argparse.ArgumentParser(description="Try a Cache in the cluster that this pod runs in.")
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--name", required=True)
    given = parser.parse_args()
    config.load_incluster_config()  # type: ignore[no-untyped-call]
    caches = client.CustomObjectsApi()
    body = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": given.name},
        "spec": {
            "memory": {"limit": "128Mi"},
            "persistence": {"mode": "none"},
            "monitoring": {"enabled": False},
        },
    }
    caches.create_namespaced_custom_object(GROUP, VERSION, given.namespace, PLURAL, body)
    _say(f"made Cache {given.name}")
    try:
        status = _ready(caches, given.namespace, given.name)
        _say(f"it is Ready: {status['phase']}, at {status['endpoint']}")
        _write_and_read(status["endpoint"], _password(given.namespace, given.name))
        _say("wrote and read a key")
    except (TimeoutError, redis.RedisError) as error:
        _say(str(error))
        return 1
    finally:
        caches.delete_namespaced_custom_object(GROUP, VERSION, given.namespace, PLURAL, given.name)
        _say("deleted it")
    return 0


def _ready(caches: Any, namespace: str, name: str) -> dict[str, Any]:
    """The status of the Cache once it is Ready."""
    deadline = time.monotonic() + READY_S
    while True:
        status = caches.get_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, name).get("status", {})
        ready = [c for c in status.get("conditions", ()) if c["type"] == "Ready" and c["status"] == "True"]
        if ready and status.get("endpoint"):
            return dict(status)
        if time.monotonic() > deadline:
            raise TimeoutError(f"not Ready after {READY_S:.0f} s: {status.get('phase', 'no operator has seen it')}")
        time.sleep(POLL_S)


def _password(namespace: str, name: str) -> str:
    secret = client.CoreV1Api().read_namespaced_secret(names.secret_auth(name), namespace)
    return b64decode((secret.data or {})[names.PASSWORD_KEY]).decode()


def _write_and_read(endpoint: str, password: str) -> None:
    host, _, port = endpoint.rpartition(":")
    deadline = time.monotonic() + 30  # the Service's rules may arrive a little after the status
    while True:
        try:
            with redis.Redis(host=host, port=int(port), password=password, socket_timeout=5) as connection:
                connection.set("helm-test", "works")
                if connection.get("helm-test") != b"works":
                    raise redis.RedisError("what was written was not read back")
                return
        except redis.ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL_S)


def _say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

"""`helm test`: makes a Cache, waits until it is Ready, writes and reads through its Service, and deletes it.

Runs in a pod of the operator's image, with a ServiceAccount of its own (charts/cachefleet/templates/tests). Prints what
it does; exits 1 with the Cache's own words when it does not become Ready in time. The Cache is deleted in any case.
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
from cachefleet_operator.api.conditions import READY
from cachefleet_operator.api.v1alpha1 import API_VERSION, GROUP, KIND, PLURAL, VERSION

PREFIX = "helm-test-"
READY_S = 180.0
CONNECT_S = 30.0  # the Service's rules may arrive a little after the status
POLL_S = 1.0
SPEC = {"memory": {"limit": "128Mi"}, "persistence": {"mode": "none"}, "monitoring": {"enabled": False}}


def main() -> int:
    parser = argparse.ArgumentParser(description="Try a Cache in the cluster that this pod runs in.")
    parser.add_argument("--namespace", required=True, help="where the Cache is made")
    given = parser.parse_args()
    config.load_incluster_config()  # type: ignore[no-untyped-call]
    try:
        try_cache(client.CustomObjectsApi(), client.CoreV1Api(), given.namespace)
    except client.ApiException as error:
        _say(f"the API server says {error.status} {error.reason}: {error.body}")
        return 1
    except (TimeoutError, redis.RedisError) as error:
        _say(str(error))
        return 1
    return 0


def try_cache(caches: Any, core: Any, namespace: str) -> None:
    """Raises ApiException, TimeoutError or RedisError."""
    body = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"generateName": PREFIX}, "spec": SPEC}
    made = caches.create_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, body)
    name = made["metadata"]["name"]
    _say(f"made Cache {namespace}/{name}")
    try:
        status = _ready(caches, namespace, name)
        _say(f"it is Ready: {status['phase']}, at {status['endpoint']}")
        secret = core.read_namespaced_secret(names.secret_auth(name), namespace)
        _write_and_read(status["endpoint"], b64decode(secret.data[names.PASSWORD_KEY]).decode())
        _say("wrote and read a key")
    finally:
        caches.delete_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, name)
        _say("deleted it")


def _ready(caches: Any, namespace: str, name: str) -> dict[str, Any]:
    """The status of the Cache once it is Ready."""
    deadline = time.monotonic() + READY_S
    while True:
        status = caches.get_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, name).get("status", {})
        ready = any(c["type"] == READY and c["status"] == "True" for c in status.get("conditions", ()))
        if ready and status.get("endpoint"):
            return dict(status)
        if time.monotonic() > deadline:
            told = f"{status.get('phase')}: {status.get('message', '')}" if status else "no operator has seen it"
            raise TimeoutError(f"not Ready after {READY_S:.0f} s: {told}")
        time.sleep(POLL_S)


def _write_and_read(endpoint: str, password: str) -> None:
    host, _, port = endpoint.rpartition(":")
    deadline = time.monotonic() + CONNECT_S
    while True:
        try:
            with redis.Redis(host=host.strip("[]"), port=int(port), password=password, socket_timeout=5) as connection:
                connection.set("helm-test", "works")
                if connection.get("helm-test") != b"works":
                    raise redis.RedisError("what was written was not read back")
                return
        except (redis.ConnectionError, redis.TimeoutError):
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL_S)


def _say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

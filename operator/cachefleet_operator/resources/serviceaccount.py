"""ServiceAccount <name>: the pods' own, without rights; its token is in no container but `server`."""

from __future__ import annotations

from cachefleet_operator.api.objects import Object
from cachefleet_operator.api.v1alpha1 import Cache
from cachefleet_operator.resources.metadata import metadata


def service_account(cache: Cache) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(cache, cache.metadata.name),
        "automountServiceAccountToken": False,
    }

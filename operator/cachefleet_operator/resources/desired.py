"""desired(cache, site, image, generation, known): every object that a Cache has, in the order in which it is written.

What pods need comes before the StatefulSet. Secrets are not here: their content is decided at execution, by actions of
their own (planning/auth.py).
"""

from __future__ import annotations

from cachefleet_operator.api.known import Known
from cachefleet_operator.api.objects import Object, Site
from cachefleet_operator.api.v1alpha1 import Cache
from cachefleet_operator.resources import monitoring
from cachefleet_operator.resources.configmap import config_map
from cachefleet_operator.resources.metadata import labelled
from cachefleet_operator.resources.networkpolicy import network_policy
from cachefleet_operator.resources.pdb import pod_disruption_budget
from cachefleet_operator.resources.serviceaccount import service_account
from cachefleet_operator.resources.services import service_headless, service_ro, service_rw
from cachefleet_operator.resources.statefulset import statefulset

OPTIONAL_KINDS = frozenset(("NetworkPolicy", *monitoring.KINDS))  # deleted where `desired` has none


def desired(
    cache: Cache, site: Site, image: str, generation: int = 0, known: Known | None = None
) -> tuple[Object, ...]:
    found = (
        service_account(cache),
        config_map(cache, known),
        service_headless(cache),
        service_rw(cache),
        service_ro(cache),
        network_policy(cache, site),
        pod_disruption_budget(cache),
        statefulset(cache, image, site.defaults, generation, known),
        monitoring.monitor(cache, site),
    )
    return tuple(labelled(obj, cache, site) for obj in found if obj is not None)

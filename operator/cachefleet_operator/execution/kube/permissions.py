"""What the operator must be allowed to do: the rules of its (Cluster)Role, from the table of kinds.

`rules` hold in each namespace whose Caches it looks after, `lease_rules` in its own. The chart's files are generated
from here and a test runs the operator with nothing else.
"""

from __future__ import annotations

from typing import Any

from cachefleet_operator.api.v1alpha1 import GROUP, PLURAL
from cachefleet_operator.execution.kube.kinds import EVENT, LEASE, WATCHED

Rule = dict[str, Any]


def rules() -> list[Rule]:
    """One rule a kind; its verbs are the ones that are used."""
    return [
        *(_rule(kind.group, kind.plural, kind.verbs) for kind in (*WATCHED, EVENT)),
        _rule(GROUP, f"{PLURAL}/status", ("patch",)),
        # Where the admission plugin OwnerReferencesPermissionEnforcement is on (OpenShift), it is asked for owners that
        # block; no finalizer is ever set.
        _rule(GROUP, f"{PLURAL}/finalizers", ("update",)),
    ]


def lease_rules(name: str) -> list[Rule]:
    """A name cannot restrict creation."""
    create, *rest = LEASE.verbs
    return [
        _rule(LEASE.group, LEASE.plural, (create,)),
        {**_rule(LEASE.group, LEASE.plural, tuple(rest)), "resourceNames": [name]},
    ]


def _rule(group: str, plural: str, verbs: tuple[str, ...]) -> Rule:
    return {"apiGroups": [group], "resources": [plural], "verbs": list(verbs)}

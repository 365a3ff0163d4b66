"""Fixtures of tests with an operator: the CRD, who the operator is, and a kubelet that runs its pods here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fleettest.hollow import HollowKubelet
from fleettest.kube import Kube
from fleettest.operators import grants, install_crd


@pytest.fixture(scope="module")
def installed(kube: Kube) -> None:
    """The CRD is there."""
    install_crd(kube)


@pytest.fixture
def account(kube: Kube, namespace: str) -> Iterator[Kube]:
    """The cluster as an operator in `namespace` sees it."""
    with grants(kube, namespace) as found:
        yield found


@pytest.fixture
def kubelet(kube: Kube, namespace: str) -> Iterator[HollowKubelet]:
    with HollowKubelet(kube, namespace) as found:
        yield found

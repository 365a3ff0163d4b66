"""The operator's settings: defaults, and wrong ones named with their variable."""

from __future__ import annotations

import pytest

from cachefleet_operator.settings import SettingsError, read


def test_defaults() -> None:
    found = read({})
    assert (found.namespaces, found.http_port, found.concurrency, found.log_level) == ((), 8080, 16, "info")
    assert (found.probe_s, found.probe_single_s) == (1, 10)
    assert found.server_version


def test_namespaces() -> None:
    assert read({"CACHEFLEET_NAMESPACES": " a, b-c,,a "}).namespaces == ("a", "b-c")
    assert read({"CACHEFLEET_NAMESPACES": " "}).namespaces == ()


def test_what_caches_get() -> None:
    plain = read({})
    assert (plain.image_pull_secrets, plain.storage_class, plain.priority_class, plain.labels) == ((), "", "", {})
    assert plain.fixed_user
    found = read(
        {
            "CACHEFLEET_IMAGE_PULL_SECRETS": "registry, mirror.test,registry",
            "CACHEFLEET_STORAGE_CLASS": "fast",
            "CACHEFLEET_PRIORITY_CLASS": "high",
            "CACHEFLEET_INHERITED_LABELS": "team, shop.test/cost,team",
            "CACHEFLEET_LABELS": "team.test/owner=Platform_1, empty=",
            "CACHEFLEET_FIXED_USER": "False",
        }
    )
    assert found.image_pull_secrets == ("registry", "mirror.test")
    assert (found.storage_class, found.priority_class, found.fixed_user) == ("fast", "high", False)
    assert found.labels == {"team.test/owner": "Platform_1", "empty": ""}
    assert found.inherited_labels == ("team", "shop.test/cost")


@pytest.mark.parametrize(
    ("variable", "text", "words"),
    [
        ("CACHEFLEET_NAMESPACES", "a,b*", "a namespace has lower-case letters"),
        ("CACHEFLEET_NAMESPACES", "a,../b", "a namespace has lower-case letters"),
        ("POD_NAMESPACE", "A", "a namespace has lower-case letters"),
        ("CACHEFLEET_LOG_LEVEL", "loud", "must be one of debug, info, warning, error"),
        ("CACHEFLEET_CONCURRENCY", "0", "must be a number from 1 to 256"),
        ("CACHEFLEET_CONCURRENCY", "\u0661", "must be a number from 1 to 256"),
        ("CACHEFLEET_CONCURRENCY", "9" * 5000, "must be a number from 1 to 256"),
        ("CACHEFLEET_PROBE_SECONDS", "0", "must be a number from 1 to 60"),
        ("CACHEFLEET_HTTP_PORT", "-1", "must be a number from 0 to 65535"),
        ("CACHEFLEET_HTTP_PORT", "70000", "must be a number from 0 to 65535"),
        ("CACHEFLEET_IMAGE_PULL_SECRETS", "a,B", "a name of an object has lower-case letters"),
        ("CACHEFLEET_STORAGE_CLASS", "a b", "a name of an object has lower-case letters"),
        ("CACHEFLEET_PRIORITY_CLASS", "-a", "a name of an object has lower-case letters"),
        ("CACHEFLEET_INHERITED_LABELS", "team,a b", "a b is no name of a label"),
        ("CACHEFLEET_INHERITED_LABELS", "cachefleet.io/cache", "cachefleet.io/cache belongs to the operator"),
        ("CACHEFLEET_INHERITED_LABELS", "app.kubernetes.io/name", "app.kubernetes.io/name belongs to the operator"),
        ("CACHEFLEET_LABELS", "team", "labels are name=value by commas"),
        ("CACHEFLEET_LABELS", "team=a b", "labels are name=value by commas"),
        ("CACHEFLEET_LABELS", "=a", "labels are name=value by commas"),
        ("CACHEFLEET_LABELS", "A_b/team=a", "the prefix of the label A_b/team is no domain"),
        ("CACHEFLEET_FIXED_USER", "no", "must be true or false"),
        ("CACHEFLEET_SERVER_IMAGE", "a b", "must be one word"),
    ],
)
def test_wrong_ones_are_named(variable: str, text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=variable) as error:
        read({variable: text})
    assert words in str(error.value)

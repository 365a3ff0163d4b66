"""The operator's settings: defaults, and wrong ones named with their variable."""

from __future__ import annotations

import pytest

from cachefleet_operator.settings import SettingsError, read


def test_defaults() -> None:
    found = read({})
    assert (found.namespaces, found.http_port, found.concurrency, found.log_level) == ((), 8080, 16, "info")
    assert found.server_version


def test_namespaces() -> None:
    assert read({"CACHEFLEET_NAMESPACES": " a, b-c,,a "}).namespaces == ("a", "b-c")
    assert read({"CACHEFLEET_NAMESPACES": " "}).namespaces == ()


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
        ("CACHEFLEET_HTTP_PORT", "-1", "must be a number from 0 to 65535"),
        ("CACHEFLEET_HTTP_PORT", "70000", "must be a number from 0 to 65535"),
        ("CACHEFLEET_SERVER_IMAGE", "a b", "must be one word"),
    ],
)
def test_wrong_ones_are_named(variable: str, text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=variable) as error:
        read({variable: text})
    assert words in str(error.value)

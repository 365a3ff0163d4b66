"""Passwords: made, copied, rotated, and what happens when the operator died in between."""

from __future__ import annotations

from base64 import b64encode

import pytest

from cachefleet_operator.planning import auth
from cachefleet_operator.planning.actions import CopySecret, GenerateSecret, SetPassword
from fleettest.snapshots import cache, secret, server, snapshot


def reasons(*args, **kwargs):  # type: ignore[no-untyped-def]
    return [(type(a).__name__, a.reason) for a in auth.step(snapshot(*args, **kwargs)).actions]


def test_a_new_cache_gets_a_password_and_the_servers_start_with_it() -> None:
    step = auth.step(snapshot(cache()))
    assert [type(a) for a in step.actions] == [GenerateSecret, CopySecret]
    assert [a.reason for a in step.actions] == [
        "made a password in Secret orders-auth",
        "the servers start with this password",
    ]
    assert step.progress == "Creating"


def test_nothing_to_do_when_both_secrets_agree() -> None:
    assert not reasons(cache(), secret("orders-auth", password="a"), secret("orders-server-password", password="a"))


@pytest.mark.parametrize("data", [{}, {"password": ""}, {"password": "\n"}])
def test_a_generated_password_that_somebody_emptied_is_made_anew(data: dict[str, str]) -> None:
    """Nobody asked for a cache without one."""
    objects = [secret("orders-auth", **data), secret("orders-server-password", password="a")]
    assert reasons(cache(), *objects) == [("GenerateSecret", "made a password in Secret orders-auth")]


def test_without_auth_the_servers_have_the_empty_password() -> None:
    none = cache(auth={"mode": "none"})
    assert reasons(none) == [("CopySecret", "the servers start with this password")]
    assert not reasons(none, secret("orders-server-password", password=""))


@pytest.mark.parametrize(
    ("objects", "waits_for"),
    [
        ([], "Secret mine does not exist"),
        ([secret("mine", other="x")], "Secret mine has no value under the key password"),
        ([secret("mine", password="")], "Secret mine has no value under the key password"),
        ([secret("mine", password="\r\n")], "Secret mine has no value under the key password"),
    ],
)
def test_a_secret_of_the_users_is_waited_for(objects: list[dict[str, object]], waits_for: str) -> None:
    step = auth.step(snapshot(cache(auth={"mode": "secret", "secretRef": {"name": "mine"}}), *objects))
    assert (step.actions, step.waiting) == ((), waits_for)


def test_rotation_asks_the_servers_first_and_then_remembers() -> None:
    objects = [secret("orders-auth", password="new"), secret("orders-server-password", password="old")]
    behind = snapshot(cache(), *objects, servers=[server(password_is_current=False)])
    assert auth.step(behind).actions == (
        SetPassword("changed the password of orders-0", "orders-0", ("orders-auth", "password")),
    )
    done = snapshot(cache(), *objects, servers=[server()])
    assert [a.reason for a in auth.step(done).actions] == ["the servers have a new password"]


def test_a_crash_after_the_servers_were_told_is_healed() -> None:
    """The server lets us in with the wish although the Secret of the servers has the old one."""
    objects = [secret("orders-auth", password="new"), secret("orders-server-password", password="old")]
    step = auth.step(snapshot(cache(), *objects, servers=[server(password_is_current=True)]))
    assert [type(a) for a in step.actions] == [CopySecret]


def test_a_server_that_does_not_answer_is_not_told() -> None:
    objects = [secret("orders-auth", password="a"), secret("orders-server-password", password="a")]
    assert not reasons(cache(), *objects, servers=[server(error="timed out", password_is_current=False)])


def test_no_action_holds_a_password() -> None:
    objects = [secret("orders-auth", password="hush-hush"), secret("orders-server-password", password="old")]
    for servers in ([server(password_is_current=False)], [server()], []):
        text = repr(auth.step(snapshot(cache(), *objects, servers=servers)))
        assert "hush-hush" not in text
        assert b64encode(b"hush-hush").decode() not in text

"""Passwords: made, copied, rotated, and what happens when the operator died in between."""

from __future__ import annotations

from base64 import b64encode

import pytest

from cachefleet_operator.api.objects import Object
from cachefleet_operator.planning import auth
from cachefleet_operator.planning.actions import CopySecret, GenerateSecret, SetPassword
from cachefleet_operator.planning.snapshot import Server
from fleettest.snapshots import cache, pod, secret, server, snapshot


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


RUNS, STARTS = pod(), pod(ready=False, containerStatuses=[{"name": "server", "state": {"waiting": {}}}])
RECORD = ("CopySecret", "recorded the new password before a server is told")
TOLD, KEPT = ("SetPassword", "changed the password of orders-0"), ("CopySecret", "the servers have a new password")
CURRENT, BEHIND, SILENT = (
    [server()], [server(password_is_current=False)], [server(error="timed out", password_is_current=False)],
)  # fmt: skip


@pytest.mark.parametrize(
    ("wish", "servers_have", "objects", "servers", "acts"),
    [
        pytest.param("b", {"password": "a"}, [], [], [KEPT], id="no pod: nobody has the old one"),
        pytest.param("b", {"password": "a"}, [RUNS], BEHIND, [RECORD], id="recorded first"),
        pytest.param("b", {"password": "a"}, [RUNS], CURRENT, [RECORD], id="somebody has told it by hand"),
        pytest.param("b", {"password": "a"}, [RUNS], SILENT, [RECORD], id="silent"),
        pytest.param("b", {"password": "a"}, [STARTS], [], [RECORD], id="starting with the old one"),
        pytest.param("b", {"password": ""}, [STARTS], [], [KEPT], id="nobody starts with none"),
        pytest.param("b", {"password": "a", "next": "b"}, [RUNS], BEHIND, [TOLD], id="told what is recorded"),
        pytest.param("c", {"password": "a", "next": "b"}, [RUNS], CURRENT, [KEPT], id="the one before is finished"),
        pytest.param("c", {"password": "a", "next": "b"}, [RUNS], BEHIND, [RECORD], id="nobody has the one before"),
        pytest.param("c", {"password": "a", "next": "b"}, [RUNS], SILENT, [], id="somebody may have it"),
        pytest.param("b", {"password": "a", "next": "b"}, [STARTS], [], [], id="it will say what it has"),
        pytest.param("b", {"password": "a", "next": "b"}, [], [], [KEPT], id="the pod went meanwhile"),
        pytest.param("b", {"password": "", "next": "b"}, [STARTS], [], [KEPT], id="nobody can start with none"),
        pytest.param("b", {"password": "", "next": "b"}, [RUNS], SILENT, [], id="it runs with none"),
        pytest.param("a", {"password": "a", "next": "b"}, [RUNS], CURRENT, [KEPT], id="taken back too late"),
        pytest.param("a", {"password": "a"}, [RUNS], BEHIND, [TOLD], id="it started with an older file"),
        pytest.param("a", {"password": "a"}, [RUNS], SILENT, [], id="nothing to do"),
    ],
)
def test_rotation(
    wish: str, servers_have: dict[str, str], objects: list[Object], servers: list[Server], acts: list[tuple[str, str]]
) -> None:
    secrets = [secret("orders-auth", password=wish), secret("orders-server-password", **servers_have)]
    step = auth.step(snapshot(cache(), *secrets, *objects, servers=servers))
    assert [(type(a).__name__, a.reason) for a in step.actions] == acts
    waits = "orders-0 does not answer: its password is changed when it does" if "next" in servers_have else ""
    assert step.waiting == ("" if acts else waits)


def test_a_server_is_told_what_is_recorded() -> None:
    """And not what the users' Secret says by then."""
    secrets = [secret("orders-auth", password="b"), secret("orders-server-password", password="a", next="b")]
    (told,) = auth.step(snapshot(cache(), *secrets, RUNS, servers=BEHIND)).actions
    (kept,) = auth.step(snapshot(cache(), *secrets, RUNS, servers=CURRENT)).actions
    assert isinstance(told, SetPassword) and isinstance(kept, CopySecret)
    assert told.source == kept.source == ("orders-server-password", "next")
    assert (kept.field, kept.object["metadata"]["name"]) == ("password", "orders-server-password")


def test_no_action_holds_a_password() -> None:
    objects = [secret("orders-auth", password="hush-hush"), secret("orders-server-password", password="old")]
    for servers in ([server(password_is_current=False)], [server()], []):
        text = repr(auth.step(snapshot(cache(), *objects, servers=servers)))
        assert "hush-hush" not in text
        assert b64encode(b"hush-hush").decode() not in text


@pytest.mark.parametrize(
    ("held", "meant"),
    [(b"a", b"a"), (b"a\n", b"a"), (b"a\r\n", b"a"), (b"a\n\n", b"a\n"), (b" a ", b" a "), (b"", b"")],
)
def test_a_secret_may_end_with_an_editors_newline(held: bytes, meant: bytes) -> None:
    assert auth.as_password(held) == meant

"""A shop by Django: its cache framework on the Redis backend, a cached page, and sessions kept in that cache."""

from __future__ import annotations

import sys
from typing import Any

import django
import redis
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.cache import cache_page
from say import ordered, say


def configure(host: str, port: str, protocol: str) -> None:
    settings.configure(
        ALLOWED_HOSTS=["testserver"],
        CACHES={
            "default": {
                "BACKEND": "django.core.cache.backends.redis.RedisCache",
                "LOCATION": f"redis://{host}:{port}/1",
                "KEY_PREFIX": "shop",
                "OPTIONS": {"protocol": int(protocol)},
            }
        },
        MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
        ROOT_URLCONF=__name__,
        SECRET_KEY="of no use",
        SESSION_ENGINE="django.contrib.sessions.backends.cache",
        USE_TZ=True,
    )
    django.setup()


configure(*sys.argv[1:])  # cached views read the settings when they are made
VIEWS = {"price": 0}


@cache_page(60)
def price(request: HttpRequest) -> HttpResponse:
    VIEWS["price"] += 1
    return HttpResponse(f"{request.GET['of']} costs 5, asked {VIEWS['price']} times")


def cart(request: HttpRequest) -> HttpResponse:
    """Puts `add` into the cart, or logs in with a new session, or leaves for good."""
    session: Any = request.session  # type: ignore[attr-defined]
    if "add" in request.GET:
        session["cart"] = [*session.get("cart", []), request.GET["add"]]
        session.set_expiry(1000)
    elif "login" in request.GET:
        session["user"] = request.GET["login"]
        session.cycle_key()
    elif "logout" in request.GET:
        session.flush()
    return HttpResponse(f"{session.get('user', 'nobody')}: {' '.join(session.get('cart', []))}")


urlpatterns = [path("price", price), path("cart", cart)]


def caching(server: redis.Redis) -> None:
    from django.core.cache import cache

    cache.set("answer", {"of": ["all", 42, 1.5, None, "日本"]}, 100)
    say("set", cache.get("answer"), 1 <= server.ttl("shop:1:answer") <= 100)
    say("add", cache.add("answer", 1), cache.add("fresh", 1), cache.get("nosuch", "default"))
    say("get_or_set", cache.get_or_set("lazy", lambda: "made", 50), cache.get_or_set("lazy", lambda: "again", 50))
    cache.set("visits", 10)
    say("counters", cache.incr("visits"), cache.incr("visits", 9), cache.decr("visits", 5))
    try:
        cache.incr("nosuch")
    except ValueError as error:
        say("incr of nothing", error)
    say("many", cache.set_many({"a": 1, "b": "two", "c": b"three"}, 100), cache.get_many(["a", "b", "c", "d"]))
    say(
        "touch",
        cache.touch("a", 500),
        100 < server.ttl("shop:1:a") <= 500,
        cache.touch("a", None),
        server.ttl("shop:1:a"),
    )
    say("has_key", "a" in cache, "d" in cache, cache.delete("a"), cache.delete("a"), "a" in cache)
    cache.set("a", "of version 2", version=2)
    say(
        "versions",
        cache.get("a"),
        cache.get("a", version=2),
        cache.incr_version("a", version=2),
        cache.get("a", version=3),
    )
    cache.delete_many(["b", "c", "nosuch"])
    cache.set("gone at once", 1, 0)
    say("keys", ordered(server.keys("*")))


def pages(server: redis.Redis) -> None:
    from django.test import Client

    client = Client()
    for of in ("tea", "tea", "milk", "tea"):
        say(f"GET /price?of={of}", client.get("/price", {"of": of}).content)
    say("pages in the cache", len(server.keys("shop:1:views.*")))


def sessions(server: redis.Redis) -> None:
    from django.test import Client

    ann, bob = Client(), Client()
    steps = ((ann, "add", "tea"), (bob, "add", "milk"), (ann, "add", "jam"), (ann, "login", "Ann"), (ann, "add", "bun"))
    for client, verb, what in steps:
        before = client.cookies.get("sessionid")
        old = before.value if before else ""
        said = client.get("/cart", {verb: what}).content
        say(f"{verb} {what}", said, "another session" if client.cookies["sessionid"].value != old else "the same")
    keys = server.keys("shop:1:django.contrib.sessions.cache*")
    say("sessions", len(keys), all(1 <= server.ttl(key) <= 1000 for key in keys))
    say("logout", ann.get("/cart", {"logout": "1"}).content, bob.get("/cart").content)
    say("sessions", len(server.keys("shop:1:django.contrib.sessions.cache*")))


def main(host: str, port: str, protocol: str) -> None:
    from django.core.cache import cache

    with redis.Redis(host=host, port=int(port), db=1, decode_responses=True, protocol=int(protocol)) as server:
        caching(server)
        pages(server)
        sessions(server)
        cache.clear()
        say("cleared", server.dbsize())
    say("end")


if __name__ == "__main__":
    main(*sys.argv[1:])

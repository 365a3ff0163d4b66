"""A shop by Flask: functions and pages cached by Flask-Caching, sessions kept by Flask-Session."""

from __future__ import annotations

import sys

import redis
from flask import Flask, request, session
from flask_caching import Cache
from flask_session import Session
from say import ordered, say

cache = Cache()
CALLS = {"price": 0, "page": 0}


@cache.memoize(timeout=100)
def price(of: str, count: int) -> int:
    CALLS["price"] += 1
    return len(of) * count


def make(host: str, port: str, protocol: str) -> Flask:
    app = Flask(__name__)
    app.config |= {
        "CACHE_TYPE": "RedisCache",
        "CACHE_REDIS_URL": f"redis://{host}:{port}/2?protocol={protocol}",
        "CACHE_KEY_PREFIX": "shop:",
        "SESSION_TYPE": "redis",
        "SESSION_REDIS": redis.Redis(host=host, port=int(port), db=2, protocol=int(protocol)),
        "SESSION_KEY_PREFIX": "session:",
        "TESTING": True,
    }
    cache.init_app(app)
    Session(app)

    @app.get("/page")
    @cache.cached(timeout=50, query_string=True)
    def page() -> str:
        CALLS["page"] += 1
        return f"{request.args['of']}, made {CALLS['page']}"

    @app.get("/cart")
    def cart() -> str:
        if "add" in request.args:
            session["cart"] = [*session.get("cart", []), request.args["add"]]
        if "clear" in request.args:
            session.clear()
        return " ".join(session.get("cart", [])) or "empty"

    return app


def caching(server: redis.Redis) -> None:
    say("set", cache.set("answer", {"of": [42, 1.5, None]}, timeout=100), cache.get("answer"), cache.get("nosuch"))
    say("ttl", 1 <= server.ttl("shop:answer") <= 100)
    say("add", cache.add("answer", 1), cache.add("fresh", 2), cache.has("fresh"), cache.has("nosuch"))
    say("many", ordered(cache.set_many({"a": 1, "b": "two"})), cache.get_many("a", "b", "c"), cache.get_dict("a", "b"))
    say("delete", cache.delete("a"), cache.delete("a"), cache.delete_many("b", "fresh"))
    say("inc", cache.cache.inc("visits", 5), cache.cache.dec("visits", 2))
    say("memoize", price("tea", 2), price("tea", 2), price("jam", 3), CALLS["price"])
    cache.delete_memoized(price, "tea", 2)
    say("of one forgotten", price("tea", 2), price("jam", 3), CALLS["price"])
    cache.delete_memoized(price)
    say("of all forgotten", price("tea", 2), price("jam", 3), CALLS["price"])


def pages(app: Flask, server: redis.Redis) -> None:
    client = app.test_client()
    for of in ("tea", "tea", "milk", "tea"):
        say(f"GET /page?of={of}", client.get("/page", query_string={"of": of}).text)
    say("keys", len(server.keys("shop:*")))


def sessions(app: Flask, server: redis.Redis) -> None:
    ann, bob = app.test_client(), app.test_client()
    say("ann", ann.get("/cart?add=tea").text, ann.get("/cart?add=jam").text)
    say("bob", bob.get("/cart").text, bob.get("/cart?add=milk").text)
    keys = server.keys("session:*")
    say("sessions", len(keys), all(0 < server.ttl(key) <= 31 * 86400 for key in keys))
    say("cleared", ann.get("/cart?clear=1").text, ann.get("/cart").text, bob.get("/cart").text)
    say("sessions", len(server.keys("session:*")))


def main(host: str, port: str, protocol: str) -> None:
    app = make(host, port, protocol)
    with redis.Redis(host=host, port=int(port), db=2, decode_responses=True, protocol=int(protocol)) as server:
        with app.app_context():
            caching(server)
        pages(app, server)
        sessions(app, server)
        with app.app_context():
            say("clear", cache.clear())
        say("left", len(server.keys("shop:*")), len(server.keys("session:*")))
    say("end")


if __name__ == "__main__":
    main(*sys.argv[1:])

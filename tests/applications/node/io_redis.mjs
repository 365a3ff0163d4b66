// The scenario of scenario.md by ioredis.
import { Redis } from "ioredis";
import { say, scored, until } from "./say.mjs";

const [host, port] = process.argv.slice(2);
const connect = () => new Redis({ host, port: Number(port) });
const [c, other] = [connect(), connect()];
const couples = (flat) => flat.flatMap((one, i) => (i % 2 ? [] : [[one, flat[i + 1]]]));
const pairs = (flat) => couples(flat).map(([member, score]) => scored(member, score));
const values = (replies) => replies.map(([error, value]) => {
  if (error) throw error;
  return value;
});

async function texts() {
  say("strings", await c.set("s", "hello", "EX", 100), await c.get("s"),
    await c.ttl("s").then((ttl) => ttl >= 1 && ttl <= 100), await c.set("s", "other", "NX"), await c.getdel("s"),
    await c.get("s"));
  say("texts", await c.mset({ a: 1, b: 2 }), await c.mget("a", "b", "nosuch"), await c.append("a", "23"),
    await c.getrange("a", 1, 2), await c.strlen("a"), await c.setrange("a", 1, "xx"), await c.get("a"));
  say("counters", await c.incr("n"), await c.incrby("n", 41), await c.decr("n"), await c.incrbyfloat("f", 1.5));
  say("keys", await c.exists("a", "b", "nosuch"), await c.type("a"), await c.rename("b", "c"), await c.expire("c", 100),
    await c.persist("c"), await c.copy("c", "d"), await c.del("c", "d"), await c.unlink("a"),
    await c.object("ENCODING", "n"));
  say("unicode", await c.set("ключ", "日本"), await c.get("ключ"), await c.strlen("ключ"));
  say("large", await c.set("big", "x".repeat(1 << 20)), await c.strlen("big"), (await c.get("big")).length);
}

async function hashes() {
  say("hashes", await c.hset("h", { name: "Ann", age: 30, city: "Paris" }), await c.hget("h", "age"),
    await c.hmget("h", "name", "nosuch"), await c.hincrby("h", "age", 1), await c.hexists("h", "city"),
    await c.hdel("h", "city"), await c.hlen("h"), await c.hgetall("h"));
  say("fieldttl", await c.call("HEXPIRE", "h", 100, "FIELDS", 2, "name", "nosuch"),
    await c.call("HTTL", "h", "FIELDS", 2, "age", "nosuch"), await c.call("HPERSIST", "h", "FIELDS", 1, "name"));
}

async function lists() {
  say("lists", await c.rpush("l", "a", "b", "c"), await c.lpush("l", "z"), await c.lrange("l", 0, -1),
    await c.lindex("l", 1), await c.linsert("l", "BEFORE", "b", "x"), await c.lrem("l", 1, "x"),
    await c.lset("l", 0, "y"), await c.ltrim("l", 0, 2), await c.lmove("l", "m", "LEFT", "RIGHT"),
    await c.lpos("l", "b"), await c.lpop("l"), await c.rpop("l"), await c.llen("l"));
  const waiting = other.blpop("q", 10);
  await until(async () => (await c.info("clients")).includes("blocked_clients:1\r"));
  const pushed = await c.rpush("q", "job");
  say("handover", await waiting, pushed);
  say("sort", await c.rpush("nums", 3, 1, 2), await c.mset("w:1", 30, "w:2", 20, "w:3", 10),
    await c.sort("nums", "LIMIT", 0, 2, "DESC"), await c.sort("nums", "BY", "w:*", "GET", "#", "GET", "w:*"),
    await c.sort("nums", "STORE", "sorted"));
}

async function sets() {
  say("sets", await c.sadd("x", 1, 2, 3, "a"), await c.sadd("y", 3, "a", "b"), await c.sismember("x", "a"),
    await c.smismember("x", 1, 9), (await c.sinter("x", "y")).sort(), (await c.sunion("x", "y")).sort(),
    (await c.sdiff("x", "y")).sort(), await c.sinterstore("xy", "x", "y"), await c.sintercard(2, "x", "y"),
    await c.smove("x", "y", 1), await c.srem("y", "b"), await c.scard("y"));
}

async function leaderboard() {
  say("leaderboard", await c.zadd("board", 30, "ann", 20, "bob", 10, "cid"), await c.zincrby("board", 15, "cid"),
    pairs(await c.zrange("board", 0, 1, "REV", "WITHSCORES")), await c.zrank("board", "ann"),
    await c.zrevrank("board", "ann"), await c.zscore("board", "bob"), await c.zrange("board", 20, 25, "BYSCORE"),
    await c.zcount("board", 20, 30), await c.zadd("board", "GT", "CH", 5, "ann"), pairs(await c.zpopmax("board"))[0],
    await c.zmscore("board", "bob", "cid"), await c.zremrangebyrank("board", 0, 0), await c.zrange("board", 0, -1));
  say("zalgebra", await c.zadd("p", 1, "a", 2, "b"), await c.zadd("r", 10, "b", 20, "c"),
    await c.zunionstore("u", 2, "p", "r", "WEIGHTS", 2, 1), pairs(await c.zrange("u", 0, -1, "WITHSCORES")),
    pairs(await c.zinter(2, "p", "r", "WITHSCORES")), await c.zdiff(2, "p", "r"));
}

async function bitsAndPlaces() {
  say("bitmaps", await c.setbit("bits", 7, 1), await c.setbit("bits", 9, 1), await c.getbit("bits", 7),
    await c.bitcount("bits"), await c.bitpos("bits", 1), await c.bitop("OR", "bits2", "bits", "bits"),
    await c.bitfield("bits", "SET", "u8", 0, 255, "GET", "u4", 0));
  say("hyperloglog", await c.pfadd("hll", "a", "b", "c"), await c.pfadd("hll", "a"), await c.pfadd("hll2", "c", "d"),
    await c.pfcount("hll", "hll2"), await c.pfmerge("hll3", "hll", "hll2"), await c.pfcount("hll3"));
  say("geo", await c.geoadd("Sicily", 13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania"),
    Number(await c.geodist("Sicily", "Palermo", "Catania", "km")), await c.geohash("Sicily", "Palermo"),
    (await c.geopos("Sicily", "Palermo"))[0].map(Number),
    await c.geosearch("Sicily", "FROMLONLAT", 15, 37, "BYRADIUS", 200, "km", "ASC"));
}

async function together() {
  const first = values(await c.multi().set("t", 1).incr("t").exec());
  await c.watch("t");
  await other.set("t", 9);
  say("transaction", first, await c.multi().incr("t").exec(), await c.get("t"));
  const pipe = c.pipeline();
  for (let i = 0; i < 100; i++) pipe.incr("pipe");
  const replies = values(await pipe.exec());
  say("pipeline", replies.length, replies.at(-1));
}

async function scans() {
  for (let i = 0; i < 50; i++) await c.set(`scan:${i}`, i);
  const found = new Set();
  for await (const keys of c.scanStream({ match: "scan:*", count: 10 })) keys.forEach((key) => found.add(key));
  say("scan", found.size, Object.fromEntries(couples((await c.hscan("h", 0))[1])), (await c.sscan("x", 0))[1].sort(),
    pairs((await c.zscan("p", 0))[1]).sort());
}

for (const step of [texts, hashes, lists, sets, leaderboard, bitsAndPlaces, together, scans]) await step();
say("errors", await c.lpush("n", "x").catch((error) => error.message.split(" ")[0]));
say("protocol", (await c.call("CLIENT", "INFO")).match(/resp=(\d)/)[1]);
c.disconnect();
other.disconnect();

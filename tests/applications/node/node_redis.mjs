// The scenario of scenario.md by node-redis.
import { createClient, WatchError } from "redis";
import { say, scored, text, until } from "./say.mjs";

const [host, port, protocol] = process.argv.slice(2);
const connect = () => createClient({ socket: { host, port: Number(port) }, RESP: Number(protocol) }).connect();
const [c, other] = [await connect(), await connect()];
const pair = ({ value, score }) => scored(value, score);

async function texts() {
  say("strings", await c.set("s", "hello", { expiration: { type: "EX", value: 100 } }), await c.get("s"),
    await c.ttl("s").then((ttl) => ttl >= 1 && ttl <= 100), await c.set("s", "other", { condition: "NX" }),
    await c.getDel("s"), await c.get("s"));
  say("texts", await c.mSet({ a: "1", b: "2" }), await c.mGet(["a", "b", "nosuch"]), await c.append("a", "23"),
    await c.getRange("a", 1, 2), await c.strLen("a"), await c.setRange("a", 1, "xx"), await c.get("a"));
  say("counters", await c.incr("n"), await c.incrBy("n", 41), await c.decr("n"), await c.incrByFloat("f", 1.5));
  say("keys", await c.exists(["a", "b", "nosuch"]), await c.type("a"), await c.rename("b", "c"), await c.expire("c", 100),
    await c.persist("c"), await c.copy("c", "d"), await c.del(["c", "d"]), await c.unlink("a"),
    await c.objectEncoding("n"));
  say("unicode", await c.set("ключ", "日本"), await c.get("ключ"), await c.strLen("ключ"));
  say("large", await c.set("big", "x".repeat(1 << 20)), await c.strLen("big"), (await c.get("big")).length);
}

async function hashes() {
  say("hashes", await c.hSet("h", { name: "Ann", age: 30, city: "Paris" }), await c.hGet("h", "age"),
    await c.hmGet("h", ["name", "nosuch"]), await c.hIncrBy("h", "age", 1), await c.hExists("h", "city"),
    await c.hDel("h", "city"), await c.hLen("h"), await c.hGetAll("h"));
  say("fieldttl", await c.hExpire("h", ["name", "nosuch"], 100), await c.hTTL("h", ["age", "nosuch"]),
    await c.hPersist("h", ["name"]));
}

async function lists() {
  say("lists", await c.rPush("l", ["a", "b", "c"]), await c.lPush("l", "z"), await c.lRange("l", 0, -1),
    await c.lIndex("l", 1), await c.lInsert("l", "BEFORE", "b", "x"), await c.lRem("l", 1, "x"),
    await c.lSet("l", 0, "y"), await c.lTrim("l", 0, 2), await c.lMove("l", "m", "LEFT", "RIGHT"),
    await c.lPos("l", "b"), await c.lPop("l"), await c.rPop("l"), await c.lLen("l"));
  const waiting = other.blPop("q", 10);
  await until(async () => (await c.info("clients")).includes("blocked_clients:1\r"));
  const pushed = await c.rPush("q", "job");
  const { key, element } = await waiting;
  say("handover", [key, element], pushed);
  say("sort", await c.rPush("nums", ["3", "1", "2"]), await c.mSet({ "w:1": "30", "w:2": "20", "w:3": "10" }),
    await c.sort("nums", { LIMIT: { offset: 0, count: 2 }, DIRECTION: "DESC" }),
    await c.sort("nums", { BY: "w:*", GET: ["#", "w:*"] }), await c.sortStore("nums", "sorted"));
}

async function sets() {
  say("sets", await c.sAdd("x", ["1", "2", "3", "a"]), await c.sAdd("y", ["3", "a", "b"]), await c.sIsMember("x", "a"),
    await c.smIsMember("x", ["1", "9"]), (await c.sInter(["x", "y"])).sort(), (await c.sUnion(["x", "y"])).sort(),
    (await c.sDiff(["x", "y"])).sort(), await c.sInterStore("xy", ["x", "y"]), await c.sInterCard(["x", "y"]),
    await c.sMove("x", "y", "1"), await c.sRem("y", "b"), await c.sCard("y"));
}

async function leaderboard() {
  const of = (score, value) => ({ score, value });
  say("leaderboard", await c.zAdd("board", [of(30, "ann"), of(20, "bob"), of(10, "cid")]),
    await c.zIncrBy("board", 15, "cid"), (await c.zRangeWithScores("board", 0, 1, { REV: true })).map(pair),
    await c.zRank("board", "ann"), await c.zRevRank("board", "ann"), await c.zScore("board", "bob"),
    await c.zRange("board", 20, 25, { BY: "SCORE" }), await c.zCount("board", 20, 30),
    await c.zAdd("board", of(5, "ann"), { comparison: "GT", CH: true }), pair(await c.zPopMax("board")),
    await c.zmScore("board", ["bob", "cid"]), await c.zRemRangeByRank("board", 0, 0), await c.zRange("board", 0, -1));
  say("zalgebra", await c.zAdd("p", [of(1, "a"), of(2, "b")]), await c.zAdd("r", [of(10, "b"), of(20, "c")]),
    await c.zUnionStore("u", [{ key: "p", weight: 2 }, { key: "r", weight: 1 }]),
    (await c.zRangeWithScores("u", 0, -1)).map(pair), (await c.zInterWithScores(["p", "r"])).map(pair),
    await c.zDiff(["p", "r"]));
}

async function bitsAndPlaces() {
  say("bitmaps", await c.setBit("bits", 7, 1), await c.setBit("bits", 9, 1), await c.getBit("bits", 7),
    await c.bitCount("bits"), await c.bitPos("bits", 1), await c.bitOp("OR", "bits2", ["bits", "bits"]),
    await c.bitField("bits", [
      { operation: "SET", encoding: "u8", offset: 0, value: 255 },
      { operation: "GET", encoding: "u4", offset: 0 },
    ]));
  say("hyperloglog", await c.pfAdd("hll", ["a", "b", "c"]), await c.pfAdd("hll", "a"), await c.pfAdd("hll2", ["c", "d"]),
    await c.pfCount(["hll", "hll2"]), await c.pfMerge("hll3", ["hll", "hll2"]), await c.pfCount("hll3"));
  const added = await c.geoAdd("Sicily", [
    { longitude: 13.361389, latitude: 38.115556, member: "Palermo" },
    { longitude: 15.087269, latitude: 37.502669, member: "Catania" },
  ]);
  const [position] = await c.geoPos("Sicily", "Palermo");
  say("geo", added, await c.geoDist("Sicily", "Palermo", "Catania", "km"), await c.geoHash("Sicily", "Palermo"),
    [Number(position.longitude), Number(position.latitude)],
    await c.geoSearch("Sicily", { longitude: 15, latitude: 37 }, { radius: 200, unit: "km" }, { SORT: "ASC" }));
}

async function together() {
  const first = await c.multi().set("t", "1").incr("t").exec();
  await c.watch("t");
  await other.set("t", "9");
  const second = await c.multi().incr("t").exec().catch((error) => {
    if (!(error instanceof WatchError)) throw error;
    return null;
  });
  say("transaction", first, second, await c.get("t"));
  const replies = await Promise.all(Array.from({ length: 100 }, () => c.incr("pipe"))); // in one write
  say("pipeline", replies.length, replies.at(-1));
}

async function scans() {
  for (let i = 0; i < 50; i++) await c.set(`scan:${i}`, `${i}`);
  const found = new Set();
  for await (const keys of c.scanIterator({ MATCH: "scan:*", COUNT: 10 })) keys.forEach((key) => found.add(key));
  const fields = Object.fromEntries((await c.hScan("h", "0")).entries.map(({ field, value }) => [field, value]));
  say("scan", found.size, fields, (await c.sScan("x", "0")).members.sort(),
    (await c.zScan("p", "0")).members.map(pair).sort());
}

for (const step of [texts, hashes, lists, sets, leaderboard, bitsAndPlaces, together, scans]) await step();
say("errors", await c.lPush("n", "x").catch((error) => error.message.split(" ")[0]));
say("protocol", text(await c.sendCommand(["CLIENT", "INFO"])).match(/resp=(\d)/)[1]);
c.destroy();
other.destroy();

import io.lettuce.core.BitFieldArgs;
import io.lettuce.core.ClientOptions;
import io.lettuce.core.CopyArgs;
import io.lettuce.core.GeoArgs;
import io.lettuce.core.GeoCoordinates;
import io.lettuce.core.GeoSearch;
import io.lettuce.core.KeyScanCursor;
import io.lettuce.core.KeyValue;
import io.lettuce.core.LMoveArgs;
import io.lettuce.core.Limit;
import io.lettuce.core.Range;
import io.lettuce.core.RedisClient;
import io.lettuce.core.RedisFuture;
import io.lettuce.core.RedisURI;
import io.lettuce.core.ScanArgs;
import io.lettuce.core.ScanCursor;
import io.lettuce.core.ScoredValue;
import io.lettuce.core.SetArgs;
import io.lettuce.core.SortArgs;
import io.lettuce.core.TransactionResult;
import io.lettuce.core.ZAddArgs;
import io.lettuce.core.ZAggregateArgs;
import io.lettuce.core.ZStoreArgs;
import io.lettuce.core.api.StatefulRedisConnection;
import io.lettuce.core.api.sync.RedisCommands;
import io.lettuce.core.protocol.ProtocolVersion;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;

/** The scenario of scenario.md by Lettuce. */
public final class LettuceApp {
    private final StatefulRedisConnection<String, String> connection;
    private final StatefulRedisConnection<String, String> second;
    private final RedisCommands<String, String> c;
    private final RedisCommands<String, String> other;

    private LettuceApp(RedisClient client) {
        connection = client.connect();
        second = client.connect();
        c = connection.sync();
        other = second.sync();
    }

    private static List<String> scored(List<ScoredValue<String>> values) {
        return values.stream().map(one -> Say.scored(one.getValue(), one.getScore())).collect(Collectors.toList());
    }

    private static List<String> values(List<KeyValue<String, String>> pairs) {
        return pairs.stream().map(one -> one.getValueOrElse(null)).collect(Collectors.toList());
    }

    private void texts() {
        Say.say("strings", c.set("s", "hello", SetArgs.Builder.ex(100)), c.get("s"), within(c.ttl("s")),
            c.set("s", "other", SetArgs.Builder.nx()), c.getdel("s"), c.get("s"));
        Say.say("texts", c.mset(ordered("a", "1", "b", "2")), values(c.mget("a", "b", "nosuch")), c.append("a", "23"),
            c.getrange("a", 1, 2), c.strlen("a"), c.setrange("a", 1, "xx"), c.get("a"));
        Say.say("counters", c.incr("n"), c.incrby("n", 41), c.decr("n"), c.incrbyfloat("f", 1.5));
        Say.say("keys", c.exists("a", "b", "nosuch"), c.type("a"), c.rename("b", "c"), c.expire("c", 100),
            c.persist("c"), c.copy("c", "d", CopyArgs.Builder.replace(false)), c.del("c", "d"), c.unlink("a"),
            c.objectEncoding("n"));
        Say.say("unicode", c.set("ключ", "日本"), c.get("ключ"), c.strlen("ключ"));
        Say.say("large", c.set("big", "x".repeat(1 << 20)), c.strlen("big"), c.get("big").length());
    }

    private static Map<String, String> ordered(String... words) {
        Map<String, String> found = new LinkedHashMap<>();
        for (int i = 0; i < words.length; i += 2) {
            found.put(words[i], words[i + 1]);
        }
        return found;
    }

    private static boolean within(long ttl) {
        return ttl >= 1 && ttl <= 100;
    }

    private void hashes() {
        Say.say("hashes", c.hset("h", ordered("name", "Ann", "age", "30", "city", "Paris")), c.hget("h", "age"),
            values(c.hmget("h", "name", "nosuch")), c.hincrby("h", "age", 1), c.hexists("h", "city"),
            c.hdel("h", "city"), c.hlen("h"), c.hgetall("h"));
        Say.say("fieldttl", c.hexpire("h", 100, "name", "nosuch"), c.httl("h", "age", "nosuch"),
            c.hpersist("h", "name"));
    }

    private void lists() throws InterruptedException {
        Say.say("lists", c.rpush("l", "a", "b", "c"), c.lpush("l", "z"), c.lrange("l", 0, -1), c.lindex("l", 1),
            c.linsert("l", true, "b", "x"), c.lrem("l", 1, "x"), c.lset("l", 0, "y"), c.ltrim("l", 0, 2),
            c.lmove("l", "m", LMoveArgs.Builder.leftRight()), c.lpos("l", "b"), c.lpop("l"), c.rpop("l"), c.llen("l"));
        RedisFuture<KeyValue<String, String>> waiting = second.async().blpop(10, "q");
        Say.until(() -> c.info("clients").contains("blocked_clients:1\r"));
        long pushed = c.rpush("q", "job");
        KeyValue<String, String> job = waiting.toCompletableFuture().join();
        Say.say("handover", List.of(job.getKey(), job.getValue()), pushed);
        Say.say("sort", c.rpush("nums", "3", "1", "2"), c.mset(Map.of("w:1", "30", "w:2", "20", "w:3", "10")),
            c.sort("nums", SortArgs.Builder.desc().limit(0, 2)),
            c.sort("nums", SortArgs.Builder.by("w:*").get("#").get("w:*")),
            c.sortStore("nums", new SortArgs(), "sorted"));
    }

    private void sets() {
        Say.say("sets", c.sadd("x", "1", "2", "3", "a"), c.sadd("y", "3", "a", "b"), c.sismember("x", "a"),
            c.smismember("x", "1", "9"), Say.ordered(c.sinter("x", "y")), Say.ordered(c.sunion("x", "y")),
            Say.ordered(c.sdiff("x", "y")), c.sinterstore("xy", "x", "y"), c.sintercard("x", "y"),
            c.smove("x", "y", "1"), c.srem("y", "b"), c.scard("y"));
    }

    private void leaderboard() {
        Say.say("leaderboard", c.zadd("board", 30.0, "ann", 20.0, "bob", 10.0, "cid"), c.zincrby("board", 15, "cid"),
            scored(c.zrevrangeWithScores("board", 0, 1)), c.zrank("board", "ann"), c.zrevrank("board", "ann"),
            c.zscore("board", "bob"), c.zrangebyscore("board", Range.create(20, 25), Limit.unlimited()),
            c.zcount("board", Range.create(20, 30)), c.zadd("board", ZAddArgs.Builder.gt().ch(), 5.0, "ann"),
            scored(List.of(c.zpopmax("board"))).get(0), c.zmscore("board", "bob", "cid"),
            c.zremrangebyrank("board", 0, 0), c.zrange("board", 0, -1));
        Say.say("zalgebra", c.zadd("p", 1.0, "a", 2.0, "b"), c.zadd("r", 10.0, "b", 20.0, "c"),
            c.zunionstore("u", ZStoreArgs.Builder.weights(2.0, 1.0), "p", "r"), scored(c.zrangeWithScores("u", 0, -1)),
            scored(c.zinterWithScores(new ZAggregateArgs(), "p", "r")), c.zdiff("p", "r"));
    }

    private void bitsAndPlaces() {
        BitFieldArgs fields = new BitFieldArgs().set(BitFieldArgs.unsigned(8), 0, 255).get(BitFieldArgs.unsigned(4), 0);
        Say.say("bitmaps", c.setbit("bits", 7, 1), c.setbit("bits", 9, 1), c.getbit("bits", 7), c.bitcount("bits"),
            c.bitpos("bits", true), c.bitopOr("bits2", "bits", "bits"), c.bitfield("bits", fields));
        Say.say("hyperloglog", c.pfadd("hll", "a", "b", "c"), c.pfadd("hll", "a"), c.pfadd("hll2", "c", "d"),
            c.pfcount("hll", "hll2"), c.pfmerge("hll3", "hll", "hll2"), c.pfcount("hll3"));
        long added = c.geoadd("Sicily", 13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania");
        GeoCoordinates position = c.geopos("Sicily", "Palermo").get(0);
        List<String> hashes = c.geohash("Sicily", "Palermo").stream().map(one -> one.getValueOrElse(null))
            .collect(Collectors.toList());
        List<String> near = c.geosearch("Sicily", GeoSearch.fromCoordinates(15, 37),
            GeoSearch.byRadius(200, GeoArgs.Unit.km), new GeoArgs().asc()).stream().map(one -> one.getMember())
            .collect(Collectors.toList());
        Say.say("geo", added, c.geodist("Sicily", "Palermo", "Catania", GeoArgs.Unit.km), hashes,
            List.of(position.getX().doubleValue(), position.getY().doubleValue()), near);
    }

    private void together() {
        c.multi();
        c.set("t", "1");
        c.incr("t");
        List<Object> first = c.exec().stream().collect(Collectors.toList());
        c.watch("t");
        other.set("t", "9");
        c.multi();
        c.incr("t");
        TransactionResult broken = c.exec();
        Object result = broken.wasDiscarded() ? null : broken.stream().collect(Collectors.toList());
        Say.say("transaction", first, result, c.get("t"));
        List<RedisFuture<Long>> replies = new ArrayList<>();
        connection.setAutoFlushCommands(false);
        for (int i = 0; i < 100; i++) {
            replies.add(connection.async().incr("pipe"));
        }
        connection.flushCommands();
        connection.setAutoFlushCommands(true);
        Say.say("pipeline", replies.size(), replies.get(99).toCompletableFuture().join());
    }

    private void scans() {
        for (int i = 0; i < 50; i++) {
            c.set("scan:" + i, Integer.toString(i));
        }
        Set<String> found = new HashSet<>();
        ScanArgs some = ScanArgs.Builder.limit(10).match("scan:*");
        KeyScanCursor<String> cursor = c.scan(some);
        found.addAll(cursor.getKeys());
        while (!cursor.isFinished()) {
            cursor = c.scan(ScanCursor.of(cursor.getCursor()), some);
            found.addAll(cursor.getKeys());
        }
        Say.say("scan", found.size(), c.hscan("h").getMap(), Say.ordered(c.sscan("x").getValues()),
            Say.ordered(scored(c.zscan("p").getValues())));
    }

    public static void main(String[] words) throws InterruptedException {
        RedisClient client = RedisClient.create(RedisURI.create(words[0], Integer.parseInt(words[1])));
        ProtocolVersion version = words[2].equals("3") ? ProtocolVersion.RESP3 : ProtocolVersion.RESP2;
        client.setOptions(ClientOptions.builder().protocolVersion(version).build());
        LettuceApp app = new LettuceApp(client);
        app.texts();
        app.hashes();
        app.lists();
        app.sets();
        app.leaderboard();
        app.bitsAndPlaces();
        app.together();
        app.scans();
        Say.say("errors", Say.error(() -> app.c.lpush("n", "x")));
        Say.say("protocol", Say.protocol(app.c.clientInfo()));
        app.connection.close();
        app.second.close();
        client.shutdown(java.time.Duration.ZERO, java.time.Duration.ZERO);
    }
}

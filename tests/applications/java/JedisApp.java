import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Collectors;
import redis.clients.jedis.DefaultJedisClientConfig;
import redis.clients.jedis.GeoCoordinate;
import redis.clients.jedis.HostAndPort;
import redis.clients.jedis.Jedis;
import redis.clients.jedis.Pipeline;
import redis.clients.jedis.RedisProtocol;
import redis.clients.jedis.Response;
import redis.clients.jedis.Transaction;
import redis.clients.jedis.args.BitOP;
import redis.clients.jedis.args.GeoUnit;
import redis.clients.jedis.args.ListDirection;
import redis.clients.jedis.args.ListPosition;
import redis.clients.jedis.params.GeoSearchParam;
import redis.clients.jedis.params.ScanParams;
import redis.clients.jedis.params.SetParams;
import redis.clients.jedis.params.SortingParams;
import redis.clients.jedis.params.ZAddParams;
import redis.clients.jedis.params.ZParams;
import redis.clients.jedis.params.ZRangeParams;
import redis.clients.jedis.resps.ScanResult;
import redis.clients.jedis.resps.Tuple;

/** The scenario of scenario.md by Jedis. */
public final class JedisApp {
    private final Jedis c;
    private final Jedis other;

    private JedisApp(String host, int port, RedisProtocol protocol) {
        DefaultJedisClientConfig config = DefaultJedisClientConfig.builder().protocol(protocol).build();
        c = new Jedis(new HostAndPort(host, port), config);
        other = new Jedis(new HostAndPort(host, port), config);
    }

    private static List<String> scored(List<Tuple> tuples) {
        return tuples.stream().map(one -> Say.scored(one.getElement(), one.getScore())).collect(Collectors.toList());
    }

    private void texts() {
        Say.say("strings", c.set("s", "hello", SetParams.setParams().ex(100)), c.get("s"),
            within(c.ttl("s")), c.set("s", "other", SetParams.setParams().nx()), c.getDel("s"), c.get("s"));
        Say.say("texts", c.mset("a", "1", "b", "2"), c.mget("a", "b", "nosuch"), c.append("a", "23"),
            c.getrange("a", 1, 2), c.strlen("a"), c.setrange("a", 1, "xx"), c.get("a"));
        Say.say("counters", c.incr("n"), c.incrBy("n", 41), c.decr("n"), c.incrByFloat("f", 1.5));
        Say.say("keys", c.exists("a", "b", "nosuch"), c.type("a"), c.rename("b", "c"), c.expire("c", 100),
            c.persist("c"), c.copy("c", "d", false), c.del("c", "d"), c.unlink("a"), c.objectEncoding("n"));
        Say.say("unicode", c.set("ключ", "日本"), c.get("ключ"), c.strlen("ключ"));
        Say.say("large", c.set("big", "x".repeat(1 << 20)), c.strlen("big"), c.get("big").length());
    }

    private static boolean within(long ttl) {
        return ttl >= 1 && ttl <= 100;
    }

    private void hashes() {
        Say.say("hashes", c.hset("h", Map.of("name", "Ann", "age", "30", "city", "Paris")), c.hget("h", "age"),
            c.hmget("h", "name", "nosuch"), c.hincrBy("h", "age", 1), c.hexists("h", "city"), c.hdel("h", "city"),
            c.hlen("h"), c.hgetAll("h"));
        Say.say("fieldttl", c.hexpire("h", 100, "name", "nosuch"), c.httl("h", "age", "nosuch"),
            c.hpersist("h", "name"));
    }

    private void lists() throws InterruptedException {
        Say.say("lists", c.rpush("l", "a", "b", "c"), c.lpush("l", "z"), c.lrange("l", 0, -1), c.lindex("l", 1),
            c.linsert("l", ListPosition.BEFORE, "b", "x"), c.lrem("l", 1, "x"), c.lset("l", 0, "y"),
            c.ltrim("l", 0, 2), c.lmove("l", "m", ListDirection.LEFT, ListDirection.RIGHT), c.lpos("l", "b"),
            c.lpop("l"), c.rpop("l"), c.llen("l"));
        CompletableFuture<List<String>> waiting = CompletableFuture.supplyAsync(() -> other.blpop(10, "q"));
        Say.until(() -> c.info("clients").contains("blocked_clients:1\r"));
        long pushed = c.rpush("q", "job");
        Say.say("handover", waiting.join(), pushed);
        Say.say("sort", c.rpush("nums", "3", "1", "2"), c.mset("w:1", "30", "w:2", "20", "w:3", "10"),
            c.sort("nums", new SortingParams().limit(0, 2).desc()),
            c.sort("nums", new SortingParams().by("w:*").get("#", "w:*")), c.sort("nums", "sorted"));
    }

    private void sets() {
        Say.say("sets", c.sadd("x", "1", "2", "3", "a"), c.sadd("y", "3", "a", "b"), c.sismember("x", "a"),
            c.smismember("x", "1", "9"), Say.ordered(c.sinter("x", "y")), Say.ordered(c.sunion("x", "y")),
            Say.ordered(c.sdiff("x", "y")), c.sinterstore("xy", "x", "y"), c.sintercard("x", "y"),
            c.smove("x", "y", "1"), c.srem("y", "b"), c.scard("y"));
    }

    private void leaderboard() {
        Say.say("leaderboard", c.zadd("board", Map.of("ann", 30.0, "bob", 20.0, "cid", 10.0)),
            c.zincrby("board", 15, "cid"),
            scored(c.zrangeWithScores("board", ZRangeParams.zrangeParams(0, 1).rev())), c.zrank("board", "ann"),
            c.zrevrank("board", "ann"), c.zscore("board", "bob"),
            c.zrange("board", ZRangeParams.zrangeByScoreParams(20, 25)), c.zcount("board", 20, 30),
            c.zadd("board", 5, "ann", ZAddParams.zAddParams().gt().ch()), scored(List.of(c.zpopmax("board"))).get(0),
            c.zmscore("board", "bob", "cid"), c.zremrangeByRank("board", 0, 0), c.zrange("board", 0, -1));
        Say.say("zalgebra", c.zadd("p", Map.of("a", 1.0, "b", 2.0)), c.zadd("r", Map.of("b", 10.0, "c", 20.0)),
            c.zunionstore("u", new ZParams().weights(2, 1), "p", "r"), scored(c.zrangeWithScores("u", 0, -1)),
            scored(c.zinterWithScores(new ZParams(), "p", "r")), c.zdiff("p", "r"));
    }

    private void bitsAndPlaces() {
        Say.say("bitmaps", c.setbit("bits", 7, true), c.setbit("bits", 9, true), c.getbit("bits", 7),
            c.bitcount("bits"), c.bitpos("bits", true), c.bitop(BitOP.OR, "bits2", "bits", "bits"),
            c.bitfield("bits", "SET", "u8", "0", "255", "GET", "u4", "0"));
        Say.say("hyperloglog", c.pfadd("hll", "a", "b", "c"), c.pfadd("hll", "a"), c.pfadd("hll2", "c", "d"),
            c.pfcount("hll", "hll2"), c.pfmerge("hll3", "hll", "hll2"), c.pfcount("hll3"));
        Map<String, GeoCoordinate> places = Map.of("Palermo", new GeoCoordinate(13.361389, 38.115556),
            "Catania", new GeoCoordinate(15.087269, 37.502669));
        long added = c.geoadd("Sicily", places);
        GeoCoordinate position = c.geopos("Sicily", "Palermo").get(0);
        GeoSearchParam near = GeoSearchParam.geoSearchParam().fromLonLat(15, 37).byRadius(200, GeoUnit.KM).asc();
        Say.say("geo", added, c.geodist("Sicily", "Palermo", "Catania", GeoUnit.KM), c.geohash("Sicily", "Palermo"),
            List.of(position.getLongitude(), position.getLatitude()),
            c.geosearch("Sicily", near).stream().map(one -> one.getMemberByString()).collect(Collectors.toList()));
    }

    private void together() {
        Transaction transaction = c.multi();
        transaction.set("t", "1");
        transaction.incr("t");
        List<Object> first = transaction.exec();
        c.watch("t");
        other.set("t", "9");
        transaction = c.multi();
        transaction.incr("t");
        Say.say("transaction", first, transaction.exec(), c.get("t"));
        Pipeline pipe = c.pipelined();
        Response<Long> last = null;
        for (int i = 0; i < 100; i++) {
            last = pipe.incr("pipe");
        }
        Say.say("pipeline", pipe.syncAndReturnAll().size(), last.get());
    }

    private void scans() {
        for (int i = 0; i < 50; i++) {
            c.set("scan:" + i, Integer.toString(i));
        }
        Set<String> found = new HashSet<>();
        ScanParams some = new ScanParams().match("scan:*").count(10);
        String cursor = ScanParams.SCAN_POINTER_START;
        do {
            ScanResult<String> keys = c.scan(cursor, some);
            found.addAll(keys.getResult());
            cursor = keys.getCursor();
        } while (!cursor.equals(ScanParams.SCAN_POINTER_START));
        Map<String, String> fields = new HashMap<>();
        c.hscan("h", "0").getResult().forEach(field -> fields.put(field.getKey(), field.getValue()));
        Say.say("scan", found.size(), fields, Say.ordered(c.sscan("x", "0").getResult()),
            Say.ordered(scored(c.zscan("p", "0").getResult())));
    }

    public static void main(String[] words) throws InterruptedException {
        RedisProtocol protocol = words[2].equals("3") ? RedisProtocol.RESP3 : RedisProtocol.RESP2;
        JedisApp app = new JedisApp(words[0], Integer.parseInt(words[1]), protocol);
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
        app.c.close();
        app.other.close();
    }
}

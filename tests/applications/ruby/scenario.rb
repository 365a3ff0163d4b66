# The scenario of scenario.md by Debian's ruby-redis, redis-rb 4.8 in 12 and 5.3 in 13, in RESP2.
require "redis"
require "set"

raise "redis-rb 4.8 or 5.3 is wanted, this is #{Redis::VERSION}" unless Redis::VERSION.start_with?("4.8", "5.3")

def text(value)
  case value
  when nil then "nil"
  when true, "OK" then "1"
  when false then "0"
  when Float then format("%.4f", value).sub(/\.?0+\z/, "")
  when Hash then "{#{value.map { |key, one| "#{key}=#{text(one)}" }.sort.join(" ")}}"
  when Array then "[#{value.map { |one| text(one) }.join(" ")}]"
  else value.to_s
  end
end

def say(step, *values)
  puts "#{step}: #{values.map { |value| text(value) }.join(" ")}"
end

def scored((member, score))
  "#{member}=#{text(score.to_f)}"
end

def texts(c)
  say "strings", c.set("s", "hello", ex: 100), c.get("s"), c.ttl("s").between?(1, 100),
      c.set("s", "other", nx: true) || nil, c.getdel("s"), c.get("s")
  say "texts", c.mset("a", 1, "b", 2), c.mget("a", "b", "nosuch"), c.append("a", "23"), c.getrange("a", 1, 2),
      c.strlen("a"), c.setrange("a", 1, "xx"), c.get("a")
  say "counters", c.incr("n"), c.incrby("n", 41), c.decr("n"), c.incrbyfloat("f", 1.5)
  say "keys", c.exists("a", "b", "nosuch"), c.type("a"), c.rename("b", "c"), c.expire("c", 100), c.persist("c"),
      c.copy("c", "d"), c.del("c", "d"), c.unlink("a"), c.object("ENCODING", "n")
  say "unicode", c.set("ключ", "日本"), c.get("ключ"), c.strlen("ключ")
  say "large", c.set("big", "x" * (1 << 20)), c.strlen("big"), c.get("big").length
end

def hashes(c)
  say "hashes", c.hset("h", { "name" => "Ann", "age" => 30, "city" => "Paris" }), c.hget("h", "age"),
      c.hmget("h", "name", "nosuch"), c.hincrby("h", "age", 1), c.hexists("h", "city"), c.hdel("h", "city"),
      c.hlen("h"), c.hgetall("h")
  say "fieldttl", c.call("HEXPIRE", "h", 100, "FIELDS", 2, "name", "nosuch"),
      c.call("HTTL", "h", "FIELDS", 2, "age", "nosuch"), c.call("HPERSIST", "h", "FIELDS", 1, "name")
end

def lists(c, other)
  say "lists", c.rpush("l", %w[a b c]), c.lpush("l", "z"), c.lrange("l", 0, -1), c.lindex("l", 1),
      c.linsert("l", "BEFORE", "b", "x"), c.lrem("l", 1, "x"), c.lset("l", 0, "y"), c.ltrim("l", 0, 2),
      c.lmove("l", "m", "LEFT", "RIGHT"), c.lpos("l", "b"), c.lpop("l"), c.rpop("l"), c.llen("l")
  waiting = Thread.new { other.blpop("q", timeout: 10) }
  sleep 0.005 until c.info("clients")["blocked_clients"] == "1"
  pushed = c.rpush("q", "job")
  say "handover", waiting.value, pushed
  say "sort", c.rpush("nums", [3, 1, 2]), c.mset("w:1", 30, "w:2", 20, "w:3", 10),
      c.sort("nums", limit: [0, 2], order: "DESC"), c.sort("nums", by: "w:*", get: ["#", "w:*"]).flatten,
      c.sort("nums", store: "sorted")
end

def sets(c)
  say "sets", c.sadd("x", [1, 2, 3, "a"]), c.sadd("y", [3, "a", "b"]), c.sismember("x", "a"),
      c.smismember("x", 1, 9), c.sinter("x", "y").sort, c.sunion("x", "y").sort, c.sdiff("x", "y").sort,
      c.sinterstore("xy", "x", "y"), c.call("SINTERCARD", 2, "x", "y"), c.smove("x", "y", 1), c.srem("y", ["b"]),
      c.scard("y")
end

def leaderboard(c)
  say "leaderboard", c.zadd("board", [[30, "ann"], [20, "bob"], [10, "cid"]]), c.zincrby("board", 15, "cid"),
      c.zrange("board", 0, 1, rev: true, with_scores: true).map { |pair| scored(pair) }, c.zrank("board", "ann"),
      c.zrevrank("board", "ann"), c.zscore("board", "bob"), c.zrange("board", 20, 25, by_score: true),
      c.zcount("board", 20, 30), c.zadd("board", [[5, "ann"]], gt: true, ch: true), scored(c.zpopmax("board")),
      c.zmscore("board", "bob", "cid"), c.zremrangebyrank("board", 0, 0), c.zrange("board", 0, -1)
  say "zalgebra", c.zadd("p", [[1, "a"], [2, "b"]]), c.zadd("r", [[10, "b"], [20, "c"]]),
      c.zunionstore("u", %w[p r], weights: [2, 1]),
      c.zrange("u", 0, -1, with_scores: true).map { |pair| scored(pair) },
      c.zinter("p", "r", with_scores: true).map { |pair| scored(pair) }, c.zdiff("p", "r")
end

def bits_and_places(c)
  say "bitmaps", c.setbit("bits", 7, 1), c.setbit("bits", 9, 1), c.getbit("bits", 7), c.bitcount("bits"),
      c.bitpos("bits", 1), c.bitop("OR", "bits2", "bits", "bits"),
      c.call("BITFIELD", "bits", "SET", "u8", 0, 255, "GET", "u4", 0)
  say "hyperloglog", c.pfadd("hll", %w[a b c]), c.pfadd("hll", "a"), c.pfadd("hll2", %w[c d]),
      c.pfcount("hll", "hll2"), c.pfmerge("hll3", "hll", "hll2"), c.pfcount("hll3")
  say "geo", c.geoadd("Sicily", 13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania"),
      c.geodist("Sicily", "Palermo", "Catania", "km").to_f, c.geohash("Sicily", "Palermo"),
      c.geopos("Sicily", "Palermo")[0].map(&:to_f),
      c.call("GEOSEARCH", "Sicily", "FROMLONLAT", 15, 37, "BYRADIUS", 200, "km", "ASC")
end

def together(c, other)
  first = c.multi do |transaction|
    transaction.set("t", 1)
    transaction.incr("t")
  end
  c.watch("t")
  other.set("t", 9)
  second = c.multi { |transaction| transaction.incr("t") }
  say "transaction", first, second, c.get("t")
  replies = c.pipelined { |pipe| 100.times { pipe.incr("pipe") } }
  say "pipeline", replies.length, replies.last
end

def scans(c)
  50.times { |i| c.set("scan:#{i}", i) }
  say "scan", c.scan_each(match: "scan:*", count: 10).to_set.length, c.hscan("h", 0)[1].to_h, c.sscan("x", 0)[1].sort,
      c.zscan("p", 0)[1].map { |pair| scored(pair) }.sort
end

host, port = ARGV
c = Redis.new(host: host, port: port.to_i)
other = Redis.new(host: host, port: port.to_i)
texts(c)
hashes(c)
lists(c, other)
sets(c)
leaderboard(c)
bits_and_places(c)
together(c, other)
scans(c)
begin
  c.lpush("n", "x")
rescue Redis::CommandError => e
  say "errors", e.message.split.first
end
say "protocol", c.call("CLIENT", "INFO")[/resp=(\d)/, 1]

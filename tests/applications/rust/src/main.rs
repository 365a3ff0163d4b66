//! The scenario of scenario.md by redis-rs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use redis::{Client, Commands, Connection, FromRedisValue, RedisResult, Value};

/// What a value is on the page.
trait Text {
    fn text(&self) -> String;
}

impl Text for Value {
    fn text(&self) -> String {
        match self {
            Value::Nil => "nil".into(),
            Value::Int(number) => number.to_string(),
            Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Value::Array(values) | Value::Set(values) => values.text(),
            Value::SimpleString(word) => word.clone(),
            Value::Okay => "1".into(),
            Value::Double(number) => number.text(),
            Value::Boolean(truth) => truth.text(),
            other => panic!("no reply of the scenario is like this: {other:?}"),
        }
    }
}

impl Text for String {
    fn text(&self) -> String {
        self.clone()
    }
}

impl Text for i64 {
    fn text(&self) -> String {
        self.to_string()
    }
}

impl Text for usize {
    fn text(&self) -> String {
        self.to_string()
    }
}

impl Text for bool {
    fn text(&self) -> String {
        i64::from(*self).to_string()
    }
}

impl Text for f64 {
    fn text(&self) -> String {
        let text = format!("{self:.4}");
        text.trim_end_matches('0').trim_end_matches('.').into()
    }
}

impl Text for (String, f64) {
    fn text(&self) -> String {
        format!("{}={}", self.0, self.1.text())
    }
}

impl<T: Text> Text for Option<T> {
    fn text(&self) -> String {
        self.as_ref().map_or("nil".into(), Text::text)
    }
}

impl<T: Text> Text for Vec<T> {
    fn text(&self) -> String {
        listed(self.iter())
    }
}

impl<T: Text> Text for BTreeSet<T> {
    fn text(&self) -> String {
        listed(self.iter())
    }
}

impl Text for BTreeMap<String, String> {
    fn text(&self) -> String {
        let pairs: Vec<_> = self.iter().map(|(key, value)| format!("{key}={value}")).collect();
        format!("{{{}}}", pairs.join(" "))
    }
}

fn listed<'a, T: Text + 'a>(values: impl Iterator<Item = &'a T>) -> String {
    format!("[{}]", values.map(Text::text).collect::<Vec<_>>().join(" "))
}

/// A command by its words, its reply as a T.
fn ask<T: FromRedisValue>(c: &mut Connection, words: &str) -> RedisResult<T> {
    let mut words = words.split(' ');
    let mut command = redis::cmd(words.next().unwrap_or_default());
    for word in words {
        command.arg(word);
    }
    command.query(c)
}

macro_rules! say {
    ($step:expr, $($value:expr),+ $(,)?) => {
        println!("{}: {}", $step, vec![$($value.text()),+].join(" "))
    };
}

/// The replies of several commands, each as the server gave it.
fn all(c: &mut Connection, commands: &[&str]) -> RedisResult<String> {
    let mut texts = Vec::new();
    for command in commands {
        texts.push(ask::<Value>(c, command)?.text());
    }
    Ok(texts.join(" "))
}

fn texts(c: &mut Connection) -> RedisResult<()> {
    let set: Value = c.set_ex("s", "hello", 100)?;
    let got: String = c.get("s")?;
    let ttl: i64 = c.ttl("s")?;
    let refused: Option<String> = ask(c, "SET s other NX")?;
    let taken: Option<String> = ask(c, "GETDEL s")?;
    let gone: Option<String> = c.get("s")?;
    say!("strings", set, got, (1..=100).contains(&ttl), refused, taken, gone);
    let set: Value = c.mset(&[("a", 1), ("b", 2)])?;
    let several: Vec<Option<String>> = c.mget(&["a", "b", "nosuch"])?;
    let length: i64 = c.append("a", "23")?;
    let part: String = c.getrange("a", 1, 2)?;
    say!("texts", set, several, length, part, all(c, &["STRLEN a", "SETRANGE a 1 xx", "GET a"])?);
    let (one, more, less): (i64, i64, i64) = (c.incr("n", 1)?, c.incr("n", 41)?, c.decr("n", 1)?);
    let fraction: f64 = c.incr("f", 1.5)?;
    say!("counters", one, more, less, fraction);
    let commands = [
        "EXISTS a b nosuch", "TYPE a", "RENAME b c", "EXPIRE c 100", "PERSIST c", "COPY c d", "DEL c d", "UNLINK a",
        "OBJECT ENCODING n",
    ];
    say!("keys", all(c, &commands)?);
    let set: Value = c.set("ключ", "日本")?;
    let (got, length): (String, i64) = (c.get("ключ")?, c.strlen("ключ")?);
    say!("unicode", set, got, length);
    let set: Value = c.set("big", "x".repeat(1 << 20))?;
    let (length, got): (i64, String) = (c.strlen("big")?, c.get("big")?);
    say!("large", set, length, got.len());
    Ok(())
}

fn hashes(c: &mut Connection) -> RedisResult<()> {
    let set: i64 = ask(c, "HSET h name Ann age 30 city Paris")?;
    let age: i64 = c.hget("h", "age")?;
    let several: Vec<Option<String>> = ask(c, "HMGET h name nosuch")?;
    let older: i64 = c.hincr("h", "age", 1)?;
    let (there, gone, length): (bool, i64, i64) = (c.hexists("h", "city")?, c.hdel("h", "city")?, c.hlen("h")?);
    let fields: BTreeMap<String, String> = c.hgetall("h")?;
    say!("hashes", set, age, several, older, there, gone, length, fields);
    let commands = ["HEXPIRE h 100 FIELDS 2 name nosuch", "HTTL h FIELDS 2 age nosuch", "HPERSIST h FIELDS 1 name"];
    say!("fieldttl", all(c, &commands)?);
    Ok(())
}

fn lists(c: &mut Connection, mut other: Connection) -> RedisResult<Connection> {
    let (right, left): (i64, i64) = (c.rpush("l", &["a", "b", "c"])?, c.lpush("l", "z")?);
    let range: Vec<String> = c.lrange("l", 0, -1)?;
    let commands = [
        "LINDEX l 1", "LINSERT l BEFORE b x", "LREM l 1 x", "LSET l 0 y", "LTRIM l 0 2", "LMOVE l m LEFT RIGHT",
        "LPOS l b", "LPOP l", "RPOP l", "LLEN l",
    ];
    say!("lists", right, left, range, all(c, &commands)?);
    let waiting = std::thread::spawn(move || -> RedisResult<(Value, Connection)> {
        Ok((ask(&mut other, "BLPOP q 10")?, other))
    });
    while !ask::<String>(c, "INFO clients")?.contains("blocked_clients:1\r") {
        std::thread::sleep(Duration::from_millis(5));
    }
    let pushed: i64 = c.rpush("q", "job")?;
    let (job, other) = waiting.join().expect("the thread that waits")?;
    say!("handover", job, pushed);
    let commands = [
        "RPUSH nums 3 1 2", "MSET w:1 30 w:2 20 w:3 10", "SORT nums LIMIT 0 2 DESC", "SORT nums BY w:* GET # GET w:*",
        "SORT nums STORE sorted",
    ];
    say!("sort", all(c, &commands)?);
    Ok(other)
}

fn sets(c: &mut Connection) -> RedisResult<()> {
    let (x, y): (i64, i64) = (c.sadd("x", &["1", "2", "3", "a"])?, c.sadd("y", &["3", "a", "b"])?);
    let member: bool = c.sismember("x", "a")?;
    let members: Vec<bool> = ask(c, "SMISMEMBER x 1 9")?;
    let both: BTreeSet<String> = c.sinter(&["x", "y"])?;
    let either: BTreeSet<String> = c.sunion(&["x", "y"])?;
    let one: BTreeSet<String> = c.sdiff(&["x", "y"])?;
    let commands = ["SINTERSTORE xy x y", "SINTERCARD 2 x y", "SMOVE x y 1", "SREM y b", "SCARD y"];
    say!("sets", x, y, member, members, both, either, one, all(c, &commands)?);
    Ok(())
}

fn leaderboard(c: &mut Connection) -> RedisResult<()> {
    let added: i64 = c.zadd_multiple("board", &[(30, "ann"), (20, "bob"), (10, "cid")])?;
    let score: f64 = c.zincr("board", "cid", 15)?;
    let first: Vec<(String, f64)> = ask(c, "ZRANGE board 0 1 REV WITHSCORES")?;
    let (rank, from_top): (i64, i64) = (c.zrank("board", "ann")?, c.zrevrank("board", "ann")?);
    let bobs: f64 = c.zscore("board", "bob")?;
    let range: Vec<String> = ask(c, "ZRANGE board 20 25 BYSCORE")?;
    let (count, changed): (i64, i64) = (c.zcount("board", 20, 30)?, ask(c, "ZADD board GT CH 5 ann")?);
    let popped: Vec<(String, f64)> = c.zpopmax("board", 1)?;
    let scores: Vec<f64> = ask(c, "ZMSCORE board bob cid")?;
    let rest = all(c, &["ZREMRANGEBYRANK board 0 0", "ZRANGE board 0 -1"])?;
    say!("leaderboard", added, score, first, rank, from_top, bobs, range, count, changed, popped[0], scores, rest);
    let (p, r): (i64, i64) = (ask(c, "ZADD p 1 a 2 b")?, ask(c, "ZADD r 10 b 20 c")?);
    let stored: i64 = ask(c, "ZUNIONSTORE u 2 p r WEIGHTS 2 1")?;
    let union: Vec<(String, f64)> = c.zrange_withscores("u", 0, -1)?;
    let both: Vec<(String, f64)> = ask(c, "ZINTER 2 p r WITHSCORES")?;
    say!("zalgebra", p, r, stored, union, both, all(c, &["ZDIFF 2 p r"])?);
    Ok(())
}

fn bits_and_places(c: &mut Connection) -> RedisResult<()> {
    let (first, second): (i64, i64) = (c.setbit("bits", 7, true)?, c.setbit("bits", 9, true)?);
    let (bit, count): (i64, i64) = (c.getbit("bits", 7)?, c.bitcount("bits")?);
    let commands = ["BITPOS bits 1", "BITOP OR bits2 bits bits", "BITFIELD bits SET u8 0 255 GET u4 0"];
    say!("bitmaps", first, second, bit, count, all(c, &commands)?);
    let (new, same, more): (i64, i64, i64) =
        (c.pfadd("hll", &["a", "b", "c"])?, c.pfadd("hll", "a")?, c.pfadd("hll2", &["c", "d"])?);
    let (together, merged): (i64, Value) = (c.pfcount(&["hll", "hll2"])?, c.pfmerge("hll3", &["hll", "hll2"])?);
    let count: i64 = c.pfcount("hll3")?;
    say!("hyperloglog", new, same, more, together, merged, count);
    let added: i64 = ask(c, "GEOADD Sicily 13.361389 38.115556 Palermo 15.087269 37.502669 Catania")?;
    let distance: f64 = ask(c, "GEODIST Sicily Palermo Catania km")?;
    let hash: Vec<String> = ask(c, "GEOHASH Sicily Palermo")?;
    let positions: Vec<Vec<f64>> = ask(c, "GEOPOS Sicily Palermo")?;
    let near: Vec<String> = ask(c, "GEOSEARCH Sicily FROMLONLAT 15 37 BYRADIUS 200 km ASC")?;
    say!("geo", added, distance, hash, positions[0], near);
    Ok(())
}

fn together(c: &mut Connection, other: &mut Connection) -> RedisResult<()> {
    let first: Vec<Value> = redis::pipe().atomic().set("t", 1).incr("t", 1).query(c)?;
    ask::<Value>(c, "WATCH t")?;
    ask::<Value>(other, "SET t 9")?;
    let second: Option<Vec<i64>> = redis::pipe().atomic().incr("t", 1).query(c)?;
    let got: i64 = c.get("t")?;
    say!("transaction", first, second, got);
    let mut pipe = redis::pipe();
    for _ in 0..100 {
        pipe.incr("pipe", 1);
    }
    let replies: Vec<i64> = pipe.query(c)?;
    say!("pipeline", replies.len(), replies[99]);
    Ok(())
}

fn scans(c: &mut Connection) -> RedisResult<()> {
    for number in 0..50 {
        ask::<Value>(c, &format!("SET scan:{number} {number}"))?;
    }
    let mut scan = redis::cmd("SCAN");
    scan.cursor_arg(0).arg("MATCH").arg("scan:*").arg("COUNT").arg(10);
    let found: BTreeSet<String> = scan.iter::<String>(c)?.collect();
    let fields: BTreeMap<String, String> = c.hscan::<_, (String, String)>("h")?.collect();
    let members: BTreeSet<String> = c.sscan::<_, String>("x")?.collect();
    let mut scores: Vec<(String, f64)> = c.zscan::<_, (String, f64)>("p")?.collect();
    scores.sort_by(|one, two| one.0.cmp(&two.0));
    say!("scan", found.len(), fields, members, scores);
    Ok(())
}

fn main() -> RedisResult<()> {
    let words: Vec<String> = std::env::args().collect();
    let client = Client::open(format!("redis://{}:{}/?protocol={}", words[1], words[2], words[3]))?;
    let (mut c, other) = (client.get_connection()?, client.get_connection()?);
    texts(&mut c)?;
    hashes(&mut c)?;
    let mut other = lists(&mut c, other)?;
    sets(&mut c)?;
    leaderboard(&mut c)?;
    bits_and_places(&mut c)?;
    together(&mut c, &mut other)?;
    scans(&mut c)?;
    if let Err(error) = ask::<Value>(&mut c, "LPUSH n x") {
        say!("errors", error.code().unwrap_or_default().to_string());
    }
    let info: String = ask(&mut c, "CLIENT INFO")?;
    let at = info.find("resp=").expect("resp= in CLIENT INFO") + "resp=".len();
    say!("protocol", info[at..at + 1].to_string());
    Ok(())
}

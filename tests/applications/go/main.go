// The scenario of scenario.md by go-redis.
package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

var ctx = context.Background()

// must has the value of a reply; redis.Nil is nothing, any other error the end.
func must[T any](value T, err error) any {
	if err == redis.Nil {
		return nil
	}
	if err != nil {
		panic(err)
	}
	return value
}

func number(value float64) string {
	text := strconv.FormatFloat(value, 'f', 4, 64)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
}

func text(value any) string {
	switch value := value.(type) {
	case nil:
		return "nil"
	case bool:
		if value {
			return "1"
		}
		return "0"
	case string:
		if value == "OK" {
			return "1"
		}
		return value
	case float64:
		return number(value)
	case redis.Z:
		return fmt.Sprintf("%v=%s", value.Member, number(value.Score))
	case map[string]string:
		pairs := []string{}
		for key, one := range value {
			pairs = append(pairs, key+"="+one)
		}
		sort.Strings(pairs)
		return "{" + strings.Join(pairs, " ") + "}"
	case []any:
		return list(value)
	case []string:
		return list(value)
	case []int64:
		return list(value)
	case []bool:
		return list(value)
	case []float64:
		return list(value)
	case []redis.Z:
		return list(value)
	}
	return fmt.Sprint(value)
}

func list[T any](values []T) string {
	words := make([]string, len(values))
	for i, value := range values {
		words[i] = text(value)
	}
	return "[" + strings.Join(words, " ") + "]"
}

func ordered(values []string, err error) any {
	sort.Strings(values)
	return must(values, err)
}

func say(step string, values ...any) {
	words := make([]string, len(values))
	for i, value := range values {
		words[i] = text(value)
	}
	fmt.Printf("%s: %s\n", step, strings.Join(words, " "))
}

func texts(c *redis.Client) {
	say("strings", must(c.Set(ctx, "s", "hello", 100*time.Second).Result()), must(c.Get(ctx, "s").Result()),
		within(c.TTL(ctx, "s").Val()), must(c.SetArgs(ctx, "s", "other", redis.SetArgs{Mode: "NX"}).Result()),
		must(c.GetDel(ctx, "s").Result()), must(c.Get(ctx, "s").Result()))
	say("texts", must(c.MSet(ctx, "a", 1, "b", 2).Result()), must(c.MGet(ctx, "a", "b", "nosuch").Result()),
		must(c.Append(ctx, "a", "23").Result()), must(c.GetRange(ctx, "a", 1, 2).Result()),
		must(c.StrLen(ctx, "a").Result()), must(c.SetRange(ctx, "a", 1, "xx").Result()), must(c.Get(ctx, "a").Result()))
	say("counters", must(c.Incr(ctx, "n").Result()), must(c.IncrBy(ctx, "n", 41).Result()),
		must(c.Decr(ctx, "n").Result()), must(c.IncrByFloat(ctx, "f", 1.5).Result()))
}

func within(ttl time.Duration) bool {
	return ttl >= time.Second && ttl <= 100*time.Second
}

func keys(c *redis.Client) {
	say("keys", must(c.Exists(ctx, "a", "b", "nosuch").Result()), must(c.Type(ctx, "a").Result()),
		must(c.Rename(ctx, "b", "c").Result()), must(c.Expire(ctx, "c", 100*time.Second).Result()),
		must(c.Persist(ctx, "c").Result()), must(c.Copy(ctx, "c", "d", 0, false).Result()),
		must(c.Del(ctx, "c", "d").Result()), must(c.Unlink(ctx, "a").Result()),
		must(c.ObjectEncoding(ctx, "n").Result()))
	say("unicode", must(c.Set(ctx, "ключ", "日本", 0).Result()), must(c.Get(ctx, "ключ").Result()),
		must(c.StrLen(ctx, "ключ").Result()))
	say("large", must(c.Set(ctx, "big", strings.Repeat("x", 1<<20), 0).Result()),
		must(c.StrLen(ctx, "big").Result()), len(c.Get(ctx, "big").Val()))
}

func hashes(c *redis.Client) {
	say("hashes", must(c.HSet(ctx, "h", "name", "Ann", "age", 30, "city", "Paris").Result()),
		must(c.HGet(ctx, "h", "age").Result()), must(c.HMGet(ctx, "h", "name", "nosuch").Result()),
		must(c.HIncrBy(ctx, "h", "age", 1).Result()), must(c.HExists(ctx, "h", "city").Result()),
		must(c.HDel(ctx, "h", "city").Result()), must(c.HLen(ctx, "h").Result()), must(c.HGetAll(ctx, "h").Result()))
	say("fieldttl", must(c.HExpire(ctx, "h", 100*time.Second, "name", "nosuch").Result()),
		must(c.HTTL(ctx, "h", "age", "nosuch").Result()), must(c.HPersist(ctx, "h", "name").Result()))
}

func lists(c, other *redis.Client) {
	say("lists", must(c.RPush(ctx, "l", "a", "b", "c").Result()), must(c.LPush(ctx, "l", "z").Result()),
		must(c.LRange(ctx, "l", 0, -1).Result()), must(c.LIndex(ctx, "l", 1).Result()),
		must(c.LInsertBefore(ctx, "l", "b", "x").Result()), must(c.LRem(ctx, "l", 1, "x").Result()),
		must(c.LSet(ctx, "l", 0, "y").Result()), must(c.LTrim(ctx, "l", 0, 2).Result()),
		must(c.LMove(ctx, "l", "m", "LEFT", "RIGHT").Result()), must(c.LPos(ctx, "l", "b", redis.LPosArgs{}).Result()),
		must(c.LPop(ctx, "l").Result()), must(c.RPop(ctx, "l").Result()), must(c.LLen(ctx, "l").Result()))
	waiting := make(chan any)
	go func() { waiting <- must(other.BLPop(ctx, 10*time.Second, "q").Result()) }()
	for !strings.Contains(c.Info(ctx, "clients").Val(), "blocked_clients:1\r") {
		time.Sleep(5 * time.Millisecond)
	}
	pushed := must(c.RPush(ctx, "q", "job").Result())
	say("handover", <-waiting, pushed)
	say("sort", must(c.RPush(ctx, "nums", 3, 1, 2).Result()),
		must(c.MSet(ctx, "w:1", 30, "w:2", 20, "w:3", 10).Result()),
		must(c.Sort(ctx, "nums", &redis.Sort{Count: 2, Order: "DESC"}).Result()),
		must(c.Sort(ctx, "nums", &redis.Sort{By: "w:*", Get: []string{"#", "w:*"}}).Result()),
		must(c.SortStore(ctx, "nums", "sorted", &redis.Sort{}).Result()))
}

func sets(c *redis.Client) {
	say("sets", must(c.SAdd(ctx, "x", 1, 2, 3, "a").Result()), must(c.SAdd(ctx, "y", 3, "a", "b").Result()),
		must(c.SIsMember(ctx, "x", "a").Result()), must(c.SMIsMember(ctx, "x", 1, 9).Result()),
		ordered(c.SInter(ctx, "x", "y").Result()), ordered(c.SUnion(ctx, "x", "y").Result()),
		ordered(c.SDiff(ctx, "x", "y").Result()), must(c.SInterStore(ctx, "xy", "x", "y").Result()),
		must(c.SInterCard(ctx, 0, "x", "y").Result()), must(c.SMove(ctx, "x", "y", 1).Result()),
		must(c.SRem(ctx, "y", "b").Result()), must(c.SCard(ctx, "y").Result()))
}

func leaderboard(c *redis.Client) {
	of := func(score float64, member string) redis.Z { return redis.Z{Score: score, Member: member} }
	say("leaderboard", must(c.ZAdd(ctx, "board", of(30, "ann"), of(20, "bob"), of(10, "cid")).Result()),
		must(c.ZIncrBy(ctx, "board", 15, "cid").Result()),
		must(c.ZRangeArgsWithScores(ctx, redis.ZRangeArgs{Key: "board", Start: 0, Stop: 1, Rev: true}).Result()),
		must(c.ZRank(ctx, "board", "ann").Result()), must(c.ZRevRank(ctx, "board", "ann").Result()),
		must(c.ZScore(ctx, "board", "bob").Result()),
		must(c.ZRangeArgs(ctx, redis.ZRangeArgs{Key: "board", Start: 20, Stop: 25, ByScore: true}).Result()),
		must(c.ZCount(ctx, "board", "20", "30").Result()),
		must(c.ZAddArgs(ctx, "board", redis.ZAddArgs{GT: true, Ch: true, Members: []redis.Z{of(5, "ann")}}).Result()),
		c.ZPopMax(ctx, "board").Val()[0], must(c.ZMScore(ctx, "board", "bob", "cid").Result()),
		must(c.ZRemRangeByRank(ctx, "board", 0, 0).Result()), must(c.ZRange(ctx, "board", 0, -1).Result()))
	say("zalgebra", must(c.ZAdd(ctx, "p", of(1, "a"), of(2, "b")).Result()),
		must(c.ZAdd(ctx, "r", of(10, "b"), of(20, "c")).Result()),
		must(c.ZUnionStore(ctx, "u", &redis.ZStore{Keys: []string{"p", "r"}, Weights: []float64{2, 1}}).Result()),
		must(c.ZRangeWithScores(ctx, "u", 0, -1).Result()),
		must(c.ZInterWithScores(ctx, &redis.ZStore{Keys: []string{"p", "r"}}).Result()),
		must(c.ZDiff(ctx, "p", "r").Result()))
}

func bitsAndPlaces(c *redis.Client) {
	say("bitmaps", must(c.SetBit(ctx, "bits", 7, 1).Result()), must(c.SetBit(ctx, "bits", 9, 1).Result()),
		must(c.GetBit(ctx, "bits", 7).Result()), must(c.BitCount(ctx, "bits", nil).Result()),
		must(c.BitPos(ctx, "bits", 1).Result()), must(c.BitOpOr(ctx, "bits2", "bits", "bits").Result()),
		must(c.BitField(ctx, "bits", "SET", "u8", 0, 255, "GET", "u4", 0).Result()))
	say("hyperloglog", must(c.PFAdd(ctx, "hll", "a", "b", "c").Result()), must(c.PFAdd(ctx, "hll", "a").Result()),
		must(c.PFAdd(ctx, "hll2", "c", "d").Result()), must(c.PFCount(ctx, "hll", "hll2").Result()),
		must(c.PFMerge(ctx, "hll3", "hll", "hll2").Result()), must(c.PFCount(ctx, "hll3").Result()))
	at := c.GeoAdd(ctx, "Sicily", &redis.GeoLocation{Name: "Palermo", Longitude: 13.361389, Latitude: 38.115556},
		&redis.GeoLocation{Name: "Catania", Longitude: 15.087269, Latitude: 37.502669})
	position := c.GeoPos(ctx, "Sicily", "Palermo").Val()[0]
	say("geo", must(at.Result()), must(c.GeoDist(ctx, "Sicily", "Palermo", "Catania", "km").Result()),
		must(c.GeoHash(ctx, "Sicily", "Palermo").Result()), []float64{position.Longitude, position.Latitude},
		must(c.GeoSearch(ctx, "Sicily", &redis.GeoSearchQuery{
			Longitude: 15, Latitude: 37, Radius: 200, RadiusUnit: "km", Sort: "ASC",
		}).Result()))
}

func together(c, other *redis.Client) {
	replies, err := c.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.Set(ctx, "t", 1, 0)
		pipe.Incr(ctx, "t")
		return nil
	})
	must(replies, err)
	first := []any{replies[0].(*redis.StatusCmd).Val(), replies[1].(*redis.IntCmd).Val()}
	var second any = "done"
	err = c.Watch(ctx, func(tx *redis.Tx) error {
		must(other.Set(ctx, "t", 9, 0).Result())
		_, err := tx.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
			pipe.Incr(ctx, "t")
			return nil
		})
		return err
	}, "t")
	if err == redis.TxFailedErr {
		second = nil
	} else {
		must(0, err)
	}
	say("transaction", first, second, must(c.Get(ctx, "t").Result()))
	replies, err = c.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i := 0; i < 100; i++ {
			pipe.Incr(ctx, "pipe")
		}
		return nil
	})
	must(replies, err)
	say("pipeline", len(replies), replies[99].(*redis.IntCmd).Val())
}

func scans(c *redis.Client) {
	for i := 0; i < 50; i++ {
		must(c.Set(ctx, fmt.Sprintf("scan:%d", i), i, 0).Result())
	}
	found := map[string]bool{}
	for keys := c.Scan(ctx, 0, "scan:*", 10).Iterator(); keys.Next(ctx); {
		found[keys.Val()] = true
	}
	all := func(names *redis.ScanIterator) (values []string) {
		for names.Next(ctx) {
			values = append(values, names.Val())
		}
		return values
	}
	fields := map[string]string{}
	flat := all(c.HScan(ctx, "h", 0, "", 0).Iterator())
	for i := 0; i < len(flat); i += 2 {
		fields[flat[i]] = flat[i+1]
	}
	flat = all(c.ZScan(ctx, "p", 0, "", 0).Iterator())
	scores := []string{}
	for i := 0; i < len(flat); i += 2 {
		scores = append(scores, flat[i]+"="+flat[i+1])
	}
	say("scan", len(found), fields, ordered(all(c.SScan(ctx, "x", 0, "", 0).Iterator()), nil), ordered(scores, nil))
}

func main() {
	protocol, err := strconv.Atoi(os.Args[3])
	must(protocol, err)
	connect := func() *redis.Client {
		return redis.NewClient(&redis.Options{Addr: os.Args[1] + ":" + os.Args[2], Protocol: protocol})
	}
	c, other := connect(), connect()
	texts(c)
	keys(c)
	hashes(c)
	lists(c, other)
	sets(c)
	leaderboard(c)
	bitsAndPlaces(c)
	together(c, other)
	scans(c)
	say("errors", strings.Split(c.LPush(ctx, "n", "x").Err().Error(), " ")[0])
	info := must(c.Do(ctx, "CLIENT", "INFO").Text()).(string)
	say("protocol", regexp.MustCompile(`resp=(\d)`).FindStringSubmatch(info)[1])
}

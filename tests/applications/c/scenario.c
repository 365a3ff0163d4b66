/* The scenario of scenario.md by hiredis: each command as words, each reply printed by its type. */
#include <hiredis.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LARGE (1 << 20)

static redisContext *c, *other;

static void fail(redisContext *at, const char *what)
{
    fprintf(stderr, "%s: %s\n", what, at && at->err ? at->errstr : "not as it should be");
    exit(1);
}

static redisContext *connected(const char *host, int port, const char *protocol)
{
    redisContext *made = redisConnect(host, port);
    redisReply *reply;
    if (!made || made->err)
        fail(made, "connect");
    if (!(reply = redisCommand(made, "HELLO %s", protocol)) || reply->type == REDIS_REPLY_ERROR)
        fail(made, "HELLO");
    freeReplyObject(reply);
    return made;
}

static redisReply *ask(redisContext *at, const char *command)
{
    redisReply *reply = redisCommand(at, command);
    if (!reply)
        fail(at, command);
    return reply;
}

/* A number as the page wants it: four decimals at most. */
static void print_number(double value)
{
    char text[64];
    int length = snprintf(text, sizeof text, "%.4f", value);
    while (text[length - 1] == '0')
        length--;
    if (text[length - 1] == '.')
        length--;
    printf("%.*s", length, text);
}

static void print(const redisReply *reply);

static void print_elements(const redisReply *reply, size_t step, char open, char close)
{
    putchar(open);
    for (size_t i = 0; i < reply->elements; i += step) {
        if (i)
            putchar(' ');
        print(reply->element[i]);
        if (step == 2) {
            putchar('=');
            print(reply->element[i + 1]);
        }
    }
    putchar(close);
}

static void print(const redisReply *reply)
{
    switch (reply->type) {
    case REDIS_REPLY_NIL: printf("nil"); break;
    case REDIS_REPLY_INTEGER:
    case REDIS_REPLY_BOOL: printf("%lld", reply->integer); break;
    case REDIS_REPLY_DOUBLE: print_number(reply->dval); break;
    case REDIS_REPLY_STATUS: printf("%s", strcmp(reply->str, "OK") ? reply->str : "1"); break;
    case REDIS_REPLY_ERROR: printf("%.*s", (int)strcspn(reply->str, " "), reply->str); break;
    case REDIS_REPLY_MAP: print_elements(reply, 2, '{', '}'); break;
    case REDIS_REPLY_ARRAY:
    case REDIS_REPLY_SET: print_elements(reply, 1, '[', ']'); break;
    default: fwrite(reply->str, 1, reply->len, stdout);
    }
}

static void say(const char *command)
{
    redisReply *reply = ask(c, command);
    putchar(' ');
    print(reply);
    freeReplyObject(reply);
}

/* Members of a set in order; `width` 2: pairs, which stay together. */
static int by_first(const void *left, const void *right)
{
    const redisReply *const *a = left, *const *b = right;
    return strcmp((*a)->str, (*b)->str);
}

static void sort_elements(redisReply *reply, size_t width)
{
    qsort(reply->element, reply->elements / width, width * sizeof *reply->element, by_first);
}

static void say_set(const char *command)
{
    redisReply *reply = ask(c, command);
    sort_elements(reply, 1);
    putchar(' ');
    print_elements(reply, 1, '[', ']');
    freeReplyObject(reply);
}

static void say_map(const char *command)
{
    redisReply *reply = ask(c, command);
    sort_elements(reply, 2);
    putchar(' ');
    print_elements(reply, 2, '{', '}');
    freeReplyObject(reply);
}

/* Members with scores: flat texts in RESP2, pairs with doubles in RESP3. */
static void say_scores(const char *command)
{
    redisReply *reply = ask(c, command);
    putchar(' ');
    if (reply->elements && reply->element[0]->type == REDIS_REPLY_ARRAY) {
        putchar('[');
        for (size_t i = 0; i < reply->elements; i++) {
            const redisReply *pair = reply->element[i];
            printf("%s%s=", i ? " " : "", pair->element[0]->str);
            print(pair->element[1]);
        }
        putchar(']');
    } else {
        print_elements(reply, 2, '[', ']');
    }
    freeReplyObject(reply);
}

static void step(const char *name)
{
    static int begun = 0;
    printf("%s%s:", begun++ ? "\n" : "", name);
}

static void texts(void)
{
    redisReply *reply;
    char *large = malloc(LARGE);

    step("strings"), say("SET s hello EX 100"), say("GET s");
    reply = ask(c, "TTL s");
    printf(" %d", reply->integer >= 1 && reply->integer <= 100);
    freeReplyObject(reply);
    say("SET s other NX"), say("GETDEL s"), say("GET s");
    step("texts"), say("MSET a 1 b 2"), say("MGET a b nosuch"), say("APPEND a 23"), say("GETRANGE a 1 2");
    say("STRLEN a"), say("SETRANGE a 1 xx"), say("GET a");
    step("counters"), say("INCR n"), say("INCRBY n 41"), say("DECR n"), say("INCRBYFLOAT f 1.5");
    step("keys"), say("EXISTS a b nosuch"), say("TYPE a"), say("RENAME b c"), say("EXPIRE c 100"), say("PERSIST c");
    say("COPY c d"), say("DEL c d"), say("UNLINK a"), say("OBJECT ENCODING n");
    step("unicode"), say("SET ключ 日本"), say("GET ключ"), say("STRLEN ключ");
    memset(large, 'x', LARGE);
    reply = redisCommand(c, "SET big %b", large, (size_t)LARGE);
    step("large"), putchar(' '), print(reply);
    freeReplyObject(reply);
    say("STRLEN big");
    reply = ask(c, "GET big");
    printf(" %zu", reply->len);
    freeReplyObject(reply);
    free(large);
}

static void hashes(void)
{
    step("hashes"), say("HSET h name Ann age 30 city Paris"), say("HGET h age"), say("HMGET h name nosuch");
    say("HINCRBY h age 1"), say("HEXISTS h city"), say("HDEL h city"), say("HLEN h"), say_map("HGETALL h");
    step("fieldttl"), say("HEXPIRE h 100 FIELDS 2 name nosuch"), say("HTTL h FIELDS 2 age nosuch");
    say("HPERSIST h FIELDS 1 name");
}

static void *wait_for_job(void *unused)
{
    (void)unused;
    return ask(other, "BLPOP q 10");
}

static void lists(void)
{
    redisReply *info, *taken, *pushed;
    pthread_t waiting;
    int blocked = 0;

    step("lists"), say("RPUSH l a b c"), say("LPUSH l z"), say("LRANGE l 0 -1"), say("LINDEX l 1");
    say("LINSERT l BEFORE b x"), say("LREM l 1 x"), say("LSET l 0 y"), say("LTRIM l 0 2");
    say("LMOVE l m LEFT RIGHT"), say("LPOS l b"), say("LPOP l"), say("RPOP l"), say("LLEN l");
    pthread_create(&waiting, NULL, wait_for_job, NULL);
    while (!blocked) {
        info = ask(c, "INFO clients");
        blocked = strstr(info->str, "blocked_clients:1\r") != NULL;
        freeReplyObject(info);
        usleep(5000);
    }
    pushed = ask(c, "RPUSH q job");
    pthread_join(waiting, (void **)&taken);
    step("handover"), putchar(' '), print(taken), putchar(' '), print(pushed);
    step("sort"), say("RPUSH nums 3 1 2"), say("MSET w:1 30 w:2 20 w:3 10"), say("SORT nums LIMIT 0 2 DESC");
    say("SORT nums BY w:* GET # GET w:*"), say("SORT nums STORE sorted");
    freeReplyObject(taken);
    freeReplyObject(pushed);
}

static void sets(void)
{
    step("sets"), say("SADD x 1 2 3 a"), say("SADD y 3 a b"), say("SISMEMBER x a"), say("SMISMEMBER x 1 9");
    say_set("SINTER x y"), say_set("SUNION x y"), say_set("SDIFF x y"), say("SINTERSTORE xy x y");
    say("SINTERCARD 2 x y"), say("SMOVE x y 1"), say("SREM y b"), say("SCARD y");
}

static void leaderboard(void)
{
    redisReply *reply;

    step("leaderboard"), say("ZADD board 30 ann 20 bob 10 cid"), say("ZINCRBY board 15 cid");
    say_scores("ZRANGE board 0 1 REV WITHSCORES"), say("ZRANK board ann"), say("ZREVRANK board ann");
    say("ZSCORE board bob"), say("ZRANGE board 20 25 BYSCORE"), say("ZCOUNT board 20 30");
    say("ZADD board GT CH 5 ann");
    reply = ask(c, "ZPOPMAX board");
    printf(" %s=", reply->element[0]->str), print(reply->element[1]);
    freeReplyObject(reply);
    say("ZMSCORE board bob cid"), say("ZREMRANGEBYRANK board 0 0"), say("ZRANGE board 0 -1");
    step("zalgebra"), say("ZADD p 1 a 2 b"), say("ZADD r 10 b 20 c"), say("ZUNIONSTORE u 2 p r WEIGHTS 2 1");
    say_scores("ZRANGE u 0 -1 WITHSCORES"), say_scores("ZINTER 2 p r WITHSCORES"), say("ZDIFF 2 p r");
}

static void say_double(const redisReply *reply)
{
    print_number(reply->type == REDIS_REPLY_DOUBLE ? reply->dval : strtod(reply->str, NULL));
}

static void bits_and_places(void)
{
    redisReply *reply;

    step("bitmaps"), say("SETBIT bits 7 1"), say("SETBIT bits 9 1"), say("GETBIT bits 7"), say("BITCOUNT bits");
    say("BITPOS bits 1"), say("BITOP OR bits2 bits bits"), say("BITFIELD bits SET u8 0 255 GET u4 0");
    step("hyperloglog"), say("PFADD hll a b c"), say("PFADD hll a"), say("PFADD hll2 c d"), say("PFCOUNT hll hll2");
    say("PFMERGE hll3 hll hll2"), say("PFCOUNT hll3");
    step("geo"), say("GEOADD Sicily 13.361389 38.115556 Palermo 15.087269 37.502669 Catania");
    say("GEODIST Sicily Palermo Catania km"), say("GEOHASH Sicily Palermo");
    reply = ask(c, "GEOPOS Sicily Palermo");
    printf(" ["), say_double(reply->element[0]->element[0]);
    putchar(' '), say_double(reply->element[0]->element[1]), putchar(']');
    freeReplyObject(reply);
    say("GEOSEARCH Sicily FROMLONLAT 15 37 BYRADIUS 200 km ASC");
}

static void quietly(redisContext *at, const char *command)
{
    freeReplyObject(ask(at, command));
}

static void together(void)
{
    redisReply *reply = NULL;
    int replies = 0;

    quietly(c, "MULTI"), quietly(c, "SET t 1"), quietly(c, "INCR t");
    step("transaction"), say("EXEC");
    quietly(c, "WATCH t"), quietly(other, "SET t 9"), quietly(c, "MULTI"), quietly(c, "INCR t");
    say("EXEC"), say("GET t");
    for (int i = 0; i < 100; i++)
        redisAppendCommand(c, "INCR pipe");
    for (; replies < 100; replies++) {
        if (reply)
            freeReplyObject(reply);
        if (redisGetReply(c, (void **)&reply) != REDIS_OK)
            fail(c, "pipeline");
    }
    step("pipeline"), printf(" %d %lld", replies, reply->integer);
    freeReplyObject(reply);
}

static void say_scan(const char *command, size_t width)
{
    redisReply *reply = ask(c, command), *found = reply->element[1];
    sort_elements(found, width);
    putchar(' ');
    print_elements(found, width, command[0] == 'H' ? '{' : '[', command[0] == 'H' ? '}' : ']');
    freeReplyObject(reply);
}

static void scans(void)
{
    char seen[50] = {0}, cursor[32] = "0";
    int found = 0;

    for (int i = 0; i < 50; i++)
        freeReplyObject(redisCommand(c, "SET scan:%d %d", i, i));
    do {
        redisReply *reply = redisCommand(c, "SCAN %s MATCH scan:* COUNT 10", cursor);
        for (size_t i = 0; i < reply->element[1]->elements; i++)
            seen[atoi(reply->element[1]->element[i]->str + strlen("scan:")) % 50] = 1;
        snprintf(cursor, sizeof cursor, "%s", reply->element[0]->str);
        freeReplyObject(reply);
    } while (strcmp(cursor, "0"));
    for (int i = 0; i < 50; i++)
        found += seen[i];
    step("scan"), printf(" %d", found), say_scan("HSCAN h 0", 2), say_scan("SSCAN x 0", 1), say_scan("ZSCAN p 0", 2);
}

int main(int argc, char **argv)
{
    redisReply *reply;

    if (argc != 4)
        return 2;
    c = connected(argv[1], atoi(argv[2]), argv[3]);
    other = connected(argv[1], atoi(argv[2]), argv[3]);
    texts(), hashes(), lists(), sets(), leaderboard(), bits_and_places(), together(), scans();
    step("errors"), say("LPUSH n x");
    reply = ask(c, "CLIENT INFO");
    step("protocol"), printf(" %c\n", strstr(reply->str, "resp=")[strlen("resp=")]);
    freeReplyObject(reply);
    redisFree(c);
    redisFree(other);
    return 0;
}

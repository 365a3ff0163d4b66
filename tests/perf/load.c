/* The load of the benchmark: fixed commands over many pipelined connections, from one thread.
 *
 * usage: load PORT key=value ... -- WORD... [-- WORD...]... [--- WORD... [-- WORD...]...]
 *   conns=50  pipeline=1  seconds=1  ops=0 (0 = until the time is up)  keys=100000
 *   rate=0 (ops/s, 0 = as fast as possible)
 *   seq=0 (1: numbers in order, to fill)  seed=1  inline=0 (1: the words on one line)
 * Several commands follow each other in one batch, which holds `pipeline` of them. Behind `---` come those of every
 * second connection: two that wait for each other. Then `ops` is needed, and each connection sends its share.
 *
 * Numbers inside words: "__key__" becomes "key:" and twelve digits below `keys`, "__10-99__" a number from 10 to 99
 * (both of as many digits), "__pair__" "pair:" and twelve digits that a connection shares with its neighbour. They are
 * random. In order, each command has the next key, and ranges count on when all keys have had their turn: so
 * `HSET __key__ f:__000-999__ v` gives every key all fields. Equal ranges of one command count on from one to the
 * next. What a range yields in order is shuffled.
 *
 * With a rate the load is open: a batch is due at its time whether or not earlier ones were answered, and latency
 * counts from when it was due, so a stalled server cannot hide behind a waiting client. Without, each connection
 * sends its next batch when the last was answered, and latency counts from sending.
 *
 * Prints one line of JSON: ops, errors, seconds, own CPU seconds, latency of batches in us (mean and percentiles).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CONNS_MAX = 4096, EVENTS_MAX = 512, READ_BYTES = 256 * 1024, HEAD_MAX = 32, SUB = 64, BUCKETS = 64 * SUB };
enum { DIGITS = 12, COMMANDS_MAX = 8, SLOTS_MAX = 1024 };
enum { SLOT_KEY, SLOT_PAIR, SLOT_RANGE };

typedef struct {
    int kind, digits;    /* SLOT_*; how many digits are written ... */
    size_t at;           /* ... at this place of the batch */
    uint64_t low, span;  /* SLOT_RANGE */
    uint64_t times, nth; /* slots of this range in its command, and which of them it is */
    uint64_t factor;     /* shuffles, having no divisor in common with span */
    long command;        /* position of its command in the batch */
} slot_t;

typedef struct { /* what a connection sends again and again */
    char *bytes;
    size_t n, slot_count;
    slot_t *slots;
    int has_key;
    long next_command; /* number of the batch's first command, for numbers in order */
} batch_t;

typedef struct {
    int fd;
    batch_t *batch;
    uint64_t pair;
    long batches_left;    /* of two that wait for each other */
    char *out;            /* the batch; digits are rewritten before each sending */
    size_t sent, due;     /* bytes of the current batch sent; batches waiting to be sent (open load) */
    long unanswered;      /* replies still to come for the batch in flight */
    long nested;          /* elements of aggregates still to come */
    size_t skip;          /* bytes of a bulk still to come, CR LF included */
    char head[HEAD_MAX];  /* a reply's first line that came in parts */
    size_t head_len;
    uint64_t start_ns;
    uint64_t *queue;      /* due times of waiting batches (open load), a ring of QUEUE */
    size_t queue_at;
    int want_write;
} conn_t;

enum { QUEUE = 1 << 14 };

static struct {
    long conns, pipeline, ops, keys, seq, is_inline;
    double seconds, rate;
    uint64_t random;
    batch_t of_role[2];
    int roles;
    long sent_ops, done_ops, errors;
    uint64_t histogram[BUCKETS], batches, latency_sum_ns;
} S = {.conns = 50, .pipeline = 1, .seconds = 1, .keys = 100000, .random = 1};

static conn_t C[CONNS_MAX];
static char input[READ_BYTES];

static void die(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t next_random(void) { /* xorshift64* */
    uint64_t x = S.random;
    x ^= x >> 12, x ^= x << 25, x ^= x >> 27;
    return (S.random = x) * 2685821657736338717ull;
}

/* Log-linear: SUB steps per power of two, so a percentile is exact to 1/SUB. */
static int bucket_of(uint64_t ns) {
    if (ns < SUB) return (int)ns;
    int power = 63 - __builtin_clzll(ns);
    return (power - 5) * SUB + (int)((ns >> (power - 6)) & (SUB - 1));
}

static double bucket_us(int bucket) {
    if (bucket < SUB) return bucket / 1e3;
    int power = bucket / SUB + 5;
    return (double)((uint64_t)(SUB + bucket % SUB) << (power - 6)) / 1e3;
}

static double percentile_us(double share) {
    uint64_t target = (uint64_t)(share * (double)S.batches), seen = 0;
    for (int i = 0; i < BUCKETS; i++)
        if ((seen += S.histogram[i]) > target) return bucket_us(i);
    return 0;
}

/* -- the batch */

static uint64_t common_divisor(uint64_t a, uint64_t b) { return b ? common_divisor(b, a % b) : a; }

/* A mark at the beginning of `word`: fills in what it stands for. Returns its length, 0 if there is none. */
static size_t parse_mark(const char *word, slot_t *slot, const char **prefix) {
    char low[DIGITS + 1], high[DIGITS + 1], end = 0;
    int n = 0;
    *prefix = "";
    slot->digits = DIGITS;
    if (!strncmp(word, "__key__", 7)) return slot->kind = SLOT_KEY, *prefix = "key:", 7;
    if (!strncmp(word, "__pair__", 8)) return slot->kind = SLOT_PAIR, *prefix = "pair:", 8;
    if (sscanf(word, "__%12[0-9]-%12[0-9]_%c%n", low, high, &end, &n) < 3 || end != '_' || n == 0) return 0;
    if (strlen(low) != strlen(high) || strcmp(low, high) > 0) errno = EINVAL, die(word);
    slot->kind = SLOT_RANGE;
    slot->digits = (int)strlen(low);
    slot->low = strtoull(low, NULL, 10);
    slot->span = strtoull(high, NULL, 10) - slot->low + 1;
    return (size_t)n;
}

static size_t put_word(char *to, const char *word, slot_t *slots, size_t *slot_count) {
    size_t n = 0, mark;
    const char *prefix;
    while (*word) {
        slot_t slot = {0};
        if (!(mark = parse_mark(word, &slot, &prefix))) {
            to[n++] = *word++;
            continue;
        }
        n += (size_t)sprintf(to + n, "%s", prefix);
        slot.at = n;
        if (*slot_count == SLOTS_MAX) errno = E2BIG, die(word);
        slots[(*slot_count)++] = slot;
        memset(to + n, '0', (size_t)slot.digits);
        n += (size_t)slot.digits;
        word += mark;
    }
    return n;
}

/* Counts slots of one range, and chooses how ranges are shuffled. */
static void relate_slots(slot_t *slots, size_t count) {
    static const uint64_t FACTORS[] = {7919, 104729, 611953};
    for (size_t i = 0; i < count; i++) {
        slot_t *slot = &slots[i];
        for (size_t j = 0; j < count; j++) {
            int same = slots[j].kind == SLOT_RANGE && slots[j].low == slot->low && slots[j].span == slot->span;
            slot->times += (uint64_t)same, slot->nth += (uint64_t)(same && j < i);
        }
        slot->factor = FACTORS[slot->digits % 3];
        if (slot->kind == SLOT_RANGE && common_divisor(slot->factor, slot->span) != 1) slot->factor = 1;
    }
}

static void add_command(batch_t *batch, int words, char **argv, long command) {
    size_t room = 64, n, count = 0;
    static slot_t slots[SLOTS_MAX];
    for (int i = 0; i < words; i++) room += strlen(argv[i]) * 3 + 64;
    char *word = malloc(room);
    batch->bytes = realloc(batch->bytes, batch->n + room * 2);
    char *to = batch->bytes;
    n = batch->n + (S.is_inline ? 0 : (size_t)sprintf(to + batch->n, "*%d\r\n", words));
    for (int i = 0; i < words; i++) {
        size_t first = count, len = put_word(word, argv[i], slots, &count);
        n += (size_t)(S.is_inline ? sprintf(to + n, i ? " " : "") : sprintf(to + n, "$%zu\r\n", len));
        for (size_t j = first; j < count; j++) slots[j].at += n, slots[j].command = command;
        memcpy(to + n, word, len);
        n += len;
        if (!S.is_inline || i == words - 1) memcpy(to + n, "\r\n", 2), n += 2;
    }
    free(word);
    relate_slots(slots, count);
    batch->slots = realloc(batch->slots, sizeof(slot_t) * (batch->slot_count + count));
    memcpy(batch->slots + batch->slot_count, slots, sizeof(slot_t) * count);
    batch->slot_count += count;
    for (size_t j = 0; j < count; j++) batch->has_key |= slots[j].kind == SLOT_KEY;
    batch->n = n;
}

/* All commands of all roles; false if the words make no sense. */
static int build_batches(int words, char **argv) {
    int at[2][COMMANDS_MAX], count[2][COMMANDS_MAX] = {{0}}, commands[2] = {0, 0};
    S.roles = 1;
    for (int i = 0, fresh = 1; i < words; i++) {
        int role = S.roles - 1;
        if (!strcmp(argv[i], "---")) {
            if (++S.roles > 2) return 0;
            fresh = 1;
        } else if (!strcmp(argv[i], "--")) fresh = 1;
        else {
            if (fresh && commands[role] == COMMANDS_MAX) return 0;
            if (fresh) at[role][commands[role]++] = i, fresh = 0;
            count[role][commands[role] - 1]++;
        }
    }
    for (int role = 0; role < S.roles; role++) {
        if (commands[role] == 0 || S.pipeline % commands[role]) return 0;
        for (long i = 0; i < S.pipeline; i++) {
            int which = (int)(i % commands[role]);
            add_command(&S.of_role[role], count[role][which], argv + at[role][which], i);
        }
    }
    return S.roles == 1 || (S.ops && S.conns % 2 == 0);
}

static uint64_t number_of(const conn_t *c, const slot_t *slot) {
    uint64_t command = (uint64_t)(c->batch->next_command + slot->command), turn;
    if (slot->kind == SLOT_PAIR) return c->pair;
    if (slot->kind == SLOT_KEY) return (S.seq ? command : next_random()) % (uint64_t)S.keys;
    if (!S.seq) return slot->low + next_random() % slot->span;
    turn = command / (c->batch->has_key ? (uint64_t)S.keys : 1) * slot->times + slot->nth;
    return slot->low + turn % slot->span * slot->factor % slot->span;
}

static void draw_numbers(conn_t *c) {
    for (size_t i = 0; i < c->batch->slot_count; i++) {
        const slot_t *slot = &c->batch->slots[i];
        uint64_t number = number_of(c, slot);
        char *at = c->out + slot->at + slot->digits;
        for (int d = 0; d < slot->digits; d++) *--at = (char)('0' + number % 10), number /= 10;
    }
    c->batch->next_command += S.pipeline;
}

/* -- sending */

static void flush_out(int epoll, conn_t *c) {
    ssize_t n = write(c->fd, c->out + c->sent, c->batch->n - c->sent);
    if (n < 0 && errno != EAGAIN) die("write");
    if (n > 0) c->sent += (size_t)n;
    int want = c->sent < c->batch->n;
    if (want != c->want_write) {
        struct epoll_event event = {.events = EPOLLIN | (want ? EPOLLOUT : 0), .data.ptr = c};
        epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event);
        c->want_write = want;
    }
}

static void send_batch(int epoll, conn_t *c, uint64_t start_ns) {
    draw_numbers(c);
    c->sent = 0;
    c->start_ns = start_ns;
    c->unanswered = S.pipeline;
    c->batches_left--;
    S.sent_ops += S.pipeline;
    flush_out(epoll, c);
}

static int may_send(const conn_t *c, uint64_t now, uint64_t end_ns) {
    if (S.roles == 2) return c->batches_left > 0;
    return S.ops ? S.sent_ops < S.ops : now < end_ns;
}

/* -- replies: only their borders matter */

static void reply_line(conn_t *c, const char *line, size_t n) {
    long size = n > 1 ? atol(line + 1) : 0;
    if (c->nested) c->nested--;
    if (*line == '-') S.errors++;
    if (*line == '$' && size >= 0) c->skip = (size_t)size + 2;
    if ((*line == '*' || *line == '~') && size > 0) c->nested += size;
    if (*line == '%') c->nested += 2 * size;
}

/* Consumes n bytes; returns how many replies ended. */
static long consume(conn_t *c, const char *p, size_t n) {
    long done = 0;
    while (n) {
        if (c->skip) {
            size_t step = c->skip < n ? c->skip : n;
            c->skip -= step, p += step, n -= step;
        } else {
            const char *end = memchr(p, '\n', n);
            size_t step = end ? (size_t)(end - p) + 1 : n;
            size_t room = HEAD_MAX - 1 - c->head_len, part = step < room ? step : room;
            memcpy(c->head + c->head_len, p, part);
            c->head_len += part, p += step, n -= step;
            if (!end) break;
            c->head[c->head_len] = 0;
            reply_line(c, c->head, c->head_len);
            c->head_len = 0;
        }
        if (c->skip == 0 && c->nested == 0 && c->head_len == 0) done++;
    }
    return done;
}

static void on_readable(conn_t *c) {
    ssize_t n = read(c->fd, input, sizeof input);
    if (n == 0) errno = ECONNRESET;
    if (n <= 0 && errno != EAGAIN) die("read");
    if (n <= 0) return;
    long done = consume(c, input, (size_t)n);
    S.done_ops += done;
    c->unanswered -= done;
    if (done && c->unanswered == 0) {
        uint64_t took = now_ns() - c->start_ns;
        S.histogram[bucket_of(took)]++, S.batches++, S.latency_sum_ns += took;
    }
}

/* -- the loop */

static void connect_all(int epoll, int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    int one = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (long i = 0; i < S.conns; i++) {
        C[i].fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(C[i].fd, (struct sockaddr *)&address, sizeof address)) die("connect");
        setsockopt(C[i].fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        fcntl(C[i].fd, F_SETFL, O_NONBLOCK);
        C[i].batch = &S.of_role[S.roles == 2 ? i % 2 : 0];
        C[i].pair = (uint64_t)i / 2;
        C[i].batches_left = S.ops / S.pipeline / S.conns;
        C[i].out = malloc(C[i].batch->n);
        if (S.rate > 0) C[i].queue = malloc(sizeof(uint64_t) * QUEUE);
        memcpy(C[i].out, C[i].batch->bytes, C[i].batch->n);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &C[i]};
        epoll_ctl(epoll, EPOLL_CTL_ADD, C[i].fd, &event);
    }
}

/* Open load: gives every batch whose time has come to the next connection in turn. Returns the next due time. */
static uint64_t hand_out_due(int epoll, uint64_t now, uint64_t end_ns, uint64_t due) {
    static long turn;
    uint64_t step = (uint64_t)(1e9 * (double)S.pipeline / S.rate);
    for (; due <= now && due < end_ns; due += step) {
        conn_t *c = &C[turn++ % S.conns];
        if (c->unanswered == 0) send_batch(epoll, c, due);
        else if (c->due < QUEUE) c->queue[(c->queue_at + c->due++) % QUEUE] = due;
        else S.errors++;
    }
    return due;
}

static void next_of(int epoll, conn_t *c, uint64_t end_ns) {
    if (S.rate > 0) {
        if (c->due == 0) return;
        uint64_t start_ns = c->queue[c->queue_at++ % QUEUE];
        c->due--;
        send_batch(epoll, c, start_ns);
    } else {
        uint64_t now = now_ns();
        if (may_send(c, now, end_ns)) send_batch(epoll, c, now);
    }
}

static int wait_ready(int epoll, struct epoll_event *events, uint64_t due, uint64_t end_ns) {
    if (S.rate <= 0) return epoll_wait(epoll, events, EVENTS_MAX, 1000);
    uint64_t now = now_ns(), wait = due < end_ns ? (due > now ? due - now : 0) : 100000000;
    struct timespec t = {(time_t)(wait / 1000000000u), (long)(wait % 1000000000u)};
    return epoll_pwait2(epoll, events, EVENTS_MAX, &t, NULL);
}

static void run(int epoll) {
    struct epoll_event events[EVENTS_MAX];
    uint64_t start = now_ns(), end_ns = start + (uint64_t)(S.seconds * 1e9), due = start;
    uint64_t last_progress = start;
    if (S.rate <= 0)
        for (long i = 0; i < S.conns && may_send(&C[i], start, end_ns); i++) send_batch(epoll, &C[i], now_ns());
    for (;;) {
        uint64_t now = now_ns();
        if (S.rate > 0) due = hand_out_due(epoll, now, end_ns, due);
        if (S.done_ops == S.sent_ops && !(S.rate > 0 ? due < end_ns : S.roles == 1 && may_send(NULL, now, end_ns)))
            return;
        int ready = wait_ready(epoll, events, due, end_ns);
        if (ready > 0) last_progress = now;
        if (now - last_progress > 20000000000u) errno = ETIMEDOUT, die("no reply for 20 s");
        for (int i = 0; i < ready; i++) {
            conn_t *c = events[i].data.ptr;
            if (events[i].events & EPOLLOUT) flush_out(epoll, c);
            if (events[i].events & ~(uint32_t)EPOLLOUT) {
                long before = c->unanswered;
                on_readable(c);
                if (before && c->unanswered == 0) next_of(epoll, c, end_ns);
            }
        }
    }
}

static int parse_options(int argc, char **argv) {
    int at = 2;
    for (; at < argc && strcmp(argv[at], "--"); at++) {
        char *value = strchr(argv[at], '=');
        if (!value) return -1;
        *value++ = 0;
#define NUMBER(field, text) if (!strcmp(argv[at], text)) { S.field = atof(value); continue; }
        NUMBER(conns, "conns") NUMBER(pipeline, "pipeline") NUMBER(seconds, "seconds") NUMBER(ops, "ops")
        NUMBER(keys, "keys") NUMBER(rate, "rate") NUMBER(seq, "seq") NUMBER(random, "seed") NUMBER(is_inline, "inline")
        return -1;
    }
    return at + 1 < argc && S.conns <= CONNS_MAX ? at + 1 : -1;
}

int main(int argc, char **argv) {
    int words_at = argc > 3 ? parse_options(argc, argv) : -1;
    if (words_at < 0 || !build_batches(argc - words_at, argv + words_at))
        return fprintf(stderr, "usage: %s PORT key=value ... -- WORD...\n", argv[0]), 2;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    int epoll = epoll_create1(0);
    connect_all(epoll, atoi(argv[1]));
    uint64_t start = now_ns();
    run(epoll);
    double took = (double)(now_ns() - start) / 1e9;
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    double cpu = (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec);
    cpu += (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
    double mean_us = S.batches ? (double)S.latency_sum_ns / (double)S.batches / 1e3 : 0;
    printf("{\"ops\": %ld, \"errors\": %ld, ", S.done_ops, S.errors);
    printf("\"seconds\": %.6f, \"cpu_seconds\": %.6f, ", took, cpu);
    printf("\"mean_us\": %.1f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, \"max_us\": %.1f}\n", mean_us,
           percentile_us(.5), percentile_us(.99), percentile_us(.999), percentile_us(1 - 1e-12));
    return 0;
}

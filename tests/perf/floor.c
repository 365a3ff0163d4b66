/* The kernel's floor: a server that does nothing but what every server must ask of the kernel.
 *
 * One epoll loop; per ready connection one read and one write. It knows how long a request is, counts the bytes that
 * arrive, and owes one reply to each whole request. No parsing, no keys, no memory. What it costs per command is what
 * the kernel's sockets cost for requests and replies of these sizes; no server over TCP can be below it.
 *
 * usage: floor PORT REQUEST_BYTES < reply
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_BYTES = 64 * 1024, EVENTS_MAX = 256, FDS_MAX = 65536 };
enum { OUTPUT_BYTES = 16 * 1024 * 1024, REPEATED_BYTES = 1024 * 1024 };

typedef struct {
    size_t partial; /* bytes of a request that is not whole yet */
    size_t owed;    /* bytes of replies still to be sent ... */
    size_t at;      /* ... from this place in `output` on, which is less than a reply's length */
    int waits;      /* EPOLLOUT is registered */
} conn_t;

static char input[READ_BYTES];
static char output[OUTPUT_BYTES]; /* the reply again and again */
static size_t request_bytes, reply_bytes, output_bytes;
static conn_t conns[FDS_MAX];

static int fail(const char *what) {
    perror(what);
    return 1;
}

static void want_writable(int epoll, int fd, int on) {
    struct epoll_event event = {.events = EPOLLIN | (on ? EPOLLOUT : 0), .data.fd = fd};
    if (conns[fd].waits != on) epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event);
    conns[fd].waits = on;
}

/* Sends what is owed, until the socket is full. Returns 0 when the connection is over. */
static int flush_out(int epoll, int fd) {
    conn_t *c = &conns[fd];
    while (c->owed) {
        size_t offered = c->owed < output_bytes - c->at ? c->owed : output_bytes - c->at;
        ssize_t n = write(fd, output + c->at, offered);
        if (n < 0 && errno != EAGAIN) return 0;
        if (n > 0) c->owed -= (size_t)n, c->at = (c->at + (size_t)n) % reply_bytes;
        if (n < (ssize_t)offered) break;
    }
    want_writable(epoll, fd, c->owed > 0);
    return 1;
}

static int serve(int epoll, int fd) {
    conn_t *c = &conns[fd];
    ssize_t n = read(fd, input, sizeof input);
    if (n <= 0) return n < 0 && errno == EAGAIN;
    c->partial += (size_t)n;
    c->owed += c->partial / request_bytes * reply_bytes;
    c->partial %= request_bytes;
    return flush_out(epoll, fd);
}

static int read_reply(void) {
    size_t n;
    while ((n = fread(output + reply_bytes, 1, sizeof output - reply_bytes, stdin)) > 0) reply_bytes += n;
    if (reply_bytes == 0 || reply_bytes == sizeof output) return 0;
    for (output_bytes = reply_bytes; output_bytes + reply_bytes <= REPEATED_BYTES; output_bytes += reply_bytes)
        memcpy(output + output_bytes, output, reply_bytes);
    return 1;
}

int main(int argc, char **argv) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    struct epoll_event events[EVENTS_MAX];
    int one = 1;
    if (argc != 3 || (request_bytes = strtoul(argv[2], NULL, 10)) == 0 || !read_reply())
        return fprintf(stderr, "usage: %s PORT REQUEST_BYTES < reply (less than 16 MB)\n", argv[0]), 2;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    address.sin_port = htons((unsigned short)atoi(argv[1]));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 511)) return fail("listen");
    int epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int ready = epoll_wait(epoll, events, EVENTS_MAX, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd != listener) {
                int alive = events[i].events & EPOLLOUT ? flush_out(epoll, fd) : 1;
                if (alive && events[i].events & ~(uint32_t)EPOLLOUT) alive = serve(epoll, fd);
                if (!alive) close(fd);
                continue;
            }
            fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
            if (fd < 0 || fd >= FDS_MAX) continue;
            memset(&conns[fd], 0, sizeof conns[fd]);
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            event.events = EPOLLIN;
            event.data.fd = fd;
            epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
        }
    }
}

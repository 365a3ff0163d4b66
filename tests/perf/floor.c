/* The kernel's floor: a server that does nothing but what every server must ask of the kernel.
 *
 * One epoll loop; per ready connection one read and one write. It counts `*` bytes (one per command, as
 * keys and values of the load hold none) and answers "+OK" to each. No parsing, no keys, no memory.
 * What it costs per command is what the kernel's sockets cost; no server over TCP can be below it.
 *
 * usage: floor PORT
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_BYTES = 64 * 1024, EVENTS_MAX = 256, REPLY_BYTES = 5 };

static char input[READ_BYTES];
static char output[READ_BYTES / 4 * REPLY_BYTES];

static int fail(const char *what) {
    perror(what);
    return 1;
}

/* Answers what one read brings. Returns 0 when the connection is over. A write that does not fit in the
 * socket's buffer cannot happen with a load that reads its replies; it ends the connection. */
static int serve(int fd) {
    ssize_t n = read(fd, input, sizeof input);
    if (n <= 0) return n < 0 && errno == EAGAIN;
    size_t commands = 0;
    for (char *at = input; (at = memchr(at, '*', (size_t)(input + n - at))); at++) commands++;
    if (commands == 0) return 1;
    return write(fd, output, commands * REPLY_BYTES) == (ssize_t)(commands * REPLY_BYTES);
}

int main(int argc, char **argv) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    struct epoll_event events[EVENTS_MAX];
    int one = 1;
    if (argc != 2) return fprintf(stderr, "usage: %s PORT\n", argv[0]), 2;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < sizeof output / REPLY_BYTES; i++) memcpy(output + i * REPLY_BYTES, "+OK\r\n", REPLY_BYTES);
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
                if (!serve(fd)) close(fd);
                continue;
            }
            fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
            if (fd < 0) continue;
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            event.events = EPOLLIN;
            event.data.fd = fd;
            epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
        }
    }
}

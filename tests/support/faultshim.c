/* Faults of a disk, by LD_PRELOAD: kills the process, or fails, shortens or delays calls on files below one folder.

   FAULT_DIR      the folder; calls on other files pass through untouched
   FAULT_CONTROL  a file of rules, read again whenever it is replaced (then all counts start at zero)
   FAULT_LOG      optional: a line "<call> <file name> <bytes>" for each call that is about to be made

   A rule is a line:  <action> <call> <nth> [<argument>] [@<glob of the file's name>]

     action   kill-before, kill-after    SIGKILL to the process before or after the call
              cut-before, cut-after      the same, and first every file loses what was not fsynced: a power cut
              fail <errno name>          the call does nothing and fails
              short <bytes>              a write takes only so many bytes
              stall <ms>                 the call is made after a pause
              hold                       the call is made when the rules are replaced
     call     open (for writing), write (also pwrite, writev), fsync (also fdatasync), rename, unlink, truncate, any
     nth      "3" the third call that this rule matches; "3-" the third and all after it

   "cut" models lost appends, not lost directory entries: a file is cut to the size it had at its last fsync.
   Everything here is under one lock: the servers that it is used with write from a few threads. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { OPEN = 1, WRITE = 2, FSYNC = 4, RENAME = 8, UNLINK = 16, TRUNCATE = 32, ANY = 63 };
enum { FD_MAX = 65536, RULES_MAX = 64, FILES_MAX = 4096 };

typedef struct {
    char action[16], glob[128];
    int calls, nth, onwards, count;
    long argument;
} rule_t;

typedef struct {
    char path[PATH_MAX];
    off_t synced; /* bytes that a power cut leaves */
} file_t;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char folder[PATH_MAX];
static size_t folder_len;
static const char *control_path;
static int log_fd = -1;
static struct timespec control_mtime;
static ino_t control_inode;
static rule_t rules[RULES_MAX];
static int rule_count;
static file_t *files;
static int file_count;
static int fd_file[FD_MAX]; /* index in files + 1; 0 = not below the folder */

#define REAL(name, type, ...) ((type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))

static const struct { const char *name; int value; } NAMES[] = {
    {"open", OPEN}, {"write", WRITE}, {"fsync", FSYNC}, {"rename", RENAME}, {"unlink", UNLINK},
    {"truncate", TRUNCATE}, {"any", ANY}, {"ENOSPC", ENOSPC}, {"EIO", EIO}, {"EDQUOT", EDQUOT}, {"EROFS", EROFS},
    {"EACCES", EACCES}, {"EINTR", EINTR}, {"EMFILE", EMFILE}, {"ENOMEM", ENOMEM},
};

static long named(const char *word) {
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
        if (!strcmp(NAMES[i].name, word)) return NAMES[i].value;
    return strtol(word, NULL, 10);
}

__attribute__((constructor)) static void begin(void) {
    const char *dir = getenv("FAULT_DIR"), *log = getenv("FAULT_LOG");
    control_path = getenv("FAULT_CONTROL");
    if (dir == NULL || realpath(dir, folder) == NULL) return;
    files = calloc(FILES_MAX, sizeof *files);
    folder_len = strlen(folder);
    if (log) log_fd = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

static void parse_rules(char *text) {
    char *line, *save_line = NULL;
    rule_count = 0;
    for (line = strtok_r(text, "\n", &save_line); line; line = strtok_r(NULL, "\n", &save_line)) {
        char *word, *save = NULL;
        int at = 0;
        rule_t r = {.glob = "*"};
        for (word = strtok_r(line, " ", &save); word; word = strtok_r(NULL, " ", &save), at++) {
            if (word[0] == '@') snprintf(r.glob, sizeof r.glob, "%s", word + 1);
            else if (at == 0) snprintf(r.action, sizeof r.action, "%s", word);
            else if (at == 1) r.calls = named(word);
            else if (at == 2) r.nth = atoi(word), r.onwards = strchr(word, '-') != NULL;
            else r.argument = named(word);
        }
        if (at && rule_count < RULES_MAX) rules[rule_count++] = r;
    }
}

static void refresh_rules(void) {
    struct stat s;
    static char text[16384];
    if (control_path == NULL || stat(control_path, &s) != 0) { rule_count = 0; return; }
    if (s.st_ino == control_inode && !memcmp(&s.st_mtim, &control_mtime, sizeof control_mtime)) return;
    int fd = syscall(SYS_openat, AT_FDCWD, control_path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    long n = syscall(SYS_read, fd, text, sizeof text - 1);
    syscall(SYS_close, fd);
    text[n > 0 ? n : 0] = 0;
    control_inode = s.st_ino;
    control_mtime = s.st_mtim;
    parse_rules(text);
}

/* The absolute form of path if it lies in the folder (its parent must exist), else NULL. */
static const char *below(int dirfd, const char *path, char *out) {
    char joined[PATH_MAX * 2], parent[PATH_MAX * 2], link[64], *slash;
    if (folder_len == 0 || path == NULL) return NULL;
    if (path[0] == '/') snprintf(joined, sizeof joined, "%s", path);
    else {
        if (dirfd == AT_FDCWD) { if (!getcwd(joined, PATH_MAX)) return NULL; }
        else {
            snprintf(link, sizeof link, "/proc/self/fd/%d", dirfd);
            ssize_t n = readlink(link, joined, PATH_MAX - 1);
            if (n < 0) return NULL;
            joined[n] = 0;
        }
        size_t used = strlen(joined);
        snprintf(joined + used, sizeof joined - used, "/%s", path);
    }
    snprintf(parent, sizeof parent, "%s", joined);
    slash = strrchr(parent, '/');
    const char *base = strrchr(joined, '/') + 1;
    *(slash == parent ? slash + 1 : slash) = 0;
    char resolved[PATH_MAX];
    if (realpath(parent, resolved) == NULL) return NULL;
    int whole = !strcmp(base, ".") || !*base; /* "folder/." is the folder itself */
    if (snprintf(out, PATH_MAX, "%s%s%s", resolved, whole ? "" : "/", whole ? "" : base) >= PATH_MAX) return NULL;
    return !strncmp(out, folder, folder_len) && (out[folder_len] == '/' || !out[folder_len]) ? out : NULL;
}

static file_t *file_of(const char *path, int create) {
    for (int i = 0; i < file_count; i++)
        if (!strcmp(files[i].path, path)) return &files[i];
    if (!create || file_count == FILES_MAX) return NULL;
    snprintf(files[file_count].path, PATH_MAX, "%s", path);
    files[file_count].synced = 0;
    return &files[file_count++];
}

static void die(int cut) {
    for (int i = 0; cut && i < file_count; i++) {
        struct stat s;
        if (stat(files[i].path, &s) == 0 && S_ISREG(s.st_mode) && s.st_size > files[i].synced)
            syscall(SYS_truncate, files[i].path, files[i].synced);
    }
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* Until the rules are other ones than this thread read; without the lock, as the other threads are not held. */
static void hold(void) {
    struct stat s;
    ino_t inode = control_inode;
    struct timespec mtime = control_mtime, pause = {0, 1000000};
    pthread_mutex_unlock(&lock);
    while (stat(control_path, &s) == 0 && s.st_ino == inode && !memcmp(&s.st_mtim, &mtime, sizeof mtime))
        nanosleep(&pause, NULL);
    pthread_mutex_lock(&lock);
}

/* What the rules want of this call: 0 = make it, else an errno. *shorten becomes the bytes to write, *after the rule
   that applies when the call is made. */
static int consult(int call, const char *path, size_t bytes, size_t *shorten, const rule_t **after) {
    const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    char line[PATH_MAX + 64];
    int error = 0;
    *after = NULL;
    refresh_rules();
    if (log_fd >= 0) {
        const char *name = "any";
        for (int i = 0; i < 6; i++) if (NAMES[i].value == call) name = NAMES[i].name;
        int n = snprintf(line, sizeof line, "%s %s %zu\n", name, base, bytes);
        if (syscall(SYS_write, log_fd, line, n) < 0) return 0;
    }
    for (int i = 0; i < rule_count; i++) {
        rule_t *r = &rules[i];
        if (!(r->calls & call) || fnmatch(r->glob, base, 0)) continue;
        r->count++;
        if (r->count != r->nth && !(r->onwards && r->count > r->nth)) continue;
        if (!strcmp(r->action, "kill-before")) die(0);
        if (!strcmp(r->action, "cut-before")) die(1);
        if (!strncmp(r->action, "kill-after", 10) || !strcmp(r->action, "cut-after")) *after = r;
        if (!strcmp(r->action, "fail")) error = r->argument;
        if (!strcmp(r->action, "short") && shorten && (size_t)r->argument < *shorten) *shorten = r->argument;
        if (!strcmp(r->action, "hold")) {
            hold();
            break; /* the rules that this loop runs over are no more */
        }
        if (!strcmp(r->action, "stall")) {
            struct timespec t = {r->argument / 1000, r->argument % 1000 * 1000000};
            pthread_mutex_unlock(&lock); /* a slow disk delays this thread, not the others */
            nanosleep(&t, NULL);
            pthread_mutex_lock(&lock);
        }
    }
    return error;
}

static void finish(const rule_t *after) {
    if (after) die(after->action[0] == 'c');
}

/* ---- calls on descriptors: `expression` is the real call, with `n` bytes to write where that applies */
#define ON_FD(call, fd, size, expression, on_success)                                              \
    size_t n = (size);                                                                             \
    (void)n;                                                                                       \
    if (files == NULL || fd < 0 || fd >= FD_MAX || !fd_file[fd]) return expression;                \
    const rule_t *after;                                                                           \
    pthread_mutex_lock(&lock);                                                                     \
    file_t *file = &files[fd_file[fd] - 1];                                                        \
    int error = consult(call, file->path, n, &n, &after);                                          \
    pthread_mutex_unlock(&lock);                                                                   \
    if (error) { errno = error; return -1; }                                                       \
    __typeof__(expression) result = expression;                                                    \
    int saved = errno;                                                                             \
    pthread_mutex_lock(&lock);                                                                     \
    if (result >= 0) { on_success; }                                                               \
    finish(after);                                                                                 \
    pthread_mutex_unlock(&lock);                                                                   \
    errno = saved;                                                                                 \
    return result;

static void note_synced(int fd, file_t *file) {
    struct stat s;
    if (fstat(fd, &s) == 0 && S_ISREG(s.st_mode)) file->synced = s.st_size;
}

ssize_t write(int fd, const void *p, size_t size) {
    ON_FD(WRITE, fd, size, REAL("write", ssize_t, int, const void *, size_t)(fd, p, n), )
}
ssize_t pwrite(int fd, const void *p, size_t size, off_t at) {
    ON_FD(WRITE, fd, size, REAL("pwrite", ssize_t, int, const void *, size_t, off_t)(fd, p, n, at), )
}
ssize_t pwrite64(int fd, const void *p, size_t size, off_t at) { return pwrite(fd, p, size, at); }
ssize_t writev(int fd, const struct iovec *v, int count) {
    size_t total = 0;
    for (int i = 0; i < count; i++) total += v[i].iov_len;
    if (fd >= 0 && fd < FD_MAX && fd_file[fd]) { /* as one write of a copy, so that it can be shortened */
        char *all = malloc(total ? total : 1), *to = all;
        for (int i = 0; i < count; to += v[i].iov_len, i++) memcpy(to, v[i].iov_base, v[i].iov_len);
        ssize_t done = write(fd, all, total);
        free(all);
        return done;
    }
    return REAL("writev", ssize_t, int, const struct iovec *, int)(fd, v, count);
}
int fsync(int fd) { ON_FD(FSYNC, fd, 0, REAL("fsync", int, int)(fd), note_synced(fd, file)) }
int fdatasync(int fd) { ON_FD(FSYNC, fd, 0, REAL("fdatasync", int, int)(fd), note_synced(fd, file)) }
int ftruncate(int fd, off_t size) {
    ON_FD(TRUNCATE, fd, (size_t)size, REAL("ftruncate", int, int, off_t)(fd, size),
          if (file->synced > size) file->synced = size)
}
int ftruncate64(int fd, off_t size) { return ftruncate(fd, size); }
int close(int fd) {
    if (fd >= 0 && fd < FD_MAX) fd_file[fd] = 0;
    return REAL("close", int, int)(fd);
}

/* ---- calls on paths */

static int shim_open(int dirfd, const char *path, int flags, mode_t mode) {
    char full[PATH_MAX];
    const char *mine = below(dirfd, path, full);
    const rule_t *after = NULL;
    struct stat s;
    if (mine && (flags & (O_WRONLY | O_RDWR))) {
        pthread_mutex_lock(&lock);
        int error = consult(OPEN, mine, 0, NULL, &after);
        pthread_mutex_unlock(&lock);
        if (error) { errno = error; return -1; }
    }
    off_t before = mine && stat(mine, &s) == 0 && !(flags & O_TRUNC) ? s.st_size : 0;
    int fd = REAL("openat", int, int, const char *, int, ...)(dirfd, path, flags, mode);
    if (mine && fd >= 0 && fd < FD_MAX) {
        pthread_mutex_lock(&lock);
        file_t *file = file_of(mine, 0);
        if (file == NULL && (file = file_of(mine, 1)) != NULL) file->synced = before; /* what was there is durable */
        else if (file && (flags & O_TRUNC)) file->synced = 0;
        fd_file[fd] = file ? (int)(file - files) + 1 : 0;
        finish(after);
        pthread_mutex_unlock(&lock);
    }
    return fd;
}

#define MODE(flags) \
    mode_t mode = 0; \
    if (flags & (O_CREAT | __O_TMPFILE)) { va_list v; va_start(v, flags); mode = va_arg(v, mode_t); va_end(v); }

int open(const char *path, int flags, ...) { MODE(flags) return shim_open(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return shim_open(AT_FDCWD, path, flags, mode); }
int openat(int d, const char *path, int flags, ...) { MODE(flags) return shim_open(d, path, flags, mode); }
int openat64(int d, const char *path, int flags, ...) { MODE(flags) return shim_open(d, path, flags, mode); }

int renameat(int old_dir, const char *old, int new_dir, const char *new) {
    char from[PATH_MAX], to[PATH_MAX];
    const rule_t *after = NULL;
    const char *mine = below(new_dir, new, to);
    int inside = below(old_dir, old, from) != NULL;
    if (mine) {
        pthread_mutex_lock(&lock);
        int error = consult(RENAME, mine, 0, NULL, &after);
        pthread_mutex_unlock(&lock);
        if (error) { errno = error; return -1; }
    }
    int result = REAL("renameat", int, int, const char *, int, const char *)(old_dir, old, new_dir, new);
    if (mine && result == 0) {
        pthread_mutex_lock(&lock);
        file_t *gone = file_of(mine, 0), *moved = inside ? file_of(from, 0) : NULL;
        if (gone) gone->path[0] = 0;
        if (moved) snprintf(moved->path, PATH_MAX, "%s", mine);
        finish(after);
        pthread_mutex_unlock(&lock);
    }
    return result;
}
int rename(const char *old, const char *new) { return renameat(AT_FDCWD, old, AT_FDCWD, new); }

int unlinkat(int dir, const char *path, int flags) {
    char full[PATH_MAX];
    const char *mine = flags ? NULL : below(dir, path, full);
    const rule_t *after = NULL;
    if (mine) {
        pthread_mutex_lock(&lock);
        int error = consult(UNLINK, mine, 0, NULL, &after);
        pthread_mutex_unlock(&lock);
        if (error) { errno = error; return -1; }
    }
    int result = REAL("unlinkat", int, int, const char *, int)(dir, path, flags);
    if (mine) {
        pthread_mutex_lock(&lock);
        file_t *gone = file_of(mine, 0);
        if (gone && result == 0) gone->path[0] = 0;
        finish(after);
        pthread_mutex_unlock(&lock);
    }
    return result;
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }

/* What a container may lack, by LD_PRELOAD, without privileges:

   SHIM_WRITABLE   a list of folders, separated by ':'; whatever would be changed outside of them fails with EROFS, as
                   on a read-only root file system. /dev and /proc stay as they are.
   SHIM_NO_IPV6    set: the kernel has no IPv6 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define REAL(name, type, ...) ((type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))
#define REFUSE(dirfd, path) if (!writable(dirfd, path)) { errno = EROFS; return -1; }

static int within(const char *path, const char *folder, size_t n) {
    return !strncmp(path, folder, n) && (path[n] == '/' || !path[n]);
}

/* A path below another descriptor than the working folder is left to the kernel: nothing here uses those to write. */
static int writable(int dirfd, const char *path) {
    const char *list = getenv("SHIM_WRITABLE");
    char absolute[PATH_MAX * 2], cwd[PATH_MAX];
    if (list == NULL || path == NULL) return 1;
    if (path[0] == '/') snprintf(absolute, sizeof absolute, "%s", path);
    else if (dirfd != AT_FDCWD || !getcwd(cwd, sizeof cwd)) return 1;
    else snprintf(absolute, sizeof absolute, "%s/%s", cwd, path);
    if (within(absolute, "/dev", 4) || within(absolute, "/proc", 5)) return 1;
    while (*list) {
        size_t n = strcspn(list, ":");
        if (n && within(absolute, list, n)) return 1;
        list += n + (list[n] == ':');
    }
    return 0;
}

static int shim_open(int dirfd, const char *path, int flags, mode_t mode) {
    if (flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)) REFUSE(dirfd, path)
    return REAL("openat", int, int, const char *, int, ...)(dirfd, path, flags, mode);
}

#define MODE(flags) \
    mode_t mode = 0; \
    if (flags & (O_CREAT | __O_TMPFILE)) { va_list v; va_start(v, flags); mode = va_arg(v, mode_t); va_end(v); }

int open(const char *path, int flags, ...) { MODE(flags) return shim_open(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return shim_open(AT_FDCWD, path, flags, mode); }
int openat(int d, const char *path, int flags, ...) { MODE(flags) return shim_open(d, path, flags, mode); }
int openat64(int d, const char *path, int flags, ...) { MODE(flags) return shim_open(d, path, flags, mode); }
FILE *fopen(const char *path, const char *mode) {
    if (strpbrk(mode, "wa+") && !writable(AT_FDCWD, path)) { errno = EROFS; return NULL; }
    return REAL("fopen", FILE *, const char *, const char *)(path, mode);
}
FILE *fopen64(const char *path, const char *mode) { return fopen(path, mode); }
int mkdir(const char *path, mode_t mode) {
    REFUSE(AT_FDCWD, path)
    return REAL("mkdir", int, const char *, mode_t)(path, mode);
}
int unlink(const char *path) { REFUSE(AT_FDCWD, path) return REAL("unlink", int, const char *)(path); }
int rename(const char *old, const char *new) {
    REFUSE(AT_FDCWD, old)
    REFUSE(AT_FDCWD, new)
    return REAL("rename", int, const char *, const char *)(old, new);
}
int bind(int fd, const struct sockaddr *address, socklen_t n) {
    if (address->sa_family == AF_UNIX && address->sa_data[0]) REFUSE(AT_FDCWD, address->sa_data)
    return REAL("bind", int, int, const struct sockaddr *, socklen_t)(fd, address, n);
}

int socket(int family, int type, int protocol) {
    if (family == AF_INET6 && getenv("SHIM_NO_IPV6")) { errno = EAFNOSUPPORT; return -1; }
    return REAL("socket", int, int, int, int)(family, type, protocol);
}

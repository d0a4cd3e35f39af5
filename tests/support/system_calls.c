/* Counts the system calls that change a folder or what lies below it, and lets one go wrong.
 *
 * Preloaded into a process (LD_PRELOAD), it stands before the C library's functions, so that it
 * sees SQLite's calls too. `system_calls_arm` names the folder, the call by its number from 0 and
 * what happens to it: nothing, an error without effect, half a write, or the death of the process
 * after all or half of it was done.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

enum mode { PASS, FAIL, SHORT, DIE_AFTER, DIE_HALFWAY };
enum { MAX_DESCRIPTORS = 65536, MAX_NAMES = 65536 };

static char folder[4096];
static size_t folder_length;
static long armed_at = -1;
static int armed_mode, armed_errno;
static long n_calls;
static const char *names[MAX_NAMES];
static unsigned char inside[MAX_DESCRIPTORS];

void system_calls_arm(const char *path, long at, int mode, int error) {
    strncpy(folder, path, sizeof folder - 1);
    folder_length = strlen(folder);
    armed_at = at;
    armed_mode = mode;
    armed_errno = error;
    n_calls = 0;
}

void system_calls_disarm(void) { folder_length = 0; }

long system_calls_count(void) { return n_calls; }

const char *system_calls_name(long number) { return names[number]; }

/* Whether a path is the folder or lies below it. */
static int is_inside(const char *path) {
    if (folder_length == 0 || path == NULL || strncmp(path, folder, folder_length) != 0) return 0;
    return path[folder_length] == '/' || path[folder_length] == '\0';
}

static int is_open_inside(int descriptor) {
    return folder_length != 0 && descriptor >= 0 && descriptor < MAX_DESCRIPTORS &&
           inside[descriptor];
}

/* Counts a call; what is to happen to it. */
static enum mode count(const char *name) {
    long number = __atomic_fetch_add(&n_calls, 1, __ATOMIC_SEQ_CST);
    if (number < MAX_NAMES) names[number] = name;
    return number == armed_at ? (enum mode)armed_mode : PASS;
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* The C library's own function of the same name. */
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* A call that takes effect whole or not at all. */
#define WHOLE(name, matters, ...)                         \
    do {                                                  \
        if (!(matters)) return REAL(name)(__VA_ARGS__);   \
        enum mode mode = count(#name);                    \
        if (mode == FAIL) return errno = armed_errno, -1; \
        __typeof__(REAL(name)(__VA_ARGS__)) result =      \
            REAL(name)(__VA_ARGS__);                      \
        if (mode >= DIE_AFTER) die();                     \
        return result;                                    \
    } while (0)

static int opened(int descriptor, const char *path) {
    if (descriptor >= 0 && descriptor < MAX_DESCRIPTORS) inside[descriptor] = is_inside(path);
    return descriptor;
}

#define OPEN(name, path, flags, ...)                                       \
    do {                                                                   \
        mode_t permissions = 0;                                            \
        if ((flags) & (O_CREAT | __O_TMPFILE)) {                           \
            va_list rest;                                                  \
            va_start(rest, flags);                                         \
            permissions = va_arg(rest, mode_t);                            \
            va_end(rest);                                                  \
        }                                                                  \
        enum mode mode = PASS;                                             \
        if (((flags) & O_CREAT) && is_inside(path)) mode = count(#name);   \
        if (mode == FAIL) return errno = armed_errno, -1;                  \
        int descriptor = opened(REAL(name)(__VA_ARGS__ permissions), path); \
        if (mode >= DIE_AFTER) die();                                      \
        return descriptor;                                                 \
    } while (0)

int open(const char *path, int flags, ...) { OPEN(open, path, flags, path, flags, ); }
int open64(const char *path, int flags, ...) { OPEN(open64, path, flags, path, flags, ); }
int openat(int at, const char *path, int flags, ...) {
    OPEN(openat, path, flags, at, path, flags, );
}
int openat64(int at, const char *path, int flags, ...) {
    OPEN(openat64, path, flags, at, path, flags, );
}

int close(int descriptor) {
    if (descriptor >= 0 && descriptor < MAX_DESCRIPTORS) inside[descriptor] = 0;
    return REAL(close)(descriptor);
}

/* A write, which may also be done in part. */
#define WRITE(name, descriptor, length, whole, half)               \
    do {                                                           \
        if (!is_open_inside(descriptor)) return REAL(name) whole;  \
        enum mode mode = count(#name);                             \
        if (mode == FAIL) return errno = armed_errno, -1;          \
        ssize_t result = mode == SHORT || mode == DIE_HALFWAY      \
                             ? REAL(name) half : REAL(name) whole; \
        if (mode >= DIE_AFTER) die();                              \
        return result;                                             \
    } while (0)

static size_t half_of(size_t length) { return length > 1 ? length / 2 : length; }

ssize_t write(int fd, const void *data, size_t length) {
    WRITE(write, fd, length, (fd, data, length), (fd, data, half_of(length)));
}
ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) {
    WRITE(pwrite, fd, length, (fd, data, length, offset), (fd, data, half_of(length), offset));
}
ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) {
    WRITE(pwrite64, fd, length, (fd, data, length, offset), (fd, data, half_of(length), offset));
}
ssize_t writev(int fd, const struct iovec *parts, int n) {
    WRITE(writev, fd, n, (fd, parts, n), (fd, parts, half_of(n)));
}
ssize_t pwritev(int fd, const struct iovec *parts, int n, off_t offset) {
    WRITE(pwritev, fd, n, (fd, parts, n, offset), (fd, parts, half_of(n), offset));
}

int fsync(int fd) { WHOLE(fsync, is_open_inside(fd), fd); }
int fdatasync(int fd) { WHOLE(fdatasync, is_open_inside(fd), fd); }
int ftruncate(int fd, off_t length) { WHOLE(ftruncate, is_open_inside(fd), fd, length); }
int ftruncate64(int fd, off64_t length) { WHOLE(ftruncate64, is_open_inside(fd), fd, length); }
int link(const char *old, const char *new) { WHOLE(link, is_inside(new), old, new); }
int linkat(int a, const char *old, int b, const char *new, int flags) {
    WHOLE(linkat, is_inside(new), a, old, b, new, flags);
}
int symlink(const char *old, const char *new) { WHOLE(symlink, is_inside(new), old, new); }
int unlink(const char *path) { WHOLE(unlink, is_inside(path), path); }
int unlinkat(int at, const char *path, int flags) {
    WHOLE(unlinkat, is_inside(path), at, path, flags);
}
int rename(const char *old, const char *new) { WHOLE(rename, is_inside(new), old, new); }
int renameat(int a, const char *old, int b, const char *new) {
    WHOLE(renameat, is_inside(new), a, old, b, new);
}
int mkdir(const char *path, mode_t permissions) {
    WHOLE(mkdir, is_inside(path), path, permissions);
}
int mkdirat(int at, const char *path, mode_t permissions) {
    WHOLE(mkdirat, is_inside(path), at, path, permissions);
}
int rmdir(const char *path) { WHOLE(rmdir, is_inside(path), path); }
int utimes(const char *path, const struct timeval times[2]) {
    WHOLE(utimes, is_inside(path), path, times);
}
int utimensat(int at, const char *path, const struct timespec times[2], int flags) {
    WHOLE(utimensat, is_inside(path), at, path, times, flags);
}
int futimens(int fd, const struct timespec times[2]) {
    WHOLE(futimens, is_open_inside(fd), fd, times);
}

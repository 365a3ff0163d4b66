"""What is written when the process dies of SIGSEGV, SIGBUS, SIGFPE, SIGILL or SIGABRT: a C trace, then Python's.

The handler here runs first. It writes the signal, the address and a backtrace with nothing but write(2) and
backtrace_symbols_fd, puts the handler that was there before (Python's faulthandler, which adds the Python trace of all
threads) back, and sends itself the signal again; that one runs when this returns and ends with the default action, so
that the exit status and core dump are what they would be without us.

A signal handler has no argument, so what it needs is the only state in this program that belongs to the process.
"""

from libc.signal cimport SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV
from libc.stdio cimport snprintf
from libc.string cimport memset, strlen
from libc.time cimport time
from posix.signal cimport SA_ONSTACK, SA_SIGINFO, sigaction, sigaction_t, sigemptyset, siginfo_t
from posix.unistd cimport getpid, write

import faulthandler

from cachefleet_server.version import __version__

cdef extern from "<signal.h>" nogil:
    int raise_ "raise"(int sig)

cdef extern from "<execinfo.h>" nogil:
    int backtrace(void** buffer, int size)
    void backtrace_symbols_fd(void* const* buffer, int size, int fd)

cdef enum:
    SIGNALS = 5
    FRAMES_MAX = 100

cdef int _signals[5]
cdef sigaction_t _previous[5]
cdef int _fd = -1
cdef bint _installed = False
cdef char _version[32]


cdef void _say(const char* text) noexcept nogil:
    write(_fd, text, strlen(text))


cdef void _handler(int signum, siginfo_t* info, void* context) noexcept nogil:
    cdef void* frames[FRAMES_MAX]
    cdef char line[256]
    cdef int i, depth
    for i in range(SIGNALS):
        if _signals[i] == signum:
            sigaction(signum, &_previous[i], NULL)
    _say(b"\n\n=== CACHEFLEET BUG REPORT START: Cut & paste starting from here ===\n")
    snprintf(line, sizeof(line), b"%d:crash-handler (%ld) Cachefleet %s crashed by signal: %d, si_code: %d\n",
             <int>getpid(), <long>time(NULL), _version, signum, info.si_code)
    _say(line)
    if info.si_code > 0:  # from the processor, not from kill()
        snprintf(line, sizeof(line), b"Accessing address: %p\n", info.si_addr)
    else:
        snprintf(line, sizeof(line), b"Sent by PID: %ld, UID: %d\n", <long>info.si_pid, <int>info.si_uid)
    _say(line)
    _say(b"------ STACK TRACE ------\n")
    depth = backtrace(frames, FRAMES_MAX)
    backtrace_symbols_fd(frames, depth, _fd)
    _say(b"------ PYTHON TRACE ------\n")
    raise_(signum)  # blocked until this returns; then the previous handler gets it


def install(int fd) -> None:
    """Begins to catch crashes; the report goes to `fd`, which must stay open. May be called again with another `fd`."""
    global _fd, _installed
    cdef sigaction_t action
    cdef void* frame[1]
    cdef bytes version = __version__.encode()
    cdef int i
    if _installed:
        uninstall()
    faulthandler.enable(file=fd, all_threads=True)
    snprintf(_version, sizeof(_version), b"%s", <const char*>version)
    backtrace(frame, 1)  # The first call loads libgcc, which a handler must not do.
    _fd = fd
    _signals[0], _signals[1], _signals[2] = SIGSEGV, SIGBUS, SIGFPE
    _signals[3], _signals[4] = SIGILL, SIGABRT
    memset(&action, 0, sizeof(action))
    action.sa_sigaction = _handler
    action.sa_flags = SA_SIGINFO | SA_ONSTACK
    sigemptyset(&action.sa_mask)
    for i in range(SIGNALS):
        sigaction(_signals[i], &action, &_previous[i])
    _installed = True


def uninstall() -> None:
    """Puts the handlers from before `install` back."""
    global _installed
    cdef int i
    if _installed:
        for i in range(SIGNALS):
            sigaction(_signals[i], &_previous[i], NULL)
        _installed = False
    faulthandler.disable()

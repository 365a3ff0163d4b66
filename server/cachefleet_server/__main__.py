"""The command line: `cachefleet-server [file] [--name value ...] [-]`.

Signals come first, and imports, which take most of a start, where they are needed: a SIGHUP waits until there is
a configuration to read again, and Ctrl-C ends the process without a trace.

Standard output and error are written by their descriptors. They may be closed, full, or a pipe that nobody reads.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cachefleet_server.config.config import Config
    from cachefleet_server.config.parser import Line
    from cachefleet_server.log import Log

USAGE: Final = """\
Usage: cachefleet-server [/path/to/cachefleet.conf] [options] [-]
       cachefleet-server - (read config from stdin)
       cachefleet-server -v or --version
       cachefleet-server -h or --help
       cachefleet-server --check-config [/path/to/cachefleet.conf] [options]

Examples:
       cachefleet-server (run the server with default conf)
       echo 'maxmemory 128mb' | cachefleet-server -
       cachefleet-server /etc/cachefleet/6379.conf
       cachefleet-server --port 7777 --appendonly yes
       cachefleet-server /etc/cachefleet.conf --loglevel verbose -

Every parameter of the configuration file is an option. The file has redis.conf's syntax.
Passwords may be kept out of both: --requirepass-file /path, or CACHEFLEET_REQUIREPASS in the environment.
"""

# What an installation may lack, by the package of the first module that is not found.
MISSING: Final = {
    "uvloop": 'This installation has no server: pip install "cachefleet[server]"',
    "cachefleet_server": "This installation has no engine: it was built with CACHEFLEET_NO_ENGINE, for the "
    "operator. It can check a configuration, but not serve",
}


def main() -> None:
    """The console script."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGHUP,))  # until the server has its handler
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Runs a server to its end; the exit code."""
    from cachefleet_server import process, title
    from cachefleet_server.config.config import Config
    from cachefleet_server.config.params import PARAMS
    from cachefleet_server.errors import ConfigError
    from cachefleet_server.log import Log
    from cachefleet_server.version import COMPATIBLE_VERSION, __version__

    title.hide_secrets(frozenset(name for row in PARAMS if row.secret for name in row.names))
    process.open_standard_descriptors()
    if list(arguments) in (["-v"], ["--version"]):
        return _say(f"Cachefleet server v={__version__} (compatible with Valkey {COMPATIBLE_VERSION}) bits=64\n")
    if list(arguments) in (["-h"], ["--help"]):
        return _say(USAGE)
    log = Log()
    check = "--check-config" in arguments
    try:
        config = Config()
        config.file, read = sources([word for word in arguments if word != "--check-config"], log)
        config.load(read(), os.environ)
    except ConfigError as error:
        if str(error).startswith("\n"):
            _say(f"{error}\n", 2)
        else:
            log.warning(str(error))
        return 1
    if check:
        for text in config.unused(row.name for row in PARAMS):
            _say(f"{text}\n", 2)
        return _say("The configuration is valid\n")
    return _serve(config, log, read)


def _say(text: str, descriptor: int = 1) -> int:
    """To the person at the terminal, if there is one; the exit code."""
    data = text.encode("utf-8", "surrogateescape")
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError as error:
        if descriptor == 1 and not isinstance(error, BrokenPipeError):
            _say(f"cachefleet-server: Can't write to standard output: {error.strerror}\n", 2)
        return 1
    return 0


def sources(arguments: Sequence[str], log: Log) -> tuple[str, Callable[[], Sequence[Line]]]:
    """The absolute path of the configuration file ("" without one), and what reads all sources' lines, repeatedly."""
    from cachefleet_server.config.parser import file_lines, option_lines, text_lines

    folder = os.getcwd()
    words = list(arguments)
    path = ""
    if words and not words[0].startswith("-"):
        path = os.path.abspath(words.pop(0))
    elif words and words[0] == "-":
        words.insert(len(words), words.pop(0))
    standard_input: list[str] = []
    if words and words[-1] == "-":
        words.pop()
        log.notice("Reading config from stdin")
        standard_input = [_standard_input()]
    options = option_lines(words)

    def read() -> Sequence[Line]:
        lines = list(file_lines(path, folder=folder)) if path else []
        for text in standard_input:
            lines += text_lines(text, "standard input", folder=folder)
        return [*lines, *options]

    return path, read


def _standard_input() -> str:
    from cachefleet_server.errors import ConfigError

    try:
        with open(0, encoding="utf-8", errors="surrogateescape", closefd=False) as file:
            return file.read()
    except OSError as error:
        raise ConfigError(f"Can't read the configuration from standard input: {error.strerror}") from None


def _serve(config: Config, log: Log, read: Callable[[], Sequence[Line]]) -> int:
    from cachefleet_server import process

    try:
        os.chdir(config.text("dir"))
    except OSError as error:
        log.warning(f"Can't chdir to '{config.text('dir')}': {error.strerror}")
        return 1
    supervisor = process.Supervisor(config.text("supervised"))
    # A supervisor wants to see the process that it has started.
    started = process.daemonize() if config.flag("daemonize") and not supervisor.name else None
    # Imported after the fork, and only when a server runs: --help and --check-config need neither.
    try:
        import uvloop

        from cachefleet_server.server import Server
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in MISSING:
            raise
        log.warning(MISSING[package])
        return 1

    server = Server(
        config, log, sources=read, executable=os.path.abspath(sys.argv[0]), supervisor=supervisor, started=started
    )

    async def run() -> int:
        code = await server.run()
        # One more SIGTERM is not to change the exit code: the loop is about to drop its handlers.
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGHUP))
        return code

    return uvloop.run(run())


if __name__ == "__main__":
    main()

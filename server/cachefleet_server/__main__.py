"""The command line: `cachefleet-server [file] [--name value ...] [-]`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Final

from cachefleet_server import process
from cachefleet_server.config.config import Config
from cachefleet_server.config.parser import Line, file_lines, option_lines, text_lines
from cachefleet_server.errors import ConfigError
from cachefleet_server.log import Log
from cachefleet_server.version import COMPATIBLE_VERSION, __version__

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
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Runs a server to its end; the exit code."""
    if list(arguments) in (["-v"], ["--version"]):
        sys.stdout.write(f"Cachefleet server v={__version__} (compatible with Valkey {COMPATIBLE_VERSION}) bits=64\n")
        return 0
    if list(arguments) in (["-h"], ["--help"]):
        sys.stdout.write(USAGE)
        return 0
    log = Log()
    check = "--check-config" in arguments
    config = Config()
    try:
        config.file, read = sources([word for word in arguments if word != "--check-config"], log)
        config.load(read(), os.environ)
    except ConfigError as error:
        if str(error).startswith("\n"):
            sys.stderr.write(f"{error}\n")
        else:
            log.warning(str(error))
        return 1
    if check:
        sys.stdout.write("The configuration is valid\n")
        return 0
    return _serve(config, log, read)


def sources(arguments: Sequence[str], log: Log) -> tuple[str, Callable[[], Sequence[Line]]]:
    """The absolute path of the configuration file ("" without one), and what reads all sources' lines, repeatedly."""
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
        standard_input = [sys.stdin.read()]
    options = option_lines(words)

    def read() -> Sequence[Line]:
        lines = list(file_lines(path, folder=folder)) if path else []
        for text in standard_input:
            lines += text_lines(text, "standard input", folder=folder)
        return [*lines, *options]

    return path, read


def _serve(config: Config, log: Log, read: Callable[[], Sequence[Line]]) -> int:
    os.chdir(config.text("dir"))
    if config.flag("daemonize"):
        process.daemonize()
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

    server = Server(config, log, sources=read, executable=os.path.abspath(sys.argv[0]))

    async def run() -> int:
        code = await server.run()
        # One more SIGTERM is not to change the exit code: the loop is about to drop its handlers.
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGHUP))
        return code

    return uvloop.run(run())


if __name__ == "__main__":
    main()

"""The command line: `cachefleet local up|down|status|logs|connect|failover|kill`. Here are words and options; the work
is in up.py, state.py and view.py. `cachefleet rdb|aof|export|import` are the server's tools. `run` is called by
__main__.py."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from functools import wraps
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand

from cachefleet_operator.api.v1alpha1 import API_VERSION, KIND, CacheKey
from cachefleet_operator.cli import manifests, up, view
from cachefleet_operator.cli.failure import Exit, Failure
from cachefleet_operator.cli.state import DATA, Folder, option
from cachefleet_operator.execution.local.tcp_ports import HOST
from cachefleet_operator.planning.auth import as_password
from cachefleet_operator.planning.failover import handover

MANIFEST = Path("cache.yaml")
NO_MANIFEST = f"""\
There is no {MANIFEST} here, and no -f says what to run. A first Cache:

  printf '%s\\n' 'apiVersion: {API_VERSION}' 'kind: {KIND}' 'metadata: {{{{name: orders}}}}' > {MANIFEST}
  {{command}} local up"""
CLIENTS = ("redis-cli", "valkey-cli")
FOLLOW_S = 0.2
HANDOVER_S = 20.0  # how long `failover` waits: a primary under a heavy load needs a few tries
LOG_LINES = 200

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
                  help="Cachefleet: a managed, Redis-compatible cache.")  # fmt: skip
local = typer.Typer(no_args_is_help=True, help="Caches as processes on this machine, from the manifests of Kubernetes.")
app.add_typer(local, name="local")

Data = Annotated[
    Path, typer.Option("--data", envvar="CACHEFLEET_DATA", help="Folder of everything that is kept.", metavar="DIR")
]
Name = Annotated[str, typer.Argument(help="Name of the Cache, or namespace/name; not needed where there is one.")]


def _command(function: Callable[..., Any]) -> Callable[..., Any]:
    """Failures become their words on standard error and their exit code."""

    @wraps(function)
    def run(*arguments: Any, **options: Any) -> None:
        try:
            code = function(*arguments, **options)
        except Failure as failure:
            _complain(str(failure))
            code = failure.code
        except OSError as error:
            code = _failed(error)
        except KeyboardInterrupt:
            code = 128 + signal.SIGINT
        raise typer.Exit(code or Exit.OK)

    return run


def run() -> int:
    """The command that sys.argv asks for, to its end; its exit code. What cannot be written is said, once."""
    try:
        app()
    except SystemExit as end:
        code = int(end.code or Exit.OK)
    except OSError as error:  # of what typer writes by itself: --help
        code = _failed(error)
    try:
        sys.stdout.flush()
    except OSError as error:
        code = code or _failed(error)
        view.hush(sys.stdout)
    return code


def _failed(error: OSError) -> Exit:
    if isinstance(error, BrokenPipeError):  # `| head` has seen enough
        view.hush(sys.stdout)
        return Exit.OK
    _complain(f"{error.filename or view.COMMAND}: {error.strerror}")
    return Exit.FAILED


def _complain(words: str) -> None:
    try:
        sys.stderr.write(f"{view.plain(words)}\n")
        sys.stderr.flush()
    except OSError:  # nobody hears it; the exit code says it
        view.hush(sys.stderr)


@app.callback(invoke_without_command=True)
def _root(
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if show_version:
        typer.echo(f"cachefleet {version('cachefleet')}")
        raise typer.Exit


@local.command("up")
@_command
def _up(
    file: Annotated[
        list[str] | None,
        typer.Option(
            "-f", "--file", metavar="FILE",
            help=f"Manifests: a file, a folder, or - for standard input; {MANIFEST} where it is not given.",
        ),
    ] = None,
    data: Data = DATA,
    detach: Annotated[bool, typer.Option("-d", "--detach", help="Return when every Cache is Ready.")] = False,
    port: Annotated[
        int | None,
        typer.Option(
            min=1, max=65535, help="Port of the first Cache's first pod (6379, or the next that is free). The others "
            "get the next free ones above it, and keep those that they had.",
        ),
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="The same for the metrics (9121, or the next that is free)."),
    ] = None,
    background: Annotated[bool, typer.Option("--background", hidden=True)] = False,
) -> Exit:
    """Run what the manifests ask for. Changed files are taken up; Ctrl-C saves and stops."""
    if not file and not MANIFEST.exists():
        raise Failure(Exit.USAGE, NO_MANIFEST.format(command=view.command()))
    options = up.Options(tuple(file or (str(MANIFEST),)), data, port, metrics_port)
    standard_input = manifests.read_standard_input(options.sources)
    lines = view.Lines(option(data))
    if detach:
        began = time.monotonic()
        lines.show(up.detached(options, standard_input, lines.say), time.monotonic() - began)
        lines.say(f"It runs in the background; stop it with: {view.command()} local down{option(data)}")
        return Exit.OK
    shown: view.View = view.Silent() if background else view.Screen(option(data)) if sys.stdout.isatty() else lines
    try:
        return up.foreground(options, shown, standard_input, background=background)
    finally:
        shown.close()


@local.command("down")
@_command
def _down(
    data: Data = DATA,
    delete_data: Annotated[bool, typer.Option("--delete-data", help="Also delete all data of the folder.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> Exit:
    """Stop what runs; data are saved and kept."""
    folder = Folder(data)
    known = folder.caches()
    if delete_data and known and not yes:
        names = ", ".join(str(key) for key in known)
        if not sys.stdin.isatty():
            raise Failure(Exit.USAGE, f"this would delete all data of {names}: say so with --yes")
        typer.confirm(f"Delete all data of {names} in {data}?", abort=True)
    stopped = folder.stop()
    if stopped:
        typer.echo("Stopped; the data are saved.")
    if delete_data:
        for name in folder.delete_data():
            typer.echo(f"Deleted {name}")
    elif not stopped:
        raise Failure(Exit.NOT_RUNNING, f"nothing runs in {data}")
    return Exit.OK


@local.command("status")
@_command
def _status(
    data: Data = DATA,
    output: Annotated[str, typer.Option("-o", "--output", help="table or json")] = "table",
) -> Exit:
    """What runs, and how it is. Exit code 0 when every Cache is Ready, 1 when not, 3 when a manifest or spec is
    refused (why is on standard error; what runs runs on), 7 when nothing runs."""
    if output not in ("table", "json"):
        raise Failure(Exit.USAGE, f"-o is table or json, not {output}")
    state = Folder(data).state()
    if output == "json":
        typer.echo(json.dumps(public(state), indent=2))
    else:
        console = view.console()
        console.print(view.table(state["caches"], console.width))
        for event in state["events"][-view.EVENTS_SHOWN :]:
            console.print(view.event_line(event["at"], event["cache"], event["type"], event["message"]))
    if refused := list(filter(None, [state.get("refused", ""), *map(view.refusal, state["caches"])])):
        raise Failure(Exit.MANIFEST, "\n".join(refused))
    ready = state["caches"] and all(view.is_ready(cache) for cache in state["caches"])
    return Exit.OK if ready else Exit.FAILED


def public(state: dict[str, Any]) -> dict[str, Any]:
    """The state with what scripts ask for first worked out."""
    caches = []
    for cache in state["caches"]:
        ports, password = view.ports(cache), view.password_file(cache)
        caches.append({
            **cache, "ready": view.is_ready(cache),
            "port": ports[0] if ports else None, "metricsPort": ports[1] if ports else None,
            "passwordFile": str(password) if password else None,
        })  # fmt: skip
    return {**state, "caches": caches}


@local.command("logs")
@_command
def _logs(
    name: Name = "",
    pod: Annotated[
        str, typer.Option("--pod", metavar="POD", help="Of this pod alone, as orders-0; else of all its pods.")
    ] = "",
    data: Data = DATA,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what is written from now on.")] = False,
) -> Exit:
    """What the servers of a Cache logged last, each line with its pod where there are several. It is kept after a
    server has stopped, too."""
    folder = Folder(data)
    known = folder.caches()
    its_own = [key for key in known if not name and pod in folder.logs(*key)]
    of = _choose(name, its_own or known, data)
    logs = folder.logs(*of)
    if not logs:
        raise Failure(Exit.NOT_RUNNING, "it has no log yet")
    if pod and pod not in logs:
        raise Failure(Exit.NOT_RUNNING, f"Cache {'/'.join(of)} has no log of a pod {pod}; pods: {', '.join(logs)}")
    at = {its: _print_end(path, _prefix(its, logs, pod)) for its, path in logs.items() if pod in ("", its)}
    while follow and logs:
        logs = folder.logs(*of)
        for its, path in logs.items():
            if pod in ("", its):  # one that has come since is shown from its beginning
                at[its] = _print_from(path, at.get(its, 0), _prefix(its, logs, pod))
        time.sleep(FOLLOW_S)
    return Exit.OK


def _prefix(its: str, logs: dict[str, Path], asked: str) -> str:
    return f"{its} | " if len(logs) > 1 and not asked else ""


def _print_end(path: Path, prefix: str) -> int:
    """Prints the last lines; the offset of what comes next."""
    content = path.read_bytes()
    _print_lines(b"\n".join(content.rstrip(b"\n").split(b"\n")[-LOG_LINES:]), prefix)
    return len(content)


def _print_from(path: Path, offset: int, prefix: str) -> int:
    size = path.stat().st_size
    if size == offset:
        return offset
    with open(path, "rb") as file:
        file.seek(offset if size > offset else 0)  # smaller: it was rotated
        content = file.read()
        _print_lines(content.rstrip(b"\n"), prefix)
        return file.tell()


def _print_lines(content: bytes, prefix: str) -> None:
    for line in content.decode("utf-8", "replace").split("\n") if content else ():
        typer.echo(prefix + view.plain(line))


class _WithRest(TyperCommand):
    """What follows -- is not ours to read: without this, its first word would be the name of a Cache."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        super().parse_args(ctx, args[:end])
        rest: list[str] = [*ctx.args, *args[end + 1 :]]
        ctx.args = rest
        return rest

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "[-- ARGUMENT...]"]


@local.command("connect", cls=_WithRest, context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@_command
def _connect(context: typer.Context, name: Name = "", data: Data = DATA) -> NoReturn:
    """Open redis-cli on a Cache. What follows -- is given to it: connect -- SET a b, connect orders -- SET a b"""
    cache = _running(Folder(data), name)
    ports, password = view.ports(cache), view.password_file(cache)
    if ports is None:
        raise Failure(Exit.NOT_RUNNING, f"{view.title(cache)} has no server yet: {view.phase_of(cache)}")
    client = next((path for path in map(shutil.which, CLIENTS) if path is not None), None)
    if client is None:
        where = f"{HOST}:{ports[0]}" + (f", password in {password}" if password else "")
        raise Failure(
            Exit.MISSING, f"neither {' nor '.join(CLIENTS)} is installed (Debian: apt-get install redis-tools; "
            f"macOS: brew install redis). Any Redis client can connect to {where}"
        )  # fmt: skip
    environment = dict(os.environ)
    if password is not None:
        word = as_password(password.read_bytes())
        if b"\0" in word:
            whose = f"the password in {password} has a NUL"
            raise Failure(Exit.FAILED, f"{whose}, which {Path(client).name} cannot be given")
        environment["REDISCLI_AUTH"] = os.fsdecode(word)
    os.execve(client, [client, "-h", HOST, "-p", str(ports[0]), *context.args], environment)


@local.command("failover")
@_command
def _hand_over(
    name: Name = "",
    to: Annotated[str, typer.Option("--to", metavar="POD", help="Who is to be the primary; else who has most.")] = "",
    data: Data = DATA,
) -> Exit:
    """Have the primary hand over to a replica that has all it has: no write is lost, and none is refused for long."""
    folder = Folder(data)
    cache = _running(folder, name)
    topology = cache["status"].get("topology") or {}
    pods = [member["pod"] for member in topology.get("set", ())]
    before = (topology.get("primary") or {}).get("pod", "")
    if not before or len(pods) < 2:
        raise Failure(Exit.FAILED, f"{view.title(cache)} has no replica in sync that could take over")
    if to == before:
        typer.echo(f"{before} is the primary.")
        return Exit.OK
    if to and to not in pods:
        others = ", ".join(pod for pod in pods if pod != before)
        raise Failure(Exit.USAGE, f"{to} is no replica in sync of {view.title(cache)}; those are: {others}")
    epoch, end = 0, time.monotonic() + HANDOVER_S
    while time.monotonic() < end:
        topology = _running(folder, view.title(cache))["status"].get("topology") or topology
        if (pod := topology["primary"]["pod"]) != before:
            typer.echo(f"{pod} is the primary; {before} follows it.")
            return Exit.OK
        if topology["epoch"] != epoch:  # it is asked for under one record; another one has replaced it since, or will
            epoch = topology["epoch"]
            folder.ask_for(cache["namespace"], cache["name"], f"{to or handover.ANY}@{epoch}")
        time.sleep(FOLLOW_S)
    raise Failure(Exit.FAILED, f"{before} is still the primary after {HANDOVER_S:.0f} s: nobody has all that it has")


@local.command("kill")
@_command
def _kill(
    pod: Annotated[str, typer.Argument(help="The pod whose server is killed, as orders-0 or default/orders-0.")],
    data: Data = DATA,
) -> Exit:
    """Kill a pod's server (SIGKILL), to see what happens then."""
    folder = Folder(data)
    caches = folder.state()["caches"]
    namespace, _, short = pod.rpartition("/")
    pids = {
        f"{cache['namespace']}/{name}": pid
        for cache in caches if namespace in ("", cache["namespace"]) for name in cache["ports"] if name == short
        if (pid := folder.server(cache["namespace"], cache["name"], name))
    }  # fmt: skip
    if not pids:
        known = ", ".join(name for cache in caches for name in cache["ports"])
        raise Failure(Exit.NOT_RUNNING, f"no server of a pod {pod} runs; pods: {known or 'none'}")
    if len(pids) > 1:
        raise Failure(Exit.USAGE, f"say which pod: {', '.join(pids)}")
    (pid,) = pids.values()
    os.kill(pid, signal.SIGKILL)
    typer.echo(f"Killed {short} (process {pid}).")
    return Exit.OK


def _running(folder: Folder, name: str) -> dict[str, Any]:
    by_key = {CacheKey(cache["namespace"], cache["name"]): cache for cache in folder.state()["caches"]}
    found: dict[str, Any] = by_key[_choose(name, list(by_key), folder.path)]
    return found


class _HandedOver(TyperCommand):
    """Words and options are those of another program, --help included."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        super().parse_args(ctx, [])
        ctx.args = list(args)
        return args


@app.command("rdb", cls=_HandedOver)
@_command
def _rdb(context: typer.Context) -> NoReturn:
    """RDB files: info, verify, json, largest, histogram, diff, convert."""
    _tools("rdb", context.args)


@app.command("aof", cls=_HandedOver)
@_command
def _aof(context: typer.Context) -> NoReturn:
    """Append only files: check, repair, truncate, replay."""
    _tools("aof", context.args)


@app.command("export", cls=_HandedOver)
@_command
def _export(context: typer.Context) -> NoReturn:
    """A running server's data as an RDB file."""
    _tools("export", context.args)


@app.command("import", cls=_HandedOver)
@_command
def _import(context: typer.Context) -> NoReturn:
    """An RDB file, or append only files, to a running server."""
    _tools("import", context.args)


def _tools(group: str, words: list[str]) -> NoReturn:
    """The server's package has them, since it knows the formats; it is run and not imported."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execv(sys.executable, [sys.executable, "-P", "-m", "cachefleet_server.tools", group, *words])


def _choose(name: str, known: list[CacheKey], data: Path) -> CacheKey:
    """The Cache that a name means; the only one there is when it is empty."""
    namespace, _, short = name.rpartition("/")
    found = [key for key in known if (not name or key[1] == short) and namespace in ("", key[0])]
    if len(found) == 1:
        return found[0]
    if not known:
        raise Failure(Exit.NOT_RUNNING, f"there is no Cache in {data}")
    names = ", ".join(str(key) for key in known)
    problem = f"no Cache {name} in {data}" if name and not found else "say which Cache"
    raise Failure(Exit.USAGE if found else Exit.NOT_RUNNING, f"{problem}; known: {names}")

"""The composition root: the only file that knows every subsystem. Makes them, starts and stops them in order.

Order of a start

    configuration (read by __main__) -> data folder and log -> engine -> subsystems made, rows registered
    -> sockets bound -> subsystems started (persistence loads; clients that come get -LOADING)
    -> "Ready to accept connections"

and of a stop: no new connections -> subsystems stopped, last first (persistence writes and closes its files)
-> engine closed -> pid file removed. What decides about a stop and takes the last snapshot is admin/shutdown.py.

How a subsystem plugs in

    class Thing:
        def __init__(self, engine: Engine, config: Config, log: Log, <others it needs>) -> None:
            No work but `config.subscribe(...)`: nothing is loaded, opened or started here.
        def register(self) -> None:       command rows (engine.register); once, before the start
        async def start(self) -> None:    may await; raises StartupError or DataError to stop the start
        def cron(self) -> None:           called at `hz`, after the engine's own cron
        async def stop(self) -> None:     ends threads, flushes, closes; operating errors are logged, not raised

Add it to `_compose`: one line that makes it and one place in `self._subsystems`. All five methods must exist;
inherit `Subsystem` for empty ones. Rows without a life of their own (admin/*.py) only need `register` and go
into `self._commands`. Subsystems meet each other here only: what one needs of another is passed to its constructor.
"""

from __future__ import annotations

import asyncio
import hashlib
import locale
import os
import secrets
import signal
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cachefleet_server import crash, process, title
from cachefleet_server import log as log_module
from cachefleet_server.acl.commands import AccessCommands
from cachefleet_server.acl.users import Users
from cachefleet_server.admin.client_cmd import ClientCommands
from cachefleet_server.admin.command_cmd import CommandCommands
from cachefleet_server.admin.commandlog import CommandLog
from cachefleet_server.admin.config_cmd import ConfigCommands
from cachefleet_server.admin.debug_cmd import Debug
from cachefleet_server.admin.info import Info
from cachefleet_server.admin.latency import Latency
from cachefleet_server.admin.lolwut import Lolwut
from cachefleet_server.admin.memory import Memory
from cachefleet_server.admin.monitor import Monitor
from cachefleet_server.admin.server_cmd import ServerCommands
from cachefleet_server.admin.shutdown import Shutdown
from cachefleet_server.admin.tracking import TrackingCommands
from cachefleet_server.config.config import Config
from cachefleet_server.config.params import LOADING, PARAMS, SAVING, STOPPING
from cachefleet_server.config.parser import Line
from cachefleet_server.engine import Client, Engine
from cachefleet_server.errors import CachefleetError, CommandError, ConfigError, StartupError
from cachefleet_server.listeners import Listeners
from cachefleet_server.log import Log
from cachefleet_server.managed.service import Managed
from cachefleet_server.metrics.port import DESCRIPTORS as METRICS_DESCRIPTORS
from cachefleet_server.metrics.service import Metrics
from cachefleet_server.persistence.aof import Aof
from cachefleet_server.persistence.capture import Capture
from cachefleet_server.persistence.folder import FolderLock, NotWritable
from cachefleet_server.persistence.rdb import Rdb
from cachefleet_server.replication.handover import Handover
from cachefleet_server.replication.replica import Follower
from cachefleet_server.replication.service import Replication
from cachefleet_server.version import __version__


class Subsystem(Protocol):
    """What has a life: base with nothing to do. See the module's text."""

    def register(self) -> None: ...

    async def start(self) -> None: ...

    def cron(self) -> None: ...

    async def stop(self) -> None: ...


class Rows(Protocol):
    def register(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Identity:
    """Facts about this run that INFO and others show."""

    started: float = field(default_factory=time.time)  # unix time
    run_id: str = field(default_factory=lambda: secrets.token_hex(20))
    executable: str = ""


class Server:
    """One server of this process. `sources` reads the configuration again, for SIGHUP.

    `started`, a daemon's, is called when everything is there but the data.
    """

    def __init__(
        self,
        config: Config,
        log: Log,
        *,
        sources: Callable[[], Sequence[Line]],
        executable: str = "",
        supervisor: process.Supervisor | None = None,
        started: Callable[[], None] | None = None,
    ) -> None:
        self.config = config
        self.log = log
        self.identity = Identity(executable=executable)
        self._sources = sources
        self._supervisor = supervisor or process.Supervisor("no")
        self._started = started
        self._exit_code: asyncio.Future[int] | None = None
        self._subsystems: list[Subsystem] = []
        self._commands: list[Rows] = []
        self._cron: asyncio.TimerHandle | None = None
        self._ending = False
        self._background: set[asyncio.Future[None]] = set()
        self._oom_base = process.oom_score()
        self._reserved = 0  # descriptors that are not for clients
        self._folder_lock = FolderLock(log)

    # -- composition

    def _compose(self) -> None:
        engine, config, log = self.engine, self.config, self.log
        self.users = Users(engine, config)
        self.listeners = Listeners(engine, config, log, self.users)
        self.rdb = Rdb(engine, config, log, self._claim_folder)
        self.aof = Aof(engine, config, log, self.rdb, self._claim_folder)
        self.capture = Capture(engine, config, self.aof)
        self.replication = Replication(engine, config, log, self.rdb)
        self.follower = Follower(engine, config, log, self.rdb, self.aof, self.replication)
        self.replication.upstream = self.follower
        self.handover = Handover(engine, log, self.replication, self.follower)
        self.follower.on_answer = self.handover.answered
        self.rdb.history = self.replication
        self.managed = Managed(
            engine, config, log, run=self.identity.run_id, replication=self.replication, follower=self.follower,
            aof=self.aof,
        )  # fmt: skip
        self.shutdown = Shutdown(engine, config, log, self.replication, save=self._save, leave=self._leave)
        self.config_commands = ConfigCommands(engine, config, log)
        self.command_log = CommandLog(
            engine, config.number, frozenset(name for name, param in config.names() if param.secret)
        )
        latency = Latency(engine, lambda: config.number("latency-monitor-threshold"))
        self.metrics = Metrics(
            engine,
            config,
            log,
            identity=self._identity_fields(),
            started=self.identity.started,
            sources=[
                self.listeners.status, self._zone, self.rdb.status, self.aof.status, self.replication.status,
                self.follower.status, self.command_log.status,
            ],
            spikes=latency.latest_samples,
            failing_checks=self._failing_checks,
        )
        sample = self.metrics.sampler.sample
        info = Info(engine, sample, config.value)
        self._subsystems = [
            self.metrics, self.rdb, self.aof, self.capture, self.replication, self.follower, self.handover,
            self.managed,
        ]  # fmt: skip
        self._commands = [
            AccessCommands(engine, config, self.users),
            self.config_commands,
            self.shutdown,
            ServerCommands(engine, info),
            ClientCommands(engine, config.number("databases")),
            TrackingCommands(engine),
            CommandCommands(engine),
            self.command_log,
            latency,
            Memory(engine, sample),
            Monitor(engine),
            Lolwut(engine),
            Debug(engine, config, log, self.rdb, self.aof),
        ]

    def _zone(self) -> dict[str, str]:
        return {"availability_zone": self.config.text("availability-zone")}

    def _identity_fields(self) -> dict[str, str]:
        return {"run_id": self.identity.run_id, "executable": self.identity.executable, "config_file": self.config.file}

    def _failing_checks(self) -> dict[str, str]:
        """Why /readyz says no: {check: reason}; empty = ready."""
        stats = self.engine.stats()
        if stats["loading"]:
            return {"loading": "loading the dataset"}
        reasons = {"disk": "", "replication": self.follower.not_ready()}
        if stats["aof_write_failed"]:
            reasons["disk"] = "the append-only file cannot be written"
        elif stats["bgsave_failed"] and stats["save_points"] and self.config.flag("stop-writes-on-bgsave-error"):
            reasons["disk"] = "the last snapshot failed"
        return {check: reason for check, reason in reasons.items() if reason}

    def _states(self) -> list[str]:
        """What forbids some parameters to change (config/params.py)."""
        now = {
            STOPPING: self._ending or self.shutdown.running,
            LOADING: bool(self.engine.stats()["loading"]),
            SAVING: self.rdb.saving,
        }
        return [state for state, there in now.items() if there]

    def _save(self) -> None:
        """The last snapshot before the exit. One at a time: a rewrite of the AOF gives way."""
        self._supervisor.status("Saving the final RDB snapshot")
        try:
            self.aof.prepare_exit()
            self.rdb.save()
        except (CachefleetError, OSError):
            self._supervisor.status("Error trying to save the DB, can't exit.")
            raise

    # -- life

    async def run(self) -> int:
        """Starts, serves until told to stop, stops. The exit code of the process."""
        loop = asyncio.get_running_loop()
        self._exit_code = loop.create_future()
        try:
            self._prepare()
        except CachefleetError as error:
            self.log.warning(str(error))
            return 1
        starting = loop.create_task(self._start())
        await asyncio.wait((starting, self._exit_code), return_when=asyncio.FIRST_COMPLETED)
        try:
            if starting.done():
                starting.result()
            else:  # told to stop while loading
                starting.cancel()
                await asyncio.wait((starting,))
            code = await self._exit_code
        except CachefleetError as error:
            self.log.warning(str(error))
            code = 1
        finally:  # after an error of our own, too: socket and pid file do not stay
            await self._stop()
        self.log.warning("Cachefleet is now ready to exit, bye bye...")
        return code

    def _prepare(self) -> None:
        """All that needs no event loop: log, process, engine, subsystems."""
        config, log = self.config, self.log
        self._open_log()
        log.notice("oO0OoO0OoO0Oo Cachefleet is starting oO0OoO0OoO0Oo")
        log.notice(f"Cachefleet version={__version__}, bits=64, pid={os.getpid()}, just started")
        log.notice("Configuration loaded")
        if config.ignored:
            log.notice(f"Parameters of other servers, ignored here: {', '.join(config.ignored)}")
        for text in config.unused(row.name for row in PARAMS):
            log.warning(text)
        self._prepare_process()
        seed = config.text("hash-seed").encode("utf-8", "surrogateescape")
        self.engine = Engine(
            databases=config.number("databases"),
            hash_seed=hashlib.blake2b(seed, digest_size=16).digest() if seed else None,
        )
        self.engine.on_row_failed = self._row_failed
        config.attach(self.engine)
        config.states = self._states
        self._follow_config()
        self._compose()
        for part in (*self._subsystems, *self._commands):
            part.register()

    async def _start(self) -> None:
        config, log = self.config, self.log
        self._watch_signals()
        self._supervisor.loading(log)
        self.engine.set_persist("loading", 1)
        self._claim_folder_at_start()
        self.listeners.open()
        pidfile = self._pidfile()
        if pidfile:  # only now is it certain that no other server is the one that the file names
            process.write_pidfile(pidfile, log)
        log.notice(f"Running mode=standalone, port={config.number('port')}.")
        asyncio.get_running_loop().add_reader(self.engine.epoll_fd, self.managed.tick)
        self._run_cron()
        self.listeners.accept()
        log.notice("Server initialized")
        for subsystem in self._subsystems:
            if subsystem is self.rdb and self._started is not None:
                self._started()
            await subsystem.start()
        self.engine.set_persist("loading", 0)
        for kind in self.listeners.kinds():
            log.notice(f"Ready to accept connections {kind}")
        self._supervisor.ready(log)

    async def _stop(self) -> None:
        if self._cron is not None:
            self._cron.cancel()
        self._ending = True
        self._supervisor.stopping()
        self.listeners.close()
        for subsystem in reversed(self._subsystems):
            await subsystem.stop()
        asyncio.get_running_loop().remove_reader(self.engine.epoll_fd)
        self.engine.close()
        self._folder_lock.release()
        pidfile = self._pidfile()
        if pidfile:
            process.remove_pidfile(pidfile, self.log)

    def _leave(self, code: int) -> None:
        """What the last snapshot holds is the end: cron says nothing more to replicas."""
        if self._cron is not None:
            self._cron.cancel()
        if self._exit_code is not None and not self._exit_code.done():
            self._exit_code.set_result(code)

    def _run_cron(self) -> None:
        self.engine.cron()
        self.listeners.cron()
        for subsystem in self._subsystems:
            subsystem.cron()
        self._cron = asyncio.get_running_loop().call_later(1 / self.config.number("hz"), self._run_cron)

    # -- log and process

    def _open_log(self) -> None:
        config, log = self.config, self.log
        path = config.text("logfile")
        try:
            log.open(path)
        except OSError as error:
            raise StartupError(f"Can't open the log file {path}: {error.strerror}") from None
        if config.flag("syslog-enabled"):
            log.to_syslog(config.text("syslog-ident"), config.text("syslog-facility"))

        def follow() -> None:
            log.level = log_module.LEVELS.index(config.text("loglevel"))
            log.format = config.text("log-format")
            log.timestamp_format = config.text("log-timestamp-format")
            log.hide_user_data = config.flag("hide-user-data-from-log")

        follow()
        for name in ("loglevel", "log-format", "log-timestamp-format", "hide-user-data-from-log"):
            config.subscribe(name, lambda _: follow())

    def _prepare_process(self) -> None:
        config, log = self.config, self.log
        wanted = config.number("maxclients")
        self._reserved = process.open_descriptors() + sum(process.DESCRIPTORS.values())
        if config.number("metrics-port"):
            self._reserved += METRICS_DESCRIPTORS
        possible = process.ensure_descriptors(wanted, self._reserved, log)
        if possible < wanted:
            log.warning(
                f"You requested maxclients of {wanted} requiring at least {wanted + self._reserved} "
                "max file descriptors. Current maximum open files is too low. "
                f"maxclients has been reduced to {possible}."
            )
            config.set([("maxclients", str(possible))])
        cpulist = config.text("server-cpulist")
        if cpulist:
            try:
                process.pin(cpulist)
            except (OSError, ValueError) as error:
                log.warning(f"Can't run on the cores {cpulist} of server-cpulist: {error}")
        if config.flag("disable-thp"):
            process.disable_huge_pages()

    def _pidfile(self) -> str:
        path = self.config.text("pidfile")
        return path or (process.DEFAULT_PIDFILE if self._started is not None else "")

    def _follow_config(self) -> None:
        """Subscribes to the parameters that belong to the server itself."""
        config = self.config
        self._take_crash_log(config.flag("crash-log-enabled"))
        config.subscribe("crash-log-enabled", self._take_crash_log)
        config.subscribe("maxclients", self._take_maxclients)
        config.subscribe("dir", os.chdir)
        for name in ("appendonly", "save", "dir"):
            config.subscribe(name, lambda _: self._take_folder())
        self._take_locale(config.text("locale-collate"))
        config.subscribe("locale-collate", self._take_locale)
        for name in ("maxmemory", "maxmemory-clients"):
            config.subscribe(name, lambda _: self._take_client_memory())
        for name in ("oom-score-adj", "oom-score-adj-values"):
            config.subscribe(name, lambda _: self._take_oom_score())
        if config.flag("set-proc-title"):
            for name in ("bind", "port", "proc-title-template"):
                config.subscribe(name, lambda _: self._show_title())
            self._show_title()
        self._take_client_memory()
        if config.text("oom-score-adj") != "no":
            self._take_oom_score()

    def _show_title(self) -> None:
        config = self.config
        port, path = config.number("port"), config.text("unixsocket")
        first = (*config.value("bind"), "*")[0]
        values = {
            "title": title.NAME,
            "listen-addr": f"{first}:{port}" if port else f"unixsocket:{path}",
            "server-mode": "",
            "port": str(port),
            "tls-port": config.shown("tls-port"),
            "unixsocket": path,
            "config-file": config.file or "-",
        }
        title.set_title(title.expand(config.text("proc-title-template"), values))

    def _take_maxclients(self, wanted: int) -> None:
        possible = process.ensure_descriptors(wanted, self._reserved, self.log)
        if possible < wanted:
            raise ConfigError(
                f"The operating system is not able to handle the specified number of clients, try with {possible}"
            )

    def _claim_folder(self) -> None:
        self._folder_lock.take(self.config.text("dir"))

    def _claim_folder_at_start(self) -> None:
        """Snapshots alone need no folder that can be written until one is due: save points are on by default."""
        if not self.config.flag("appendonly") and not self.config.value("save"):
            return
        try:
            self._claim_folder()
        except NotWritable as error:
            if self.config.flag("appendonly"):
                raise
            self.log.warning(f"{error}. Snapshots will fail, and writes be refused after the first that does")

    def _take_folder(self) -> None:
        """Whoever begins to write data files at run time needs the lock, too."""
        config = self.config
        if not self._folder_lock.held and not config.flag("appendonly") and not config.value("save"):
            return
        try:
            self._claim_folder()
        except StartupError as error:
            raise ConfigError(str(error)) from None

    def _take_locale(self, name: str) -> None:
        try:
            locale.setlocale(locale.LC_COLLATE, name)
        except (locale.Error, UnicodeEncodeError):
            raise ConfigError("Invalid locale name") from None

    def _take_crash_log(self, enabled: bool) -> None:
        if enabled:
            crash.install(self.log.fd)
        else:
            crash.uninstall()

    def _take_client_memory(self) -> None:
        limit = self.config.number("maxmemory-clients")
        if limit < 0:  # a share of maxmemory
            limit = self.config.number("maxmemory") * -limit // 100
        self.engine.set_param("maxmemory_clients", limit)

    def _take_oom_score(self) -> None:
        mode, values = self.config.text("oom-score-adj"), self.config.value("oom-score-adj-values")
        if not process.set_oom_score(mode, values, self._oom_base):
            raise ConfigError("Failed to apply new oom_score_adj configuration, check server logs.")

    def _row_failed(self, client: Client | None, argv: list[bytes], error: BaseException) -> None:
        """A command in Python raised what it should not: a bug, worth its trace."""
        name = argv[0].decode("utf-8", "backslashreplace") if argv else "?"
        self.log.warning(f"Internal error in command {name}: {''.join(traceback.format_exception(error)).rstrip()}")

    # -- signals

    def _watch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._on_stop_signal, signal.SIGTERM)
        loop.add_signal_handler(signal.SIGINT, self._on_stop_signal, signal.SIGINT)
        loop.add_signal_handler(signal.SIGHUP, self._on_reload)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGHUP,))  # one may have come since `main`

    def _on_stop_signal(self, signum: signal.Signals) -> None:
        if self._ending:  # the exit is certain, and its code is its own
            return
        self.log.notice(f"Received {signum.name} scheduling shutdown...")
        if self.engine.stats().get("loading"):
            self._leave(0)  # Nothing is in memory yet that is not on disk.
            return
        if not self.shutdown.running:
            # A second SIGINT ends the process at once, even while the last snapshot keeps this thread busy.
            asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            self._in_background(self._shut_down(signum))

    async def _shut_down(self, signum: signal.Signals) -> None:
        try:
            await self.shutdown.request(self.config.value(f"shutdown-on-{signum.name.lower()}"))
        except CommandError:
            self._watch_signals()

    def _on_reload(self) -> None:
        if self._ending:
            return
        self.log.notice("Received SIGHUP, reading the configuration again")
        try:
            changed, fixed = self.config.reload(self._sources(), os.environ)
        except ConfigError as error:
            self.log.warning(f"The configuration was not reloaded: {str(error).strip()}")
            return
        self.log.notice(f"Configuration reloaded, changed: {', '.join(changed) or 'nothing'}")
        for text in self.config.unused(changed):
            self.log.warning(text)
        if fixed:
            self.log.warning(f"These changes need a restart: {', '.join(fixed)}")

    def _in_background(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

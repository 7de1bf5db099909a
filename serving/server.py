"""A Triton server: start it on loopback, wait until its models serve, stop it without losing a request."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType

from serving.control import ModelControl
from serving.errors import LoadHangs, ModelError, ServerFailed, ServerUnreachable, StateNotWritten, StateTaken
from serving.launch import Launched, Order, launch, make_way, put_aside
from serving.loads import load_together
from serving.ports import LOOPBACK
from serving.repository import Configurations, ServedModel, configurations, load_stages, read_repository, switch_stages
from serving.shared_memory import MIB
from serving.state import clear_state, running_server, write_state
from serving.stubs import Stubs

_KILL_AFTER_DRAIN_S = 5.0


class TritonServer:
    """One server over one model repository. A context manager; `start` and `stop` do the same by hand.

    Ports that are None are free ones. `load` names the models to load, None stands for every one with a config.pbtxt;
    twins load before the hybrids that call them. With `strict` a model that does not load ends the start; without, it
    is kept in `failures` (name to the server's reason) and the others serve. With `state_path` the addresses are
    written there while it runs; a restart that cannot write them serves all the same, and keeps the sentence about it
    in `untold`. The log is at `log_path`, and the one that was there is kept beside it, with ".1" added to its name;
    None keeps one for as long as the server runs. Each instance of a Python model takes `shm_region_mib` of shared
    memory and grows by as much; None takes what suits this machine. `extra_arguments` go to tritonserver as they are.
    The server ends with this process, however this process ends.
    """

    def __init__(
        self,
        repository: Path,
        *,
        http_port: int | None = None,
        grpc_port: int | None = None,
        metrics_port: int | None = None,
        log_path: Path | None = None,
        load: Sequence[str] | None = None,
        strict: bool = True,
        start_timeout_s: float = 60.0,
        load_timeout_s: float = 300.0,
        drain_s: int = 30,
        shm_region_mib: int | None = None,
        extra_arguments: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
        state_path: Path | None = None,
    ) -> None:
        self.repository = Path(repository)
        self.failures: dict[str, str] = {}
        self.untold = ""
        self._order = Order(
            repository=self.repository,
            ports={"http": http_port, "grpc": grpc_port, "metrics": metrics_port},
            log_path=log_path,
            start_timeout_s=start_timeout_s,
            drain_s=drain_s,
            regions=None if shm_region_mib is None else (shm_region_mib * MIB, shm_region_mib * MIB),
            extra_arguments=tuple(extra_arguments),
            environ=dict(os.environ if environ is None else environ),
            load_timeout_s=load_timeout_s,
        )
        self._load = None if load is None else list(load)
        self._models: dict[str, ServedModel] = {}
        self._seen: Configurations = {}
        self._strict = strict
        self._load_timeout_s = load_timeout_s
        self._state_path = state_path
        self._restarts = False
        self._launched: Launched | None = None

    def __enter__(self) -> TritonServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id of tritonserver."""
        return self._running().process.pid

    @property
    def http_url(self) -> str:
        """Where HTTP is served, as host:port."""
        return f"{LOOPBACK}:{self._running().ports['http']}"

    @property
    def grpc_url(self) -> str:
        """Where gRPC is served, as host:port."""
        return f"{LOOPBACK}:{self._running().ports['grpc']}"

    @property
    def metrics_url(self) -> str:
        """Where the metrics are served, as host:port."""
        return f"{LOOPBACK}:{self._running().ports['metrics']}"

    @property
    def log_path(self) -> Path:
        """The file that holds what the server and the models print."""
        return self._running().log_path

    def start(self) -> None:
        """Start the server and load its models; return when all of them serve.

        Raises RepositoryError, MachineError for what this machine lacks, PortTaken, StateTaken before anything starts;
        ServerFailed with the end of the log; LoadFailed with the server's reason. No process is left behind by any.
        """
        stages = self._stages()
        if not self._restarts:
            make_way(self._order, self._state_path)
        try:
            self._start(stages, idle_ends=True)
        except LoadHangs:
            # Now and then 24.10 loses a process to a lock of its own, and that server then loads nothing any more. A
            # model may also just wait for something, and does so once more then: it has its time.
            self._start_without_what_hangs(stages)

    def _start_without_what_hangs(self, stages: list[list[str]]) -> None:
        """Start as often as a model hangs; without `strict` each of them is left out then."""
        while True:
            try:
                return self._start(stages, idle_ends=False)
            except LoadHangs as error:
                if self._strict:
                    raise
                self.failures[error.name] = error.reason
                stages = [[name for name in stage if name != error.name] for stage in stages]

    def _stages(self) -> list[list[str]]:
        """What a start loads, one stage after the other. What it cannot even read counts as what does not load."""
        if self._launched is not None:
            raise RuntimeError("the server is already started")
        self.failures.clear()
        self._seen = configurations(self.repository, self._load)
        self._models, broken = read_repository(self.repository)
        stages = load_stages(self._models, [*self._models, *broken] if self._load is None else self._load)
        for name in [name for stage in stages for name in stage if name in broken]:
            if self._strict:
                raise broken[name]
            self.failures[name] = str(broken[name])
        return [readable for stage in stages if (readable := [name for name in stage if name not in broken])]

    def _start(self, stages: list[list[str]], *, idle_ends: bool, ahead: bool = False) -> None:
        """Launch and load; with `ahead` the server loads what it can before it listens."""
        names = [name for stage in stages for name in stage]
        models = [self._models[name] for name in names if name in self._models]
        self._launched = launch(replace(self._order, models=models, ahead=names if ahead else []))
        try:
            idle_ends = idle_ends and self._launched.embedded
            self._load_models(stages, idle_ends=idle_ends, strict=self._strict)
            self._write_state()
            self._catch_up()
        except BaseException:
            self.stop()
            raise

    def restart(self, load: Sequence[str] | None = None) -> None:
        """Start again after the server has ended by itself: on the same ports, with these models as far as they load.

        None loads what the first start loaded. The log of the server that ended is kept, as at a start. Raises as
        `start`, and may then be called once more.
        """
        if self._launched is not None or not self._restarts:
            launched = self._running()
            self.stop()
            put_aside(launched.log_path)
            self._order = replace(self._order, ports=dict(launched.ports))
        self._load = self._load if load is None else list(load)
        self._strict = False
        self._restarts = True
        # Of a model that is still to come a server says that there is none. Where nobody listens a client asks again.
        with contextlib.suppress(LoadHangs, ServerFailed):
            self._start(self._stages(), idle_ends=True, ahead=True)
            return
        self.start()

    def kill(self) -> None:
        """End the server at once, as a crash would: who waits for an answer hears of it. `restart` starts it again."""
        self._running().process.kill()

    def stop(self) -> None:
        """End the server: requests in flight finish first, for `drain_s` at most. Does nothing when it is stopped."""
        if self._launched is None:
            return
        launched, self._launched = self._launched, None
        if self._state_path is not None:
            clear_state(self._state_path, launched.process.pid)
        launched.stop(self._order.drain_s + _KILL_AFTER_DRAIN_S)

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait while the server runs. Its exit status once it has ended, None when it has not within `timeout_s`."""
        process = self._running().process
        process.wait(timeout_s)
        return process.exit_status

    def control(self) -> ModelControl:
        """A new connection for loading, unloading and probing. The caller closes it."""
        return ModelControl(self.grpc_url, load_timeout_s=self._load_timeout_s)

    def log_tail(self) -> list[str]:
        """The last errors in the log, else its last lines."""
        return self._running().tail()

    def _running(self) -> Launched:
        if self._launched is None:
            raise RuntimeError("the server is not running")
        return self._launched

    def _catch_up(self) -> None:
        """Load what was published, or rolled back, while this server loaded: whoever did that found no server to tell.

        Now that the state file is there, a publisher finds it. What is refused here serves on as it is; a model that is
        idle meanwhile is the old one of it, which has nothing to do.
        """
        while changed := (now := configurations(self.repository, self._load)).items() - self._seen.items():
            self._seen = now
            models, _ = read_repository(self.repository)
            stages = switch_stages(models, sorted(name for name, _ in changed))
            self._load_models(stages, idle_ends=False, strict=False)

    def _load_models(self, stages: list[list[str]], *, idle_ends: bool, strict: bool) -> None:
        stubs = Stubs(self.pid)
        with self.control() as control:
            for stage in stages:
                end = partial(self._running().stop, 0.0)
                for name, done in load_together(stage, control.load, stubs, idle_ends=idle_ends, end=end).items():
                    try:
                        done.result()
                        self.failures.pop(name, None)
                    except ModelError as error:
                        if strict:
                            raise
                        self.failures[name] = error.reason
                    except ServerUnreachable as error:
                        self._raise_if_dead(error)
                        raise

    def _raise_if_dead(self, cause: Exception) -> None:
        launched = self._running()
        if launched.process.wait(1.0):
            what = f"ended with {launched.process.exit_status} while loading"
            raise ServerFailed(what, launched.log_path, launched.tail()) from cause

    def _write_state(self) -> None:
        if self._state_path is None:
            return
        launched = self._running()
        state = running_server(self.pid, launched.ports, self.repository, launched.log_path)
        if state is None:
            raise ServerFailed("ended after it was started", launched.log_path, launched.tail())
        self.untold = ""
        try:
            write_state(self._state_path, state)
        except (StateNotWritten, StateTaken) as error:
            # Callers know the ports from before: a server that serves is not ended for a file.
            if not self._restarts:
                raise
            self.untold = str(error)

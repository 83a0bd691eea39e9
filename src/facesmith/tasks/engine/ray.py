"""The engine of several machines: Ray Data deals the files to workers, each with models of its own."""

import importlib
import logging
import os
import queue
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from facesmith import __version__
from facesmith.errors import UserError, explain_failure, summarize_error
from facesmith.tasks.batch import Failure, J, R, Report, Work, attempt

log = logging.getLogger(__name__)

_OBJECT_STORE: Final = 200_000_000  # bytes: paths and results pass through it, never frames
_BETWEEN_REPORTS: Final = 1.0  # seconds, of one file
_STOPPED: Final = 130  # the exit code of a program that was stopped by Ctrl-C


def load_ray(setting: str) -> Any:
    """Import Ray, which then sends nothing about its use to anybody.

    Args:
        setting: What asks for it, for the message.

    Raises:
        UserError: It is not installed.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what ends a run is told; the rest is in Ray's own logs
    try:
        return importlib.import_module("ray")
    except ModuleNotFoundError:
        raise UserError(f"{setting}: Ray is not installed; pip install 'facesmith[ray]'") from None


class RayEngine:
    """Works on several files at a time, in the processes of a Ray cluster.

    A file whose worker dies is given to another one, which goes on with what is finished of it. What the workers
    read and write must lie at the same paths on all machines.

    Attributes:
        threads: Of a worker.
    """

    def __init__(
        self,
        *,
        address: str,
        workers: int | None,
        num_cpus: float,
        num_gpus: float,
        retries: int,
        set_up: Callable[[], None],
    ) -> None:
        """Load Ray.

        Args:
            address: Of the cluster, see `RayEngineConfig`.
            workers: How many there are; None: as many as the cluster has room for.
            num_cpus: Cores of each.
            num_gpus: GPUs of each.
            retries: How often a file whose worker died is tried again.
            set_up: Called in each worker before it loads its models.

        Raises:
            UserError: Ray is not installed.
        """
        self._ray = load_ray("engine=ray")
        self._address, self._workers, self._retries, self._set_up = address, workers, retries, set_up
        self._resources = {"num_cpus": num_cpus, "num_gpus": num_gpus}
        self.threads = max(1, int(num_cpus))

    def run(self, jobs: Sequence[J], work: Work[J, R], report: Report) -> Iterator[tuple[J, R | Failure]]:
        """Work on files, see `Engine`; the workers get the settings of the work.

        Raises:
            UserError: There is no such cluster, it has no room for a worker, or a worker cannot start.
        """
        if not jobs:
            return
        with self._cluster(), self._listen(report) as events:
            missing = set(range(len(jobs)))
            try:
                for number, outcome in self._outcomes(jobs, work, events):
                    missing.remove(number)
                    yield jobs[number], outcome
            except KeyboardInterrupt:
                report.tell(f"stopped; {len(missing)} of {len(jobs)} files are not finished")
                raise SystemExit(_STOPPED) from None
            except self._ray.exceptions.RayError as error:
                first = str(error).strip().partition("\n")[0]
                raise UserError(
                    f"engine=ray: the workers cannot go on ({first}); Ray's logs are in /tmp/ray/session_latest/logs"
                ) from error
            for number in missing:
                reason = f"its worker died {self._retries + 1} times; give workers more memory, or leave the file out"
                yield jobs[number], _failure(reason)

    @contextmanager
    def _cluster(self) -> Iterator[None]:
        """Join the cluster, or start one of this machine, and leave it in the end."""
        ray = self._ray
        own = {"include_dashboard": False, "object_store_memory": _OBJECT_STORE} if self._address == "local" else {}
        try:
            ray.init(address=self._address, log_to_driver=False, logging_level=logging.ERROR, **own)
        except Exception as error:  # Ray raises plain ones, too
            reason = " ".join(str(error).split())[:200]
            mend = "try again when this machine is less busy" if own else "start one with `ray start --head`"
            raise UserError(
                f"engine.address={self._address}: there is no Ray cluster ({reason}); {mend}, or omit engine=ray"
            ) from error
        try:
            yield
        finally:
            ray.shutdown()

    def _outcomes(self, jobs: Sequence[J], work: Work[J, R], events: Any) -> Iterator[tuple[int, R | Failure]]:
        data = importlib.import_module("ray.data")
        context = data.DataContext.get_current()
        context.enable_progress_bars = False
        context.max_errored_blocks = -1  # a file that takes its worker with it costs no other
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        pickled = importlib.import_module("ray.cloudpickle").dumps(work)
        count = min(self._workers or self._room(), len(jobs))
        rows = data.from_items([{"number": i, "job": job} for i, job in enumerate(jobs)], override_num_blocks=len(jobs))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*ray_remote_args")  # until Ray has another way to bound the retries
            outcomes = rows.map(
                _Worker,
                fn_constructor_args=(self._set_up, pickled, events, __version__, Path.cwd()),
                # One file at a time and no more: a waiting one would be idle while another worker is.
                compute=data.ActorPoolStrategy(
                    min_size=1, max_size=count, initial_size=count, max_tasks_in_flight_per_actor=1
                ),
                ray_remote_args_fn=partial(dict, max_task_retries=self._retries),
                **self._resources,
            )
        for row in outcomes.iter_rows():
            yield row["number"], row["outcome"]

    def _room(self) -> int:
        """Return how many workers fit into the cluster as it is now."""
        has: Mapping[str, float] = self._ray.cluster_resources()
        needs = {"CPU": self._resources["num_cpus"], "GPU": self._resources["num_gpus"]}
        count = min(int(has.get(name, 0) // needed) for name, needed in needs.items() if needed)
        if count == 0:
            wanted = f"engine.num_cpus={needs['CPU']:g} engine.num_gpus={needs['GPU']:g}"
            found = f"{has.get('CPU', 0):g} CPUs and {has.get('GPU', 0):g} GPUs"
            raise UserError(
                f"{wanted}: the cluster has {found}, no room for one worker; lower them, or give engine.workers where "
                "the cluster grows"
            )
        return count

    @contextmanager
    def _listen(self, report: Report) -> Iterator[Any]:
        """Pass on what the workers tell, from a queue that they are given."""
        events = importlib.import_module("ray.util.queue").Queue(actor_options={"num_cpus": 0})
        stop, begun = threading.Event(), set[int]()

        def pass_on() -> None:
            while not (stop.is_set() and events.empty()):
                try:
                    number, path, line, place = events.get(timeout=0.5)
                except queue.Empty:
                    continue
                if line is not None:
                    report.tell(line)
                elif place is not None:
                    report.advance(path, *place)
                elif number in begun:
                    report.tell(f"{path}: its worker died; another one goes on with it")
                begun.add(number)

        thread = threading.Thread(target=pass_on, daemon=True)
        thread.start()
        try:
            yield events
        finally:
            stop.set()
            thread.join()


class _Worker:
    """A process of the cluster that works on one file after the other."""

    def __init__(self, set_up: Callable[[], None], pickled: bytes, events: Any, version: str, folder: Path) -> None:
        self._events = events
        self._broken: str | None = None
        try:
            if version != __version__:
                raise UserError(f"has facesmith {__version__}, but the run was started with {version}")
            os.chdir(folder)
            set_up()
            self._work: Work[Any, Any] = importlib.import_module("ray.cloudpickle").loads(pickled)
        except Exception as error:
            reason = explain_failure(error, None, None) or summarize_error(error)
            self._broken = f"engine=ray: a worker on {socket.gethostname()} cannot start: {reason}"

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        if self._broken is not None:
            return {"number": row["number"], "outcome": _failure(self._broken, ends_all=True)}
        job = row["job"]
        report = _QueueReport(self._events, row["number"], job.path)
        outcome = attempt(lambda: self._work(job, report), self._work.config)
        if isinstance(outcome, Failure):
            outcome = replace(outcome, error=UserError(outcome.reason))  # not every error can be sent
        return {"number": row["number"], "outcome": outcome}


class _QueueReport:
    """Sends what is told of one file to the process that started the run."""

    def __init__(self, events: Any, number: int, path: Path) -> None:
        self._events, self._number, self._path = events, number, path
        self._last = 0.0
        events.put((number, path, None, None))

    def tell(self, line: str) -> None:
        self._events.put((self._number, self._path, line, None))

    def advance(self, path: Path, done: int, total: int) -> None:
        now = time.monotonic()
        if done == total or now - self._last >= _BETWEEN_REPORTS:
            self._last = now
            self._events.put((self._number, path, None, (done, total)))


def _failure(reason: str, *, ends_all: bool = False) -> Failure:
    return Failure(reason, UserError(reason), ends_all)

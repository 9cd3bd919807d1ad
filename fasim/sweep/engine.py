"""Where the points of a sweep run: in this process, on worker processes of this machine, or on any Dask cluster.

Workers write results themselves, so that nothing is lost with the process that handed the work out; they and that process
must therefore see one file system. A worker that dies takes no more than its point with it, which Dask gives to another.
"""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from fasim import gpus
from fasim.errors import ConfigError, FasimError, OutputError
from fasim.sweep.folders import SweepFolder
from fasim.sweep.point import Point, Settings
from fasim.sweep.running import run_point

INSTALL = "pip install 'fasim[sweep]'"
CONNECT_S = 30
# a point that has taken so many workers with it is not given to another
DEATHS = 3
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class Pool:
    """What points run on.

    Parameters
    ----------
    workers : int, optional
        Processes on this machine; 0: this process, one point after another, without Dask. Default: one a core, or a GPU.
    scheduler : str
        Address of a Dask scheduler, whose workers are used instead.
    gpu : bool
        A point holds one of a worker's resource ``GPU`` while it runs.
    threads : int
        Of a point; 0: the machine's cores divided by the workers, on a cluster the threads of its worker.

    Raises
    ------
    ConfigError
        If a number cannot be, or two choices contradict each other.
    """

    workers: int | None = None
    scheduler: str = ""
    gpu: bool = False
    threads: int = 0

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 0 or self.threads < 0:
            raise ConfigError(f"workers {self.workers}, threads {self.threads}: numbers of at least 0 are needed")
        if self.scheduler and self.workers is not None:
            raise ConfigError(f"--scheduler {self.scheduler} --workers {self.workers}: the cluster has its own; give one")

    def local_workers(self, points: int) -> int:
        """Return how many processes are started for so many points."""
        most = gpus.count() if self.gpu else cores()
        return max(1, min(points, most if self.workers is None else self.workers))


class Done(NamedTuple):
    """A point that has finished (`error` empty) or failed."""

    point: Point
    error: str


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_points(
    points: Sequence[Point], folder: SweepFolder, pool: Pool, on_done: Callable[[Done], None] | None = None
) -> list[Done]:
    """Run the points that are not finished, and return each as it has ended, in that order.

    Parameters
    ----------
    points : sequence of Point
    folder : SweepFolder
        Made by :meth:`fasim.sweep.SweepFolder.create`.
    pool : Pool
    on_done : callable, optional
        Called with each.

    Raises
    ------
    ConfigError
        If Dask is not installed or the scheduler cannot be reached.
    OutputError
        If results cannot be written.
    KeyboardInterrupt
        With Ctrl-C; what runs is cancelled, what has finished is in the folder.
    """
    missing = [point for point in points if not folder.has(point.name)]
    ended: list[Done] = []
    answers = _here(missing, folder, pool) if pool.workers == 0 else _on_dask(missing, folder, pool)
    for point, answer in answers:
        if answer.get("fatal"):
            raise OutputError(answer["error"])
        if answer["error"]:
            folder.write_failure(point, answer["error"], answer["detail"])
        ended.append(Done(point, answer["error"]))
        if on_done is not None:
            on_done(ended[-1])
    return ended


def work(settings: Settings, identity: Settings, path: str, threads: int) -> dict[str, Any]:
    """Run one point and write its folder, unless it is there; what a worker is asked to do.

    Returns
    -------
    dict
        ``error``: empty, or the one line that says why it could not run; ``detail``: where in fasim, if that is to blame;
        ``fatal``: no other point can be written either.
    """
    point, folder = Point(settings, identity), SweepFolder(Path(path))
    # a worker may have several threads, which belong to one point: kernels share their cores
    with _ONE_AT_A_TIME:
        if folder.has(point.name):
            return {"error": ""}
        try:
            folder.write(point, run_point(settings, threads or _threads_of_worker()))
        except OutputError as error:
            return {"error": str(error), "detail": "", "fatal": True}
        except FasimError as error:
            return {"error": str(error), "detail": ""}
        except MemoryError as error:
            return {"error": f"not enough memory ({error}); use a smaller network or batch", "detail": ""}
        except Exception as error:  # one point that meets a bug must not end the others
            return {"error": f"{type(error).__name__}: {' '.join(str(error).split())}", "detail": traceback.format_exc()}
    return {"error": ""}


Answers = Iterator[tuple[Point, dict[str, Any]]]


def _here(points: Sequence[Point], folder: SweepFolder, pool: Pool) -> Answers:
    for point in points:
        yield point, work(point.settings, point.identity, str(folder.path), pool.threads or cores())


def _on_dask(points: Sequence[Point], folder: SweepFolder, pool: Pool) -> Answers:
    if not points:
        return
    distributed = _distributed()
    path = str(folder.path.resolve())
    with _client(distributed, pool, len(points)) as (client, threads):
        resources = {"GPU": 1} if pool.gpu else None
        futures = {
            client.submit(
                work,
                point.settings,
                point.identity,
                path,
                threads,
                key=f"fasim-{point.name}",
                pure=False,
                priority=-place,
                resources=resources,
            ): point
            for place, point in enumerate(points)
        }
        try:
            for future in distributed.as_completed(list(futures), loop=client.loop):
                yield futures[future], _answer(future, pool)
                future.release()
        except BaseException:
            client.cancel(list(futures), force=True)
            raise


def _answer(future: Any, pool: Pool) -> dict[str, Any]:  # noqa: ANN401 - Dask's future
    if future.status in ("cancelled", "lost"):
        raise ConfigError(f"the scheduler {pool.scheduler} has gone; give the same command again, finished points stay")
    if future.status == "finished":
        answer: dict[str, Any] = future.result()
        return answer
    error = future.exception()
    if type(error).__name__ == "KilledWorker":
        return {"error": f"its worker died {DEATHS} times, perhaps for want of memory; use fewer workers", "detail": ""}
    line = f"the worker could not run it: {type(error).__name__}: {' '.join(str(error).split())}"
    return {"error": line, "detail": ""}


@contextmanager
def _client(distributed: Any, pool: Pool, points: int) -> Iterator[tuple[Any, int]]:  # noqa: ANN401 - a module
    """Connect to the scheduler, or to one of our own with local workers; yield the client and the threads of a point."""
    if pool.scheduler:
        try:
            client = distributed.Client(pool.scheduler, timeout=CONNECT_S, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError(
                f"--scheduler {pool.scheduler}: cannot be reached ({' '.join(str(error).split())}); give the address that "
                "the scheduler prints, such as tcp://10.0.0.1:8786"
            ) from None
        with client:
            yield client, pool.threads
        return
    import logging

    import dask

    if pool.gpu and not gpus.count():
        raise ConfigError(
            "--gpu: the driver finds no GPU here; leave it out, or give --scheduler with workers that have one"
        )
    count = pool.local_workers(points)
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": DEATHS - 1}),
        distributed.LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
            resources={"GPU": 1} if pool.gpu else None,
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        client.register_plugin(_local_plugin(distributed, pool.gpu), name="fasim-local")
        yield client, pool.threads or max(1, cores() // count)


def _local_plugin(distributed: Any, gpu: bool) -> Any:  # noqa: ANN401, FBT001 - of a module that may be absent
    """Return what each process of a local cluster does when it starts, after a death too."""

    class Local(distributed.WorkerPlugin):
        def setup(self, worker: Any) -> None:  # noqa: ANN401
            import os
            import signal

            # Ctrl-C reaches all processes of a terminal: the one that hands out the work decides what it means
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            if gpu:
                os.environ["CUDA_VISIBLE_DEVICES"] = str(worker.name)

    return Local()


def _threads_of_worker() -> int:
    from distributed import get_worker

    return int(get_worker().state.nthreads)


def _distributed() -> Any:  # noqa: ANN401 - a module
    try:
        import distributed
    except ImportError:
        raise ConfigError(
            f"sweeps on several workers need Dask: {INSTALL}; or give --workers 0 to run in one process"
        ) from None
    return distributed

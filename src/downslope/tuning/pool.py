"""Jobs done side by side by forked processes, which end when nobody waits for them any more."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from ..errors import DownslopeError, InputError

__all__ = ["Pool", "default_workers"]

Job = TypeVar("Job")
Work = Callable[[Job, Callable[[], None]], Any]

LAST_WORDS = 20.0  # seconds that a worker has to notice that it is to end


class _OrphanedError(BaseException):
    """The process that handed out the work is gone."""


class Pool(Generic[Job]):
    """Workers, forked when the block begins, that do jobs in the order they are given.

    Forked, because a task may be made of functions that cannot be sent to another process.

    Args:
        work: does a job; given the job and a function to call now and then, which ends a worker
            whose parent was killed.
        workers: how many; 0 does the jobs in this process, one after another.

    Raises:
        InputError: processes cannot be forked here.

    >>> with Pool(lambda number, alive: number * number, workers=0) as pool:
    ...     list(pool.run([1, 2, 3]))
    [(1, 1), (2, 4), (3, 9)]
    """

    def __init__(self, work: Work[Job], workers: int) -> None:
        if workers and not _can_fork():
            raise InputError(
                f"{workers} processes were asked for, but this system cannot fork any. Use "
                "processes = 0."
            )
        self._work = work
        self._count = workers
        self._workers: dict[Connection, BaseProcess] = {}

    def __enter__(self) -> Self:
        context = multiprocessing.get_context("fork")
        for _ in range(self._count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, ours, self._work), daemon=True)
            process.start()
            theirs.close()
            self._workers[ours] = process
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for connection in self._workers:
            connection.close()  # a worker notices after the step it is at
        for process in self._workers.values():
            process.join(LAST_WORDS)
            if process.is_alive():
                process.kill()
                process.join()
        self._workers.clear()

    def run(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Any]]:
        """Do the jobs; yields each with its result as soon as it is done.

        Raises:
            DownslopeError: a job raised one, or a worker was killed.
        """
        left = iter(jobs)
        if not self._workers:
            for job in left:
                yield job, self._work(job, _nothing)
            return
        busy: dict[Connection, Job] = {}
        idle = list(self._workers)
        while True:
            for connection, job in zip(idle, left, strict=False):
                connection.send(job)
                busy[connection] = job
            idle = []
            if not busy:
                return
            for ready in wait(list(busy)):
                assert isinstance(ready, Connection)
                job = busy.pop(ready)
                idle.append(ready)
                yield job, _received(ready, self._workers[ready])


def default_workers() -> int:
    """As many as there are cores for this process; none where processes cannot be forked."""
    return len(os.sched_getaffinity(0)) if _can_fork() and hasattr(os, "sched_getaffinity") else 0


def _can_fork() -> bool:
    return "fork" in multiprocessing.get_all_start_methods()


def _received(connection: Connection, process: BaseProcess) -> Any:
    try:
        kind, value = connection.recv()
    except EOFError:
        process.join(1)
        raise DownslopeError(
            f"A worker process ended with exit code {process.exitcode} in the middle of its work "
            "(killed for want of memory?). Start the same again to go on from there."
        ) from None
    if kind == "error":
        raise DownslopeError(value)
    if kind == "fault":
        raise RuntimeError(value)
    return value


def _serve(connection: Connection, parents: Connection, work: Work[Job]) -> None:
    """Do what comes in until the other end is closed, or nobody is there any more."""
    parents.close()
    parent = os.getppid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent says what follows

    def alive() -> None:
        if os.getppid() != parent or connection.poll():
            raise _OrphanedError

    with contextlib.suppress(_OrphanedError, EOFError, BrokenPipeError):
        while True:
            while not connection.poll(1.0):
                if os.getppid() != parent:
                    raise _OrphanedError
            job = connection.recv()
            try:
                answer = ("done", work(job, alive))
            except DownslopeError as error:
                answer = ("error", str(error))
            except Exception:  # noqa: BLE001 - whatever it is, the parent tells it
                answer = ("fault", traceback.format_exc())
            connection.send(answer)
    os._exit(0)  # what the parent has open, and would do at its end, is not ours


def _nothing() -> None:
    """Nobody has to be asked whether to go on."""

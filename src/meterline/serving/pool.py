"""
The threads that gRPC calls run on: as many as there are calls waiting for the disk, and none that keeps the process alive.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
_Job = tuple[Future[Any], Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class DaemonPool(Executor):
    """
    An executor of daemon threads that are started when a job finds no idle one, up to ``max_threads``.

    Unlike the standard library's, it is not joined when the interpreter exits: a call that still waits for its answer must not
    hold up a process that was told twice to stop.
    """

    def __init__(self, name: str, max_threads: int) -> None:
        self._name = name
        self._max_threads = max_threads
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0  # threads that are no job's yet; a job's own may still be on its way to the queue
        self._backlog = 0  # jobs that no thread is for
        self._threads = 0
        self._closed = False

    @property
    def threads(self) -> int:
        """
        Return how many threads were started.
        """
        return self._threads

    @property
    def waiting(self) -> int:
        """
        Return how many jobs no thread has taken yet.
        """
        return self._jobs.qsize()

    @property
    def exhausted(self) -> bool:
        """
        Say whether jobs wait, and no thread can be added for them.
        """
        return self._threads >= self._max_threads and self._backlog > 0

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """
        Queue a call. Never blocks; raises RuntimeError only after ``shutdown``.
        """
        future: Future[R] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("submitting a call: the pool is shut down")
            self._jobs.put((future, fn, args, kwargs))
            number = self._claim()
        if number:
            self._grow(number)
        return future

    def _claim(self) -> int:
        """
        Find a thread for one more job: an idle one, or, as the number returned, a new one; else the job has to wait.
        """
        if self._idle:
            self._idle -= 1
            return 0
        if self._threads < self._max_threads:
            self._threads += 1
            return self._threads
        self._backlog += 1
        return 0

    def _grow(self, number: int) -> None:
        try:
            threading.Thread(target=self._work, name=f"{self._name}-{number}", daemon=True).start()
        except RuntimeError:  # the machine gives no more threads: those that there are take the job
            with self._lock:
                self._threads -= 1
                if self._idle:
                    self._idle -= 1
                else:
                    self._backlog += 1

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            _run(*job)
            del job
            with self._lock:
                if self._backlog:
                    self._backlog -= 1
                else:
                    self._idle += 1

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002, ARG002
        """
        Let every thread end after the jobs queued before; waits for none of them.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for _ in range(self._threads):
                self._jobs.put(None)


def _run(future: Future[Any], fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(fn(*args, **kwargs))
    except BaseException as error:  # noqa: BLE001  # whoever waits for the future is told
        future.set_exception(error)

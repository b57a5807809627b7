"""
The one event-loop thread of all HTTP listeners, and the threads that decode for it.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")
Job = Callable[[], None]

DECODERS = 4
"""Threads that decompress and decode; the libraries that inflate let the interpreter go meanwhile."""


_CANCEL_SECS = 2.0


class EventLoop:
    """
    An asyncio loop on a daemon thread of its own. Started by its first user, ended by its last.
    """

    def __init__(self) -> None:
        self._users = 0
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._done: deque[Job] = deque()
        self._woken = False
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()

    def acquire(self) -> None:
        """
        Start the threads, or count one more user of them.
        """
        with self._lock:
            self._users += 1
            if self._users > 1:
                return
            self._done.clear()
            self._woken = False
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="http-loop", daemon=True)
            self._thread.start()
            for number in range(DECODERS):
                threading.Thread(target=self._decode, name=f"http-decode-{number + 1}", daemon=True).start()

    def release(self) -> None:
        """
        Count one user less; the last one ends the threads.
        """
        with self._lock:
            self._users -= 1
            if self._users or self._loop is None or self._thread is None:
                return
            loop, self._loop = self._loop, None
            for _ in range(DECODERS):
                self._jobs.put(None)
            asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join()
            loop.close()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """
        Run a coroutine on the loop, and wait for it. Not to be called on the loop.
        """
        return asyncio.run_coroutine_threadsafe(coroutine, self._running()).result()

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            raise RuntimeError("running on the http loop: it is not started")
        return self._loop

    def decode(self, job: Job) -> None:
        """
        Queue a job for a decoding thread; it must not raise.
        """
        self._jobs.put(job)

    def post(self, job: Job) -> None:
        """
        Run a job on the loop soon; any thread. Many at once wake the loop once. After the end they are dropped.
        """
        loop = self._loop
        if loop is None:
            return
        self._done.append(job)
        if self._woken:
            return
        self._woken = True
        with suppress(RuntimeError):  # closed meanwhile: nobody is left to be answered
            loop.call_soon_threadsafe(self._run_posted)

    def _run_posted(self) -> None:
        self._woken = False  # first: what is posted from here on wakes again
        while self._done:
            self._done.popleft()()

    def _decode(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            del job  # what it worked on is not to wait for the next job


async def _cancel_all() -> None:
    """
    End what still runs on the loop, and wait until it has.
    """
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=_CANCEL_SECS)

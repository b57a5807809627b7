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


class Mailbox:
    """
    What is to be run on one asyncio loop; any thread. Many posts at once wake the loop once; after its end they are dropped.

    Of one loop only: who still holds the mailbox of an ended one cannot make the next believe that it has been woken.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._posted: deque[Job] = deque()
        self._woken = False

    def post(self, job: Job) -> None:
        """
        Run a job soon, after those posted before; it must not raise.
        """
        self._posted.append(job)
        if self._woken:
            return
        self._woken = True
        with suppress(RuntimeError):  # closed meanwhile: nobody is left to be answered
            self._loop.call_soon_threadsafe(self._run)

    def _run(self) -> None:
        self._woken = False  # first: what is posted from here on wakes again
        while self._posted:
            self._posted.popleft()()


class EventLoop:
    """
    An asyncio loop on a daemon thread of its own. Started by its first user, ended by its last.
    """

    def __init__(self) -> None:
        self._users = 0
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._mailbox: Mailbox | None = None
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()

    def acquire(self) -> None:
        """
        Start the threads, or count one more user of them.
        """
        with self._lock:
            self._users += 1
            if self._users > 1:
                return
            self._loop = asyncio.new_event_loop()
            self._mailbox = Mailbox(self._loop)
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
            loop, self._loop, self._mailbox = self._loop, None, None
            for _ in range(DECODERS):
                self._jobs.put(None)
            asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join()
            loop.close()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """
        Run a coroutine on the loop, and wait for it. Only between one's own ``acquire`` and ``release``, and not on the loop.
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
        Run a job on the loop soon; any thread. After the end it is dropped.
        """
        mailbox = self._mailbox
        if mailbox is not None:
            mailbox.post(job)

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

"""
The threads of gRPC calls: none of them waits behind one that is busy while another could be started.
"""

import queue
import threading
from typing import Any

from meterline.serving.pool import DaemonPool
from meterline.testing.process import wait_until

WAIT_SECS = 20.0


class HeldQueue(queue.SimpleQueue[Any]):
    """
    Interrupts a thread that has just taken a job: others go on before it does.
    """

    def __init__(self) -> None:
        super().__init__()
        self.holds, self.taken, self.go = threading.Event(), threading.Event(), threading.Event()

    def get(self, *args: Any, **kwargs: Any) -> Any:
        """
        Take a job, and wait if it is the first since ``holds`` was set.
        """
        job = super().get(*args, **kwargs)
        if self.holds.is_set() and not self.taken.is_set():
            self.taken.set()
            assert self.go.wait(WAIT_SECS)
        return job


def test_a_thread_that_has_just_taken_a_job_is_not_idle() -> None:
    """
    The second job, submitted while the only thread is about to begin the first, gets a thread of its own: the first may take
    as long as it likes.
    """
    pool = DaemonPool("test", 5)
    pool._jobs = held = HeldQueue()
    pool.submit(int).result(WAIT_SECS)
    wait_until(lambda: pool._idle == 1, WAIT_SECS, "the thread to be idle")
    held.holds.set()
    first = pool.submit(int)
    assert held.taken.wait(WAIT_SECS)

    second = pool.submit(int)

    assert second.result(WAIT_SECS) == 0
    assert not first.done()
    held.go.set()
    assert first.result(WAIT_SECS) == 0
    pool.shutdown()


def test_jobs_beyond_the_last_thread_are_run_in_their_turn() -> None:
    """
    With every thread busy, jobs wait and are counted; each thread goes on with them, and then all are idle again.
    """
    pool = DaemonPool("test", 2)
    go = threading.Event()
    busy = [pool.submit(go.wait, WAIT_SECS) for _ in range(2)]
    assert not pool.exhausted, "each has its thread, taken or not"
    waiting = [pool.submit(int) for _ in range(50)]
    assert pool.exhausted
    go.set()
    assert [job.result(WAIT_SECS) for job in (*busy, *waiting)] == [True] * 2 + [0] * 50
    wait_until(lambda: pool._idle == 2, WAIT_SECS, "both threads to be idle")
    assert (pool.threads, pool.waiting, pool.exhausted) == (2, 0, False)
    pool.shutdown()


def test_a_job_submitted_while_the_pool_shuts_down_runs_or_is_refused() -> None:
    """
    Many threads submit while one shuts down: what was not refused is done.
    """
    pool = DaemonPool("test", 4)
    jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def submit() -> None:
        try:
            while True:
                jobs.put(pool.submit(int))
        except RuntimeError:
            pass

    threads = [threading.Thread(target=submit, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_until(lambda: jobs.qsize() > 100, WAIT_SECS, "jobs")
    pool.shutdown()
    for thread in threads:
        thread.join(WAIT_SECS)
    while not jobs.empty():
        assert jobs.get().result(WAIT_SECS) == 0

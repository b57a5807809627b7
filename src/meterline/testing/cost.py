"""
What a job costs, for tests that compare the cost of some parts with that of many.
"""

import gc
import time
import tracemalloc
from collections.abc import Callable


def least_cpu_secs(job: Callable[[], object], tries: int = 3) -> float:
    """
    Return the CPU time of this thread for a job, the least of some tries, without the garbage that other tests have left.
    """
    gc.collect()
    gc.disable()
    try:
        return min(cpu_secs(job) for _ in range(tries))
    finally:
        gc.enable()


def cpu_secs(job: Callable[[], object]) -> float:
    """
    Return the CPU time of this thread for a job.
    """
    before = time.thread_time()
    job()
    return time.thread_time() - before


def peak_bytes(job: Callable[[], object]) -> int:
    """
    Return the most memory that Python had taken at once, in any thread, since the job began.
    """
    tracemalloc.start()
    try:
        job()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

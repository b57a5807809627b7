"""
The thread that all HTTP listeners share.
"""

import threading
import time

from meterline.serving.http.loop import EventLoop


def names() -> set[str]:
    """
    Return the names of our threads.
    """
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("http-")}


def test_the_last_user_ends_its_threads() -> None:
    """
    Two users, one loop; what was posted before runs, what is posted after the end is dropped; it can be used again.
    """
    loop = EventLoop()
    for _ in range(2):
        loop.acquire()
        loop.acquire()
        loop.release()
        ran = threading.Event()
        loop.decode(lambda ran=ran: loop.post(ran.set))
        assert ran.wait(10)
        loop.release()
        loop.post(ran.clear)
        deadline = time.monotonic() + 10
        while names() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert names() == set()
        assert ran.is_set()


def test_many_posts_all_run_in_order() -> None:
    """
    Posts from several threads at once: each thread's run in its order, none is lost.
    """
    loop = EventLoop()
    loop.acquire()
    seen: list[tuple[int, int]] = []
    done = threading.Semaphore(0)

    def post(number: int) -> None:
        for count in range(2_000):
            loop.post(lambda count=count: (seen.append((number, count)), done.release()))

    threads = [threading.Thread(target=post, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(8_000):
        assert done.acquire(timeout=20)
    for number in range(4):
        assert [count for who, count in seen if who == number] == list(range(2_000))
    loop.release()


def test_who_still_holds_the_mailbox_of_an_ended_loop_does_not_silence_the_next() -> None:
    """
    A thread may be between looking up the mailbox and posting when the loop ends and begins again: its job is dropped, and
    what is posted to the new loop runs.
    """
    loop = EventLoop()
    loop.acquire()
    old = loop._mailbox
    assert old is not None
    loop.release()
    loop.acquire()
    dropped, ran = threading.Event(), threading.Event()
    old.post(dropped.set)
    loop.post(ran.set)
    assert ran.wait(10)
    assert not dropped.is_set()
    loop.release()


def test_a_post_while_jobs_are_run_wakes_the_loop_again() -> None:
    """
    The loop is told at most once of what waits, and never too seldom: a job posted by a job, or just after the last one, runs.
    """
    loop = EventLoop()
    loop.acquire()
    ran = threading.Semaphore(0)
    loop.post(lambda: (loop.post(ran.release), ran.release()))
    for _ in range(2):
        assert ran.acquire(timeout=10)
    loop.post(ran.release)
    assert ran.acquire(timeout=10)
    loop.release()

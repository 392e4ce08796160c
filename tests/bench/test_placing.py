"""Processes kept on one core each while they are measured."""

import os
import subprocess
import sys

from bekend_bench.placing import one_core_each

THREADS = """
import sys, threading
for _ in range(3):
    threading.Thread(target=threading.Event().wait, daemon=True).start()
print(flush=True)
sys.stdin.readline()
"""


def cores_of(pid: int) -> list[frozenset[int]]:
    return [frozenset(os.sched_getaffinity(int(thread))) for thread in os.listdir(f"/proc/{pid}/task")]


def test_every_thread_is_kept_on_one_core_and_let_go_after() -> None:
    every = frozenset(os.sched_getaffinity(0))
    words = [sys.executable, "-c", THREADS]
    running = [subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(3)]
    try:
        for one in running:
            assert one.stdout is not None
            one.stdout.readline()
        with one_core_each([one.pid for one in running]):
            held = [cores_of(one.pid) for one in running]
            assert all(len(threads) == 4 and len(set(threads)) == 1 for threads in held)
            wanted = [frozenset({sorted(every)[place % len(every)]}) for place in range(3)]
            assert [threads[0] for threads in held] == wanted
        assert [set(cores_of(one.pid)) for one in running] == [{every}] * 3
    finally:
        for one in running:
            one.kill()
            one.communicate()

"""What the profile reads: callgrind's dumps and folded stacks. The counting itself needs valgrind and minutes."""

from bekend_bench.profile import by_library, folded, shares_of

DUMP = """\
version: 1
creator: callgrind-3.19.0
positions: line
events: Ir

ob=(2) /usr/lib/libpython3.11.so.1.0
fl=(1) ???
fn=(2) _PyEval_EvalFrameDefault
0 50
cob=(1) /usr/lib/libsodium.so.23.3.0
cfn=(1) crypto_scalarmult_ristretto255
calls=3 0
0 3000
+2 7
ob=(1)
fn=(1)
0 1000
fn=(3) crypto_core_ristretto255_add
* 200
ob=(3) /usr/lib/strange.so
fn=(4) f
-1 5

totals: 1262
"""

RAW = """\
thread (1): MainThread;main (x.py:1);_run_once (asyncio/base_events.py:1922);_run (asyncio/events.py:80);\
ask (bekend_node/ask/lookup.py:10);multiply (bekend_proto/group.py:58) 6
thread (1): MainThread;main (x.py:1);_run_once (asyncio/base_events.py:1922);_run (asyncio/events.py:80);\
ask (bekend_node/ask/lookup.py:12) 2
thread (1): MainThread;main (x.py:1);_run_once (asyncio/base_events.py:1885);select (selectors.py:468) 90
thread (2): writer;_run (bekend_proto/group_commit.py:9) 40
"""


def test_own_instructions_count_for_their_library_and_those_of_what_it_calls_do_not() -> None:
    assert by_library(DUMP) == {"libsodium, ristretto255": 1200, "Python": 57, "other": 5}


def test_stacks_are_the_own_functions_of_the_event_loop_at_work_without_lines() -> None:
    stacks = folded(RAW)
    top = "ask (bekend_node/ask/lookup.py)"
    assert stacks == {f"{top};multiply (bekend_proto/group.py)": 6, top: 2}
    assert shares_of(stacks) == {"ask (bekend_node/ask/lookup.py)": 1.0, "multiply (bekend_proto/group.py)": 0.75}

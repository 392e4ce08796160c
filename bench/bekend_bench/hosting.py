"""Many nodes in one process, each with its own keys, certificate, databases and line to the broker.

    python -m bekend_bench.hosting <node.yaml> ...

What a partner's own process would do, its event loop, memory of the interpreter and threads of gRPC alone are shared:
a machine that could not hold 342 processes holds them like this. Ends at SIGTERM, or when a node breaks.
"""

import asyncio
import gc
import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from bekend_node.app import Node, start_node
from bekend_node.config import load_config
from bekend_proto import logs
from bekend_proto.clock import SystemClock

AT_ONCE = 2
"""Nodes that start together. While one reads its covenant nobody else in the process is served: with more of them, what
the others wait for from the broker would come too late.
"""


async def host(configs: Sequence[Path]) -> None:
    """Serve all of these until SIGTERM or SIGINT. Raises what `start_node` raises."""
    clock, loop, ended = SystemClock(), asyncio.get_running_loop(), asyncio.Event()
    logs.use_clock(clock)
    logs.capture_libraries()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    turns = asyncio.Semaphore(AT_ONCE)
    nodes: list[Node] = []

    async def start(path: Path) -> None:
        async with turns:
            if not ended.is_set():
                nodes.append(await start_node(load_config(path), clock))

    try:
        await asyncio.gather(*map(start, configs))
        gc.freeze()
        await ended.wait()
    finally:
        await asyncio.gather(*(node.stop(1) for node in nodes))


def main() -> None:
    """The command."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Some twenty files a node: databases, locks, filters, a line.
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(host([Path(word) for word in sys.argv[1:]]))


if __name__ == "__main__":
    main()

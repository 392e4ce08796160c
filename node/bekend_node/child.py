"""Bulk work in a process of its own: JSON in, JSON out. What it held is gone from memory when it ends."""

import asyncio
import contextlib
import json
import sys
from typing import Any

from bekend_proto.errors import StorageError


async def run_child(module: str, order: bytes, failed: str) -> Any:
    """Run `python -m module` with `order` on its standard input; what it wrote to its standard output, parsed.

    Raises StorageError with the text `failed` when it ends with a fault: the cause is on standard error. Who is
    cancelled meanwhile leaves no process behind.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        output, _ = await process.communicate(order)
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    if process.returncode:
        raise StorageError(failed)
    return json.loads(output)

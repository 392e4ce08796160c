"""One request to the running node, for commands whose reply is shown as it is."""

import sys
from pathlib import Path
from typing import Any

import typer
from bekend_proto.errors import UnreachableError

from bekend_node.config import load_config
from bekend_node.control_client import ControlClient
from bekend_node.terminal import REFUSED, say


def called(config: Path, request: dict[str, Any], *, as_json: bool) -> dict[str, Any]:
    """The facts of the result. Shows a refusal and ends with code 4; raises UnreachableError for a fault."""
    with ControlClient(load_config(config).socket) as client:
        found = client.call(request)
    if found["type"] == "error":
        raise UnreachableError(str(found["reason"]))
    facts = {key: value for key, value in found.items() if key != "type"}
    if found["type"] == "refused":
        if as_json:
            say(True, {"refused": facts})
        else:
            sys.stderr.write(f"Geweigerd (regel {found['rule']}): {found['reason']}\n")
        raise typer.Exit(REFUSED)
    return facts

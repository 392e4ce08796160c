"""What the control socket does at the release desk: {"op": "desk", "act": "list"}, {"act": "release", "item": ...}, ...

Who may is decided at the desk: a colleague there need not be an officer who asks.
"""

from collections.abc import Mapping
from typing import Any

from bekend_node.control_messages import DeskRequest
from bekend_node.desk.decisions import Desk


async def at_desk(desk: Desk, request: DeskRequest, user: str) -> Mapping[str, Any]:
    """Carry out one request. Raises RefusedError (rule, Dutch reason), StorageError."""
    item, absent = request.item, request.absent
    match request.act:
        case "list":
            return desk.waiting(user, request.page)
        case "show":
            return await desk.show(user, item, absent=absent)
        case "ask":
            return await desk.hand_over(user, item, to=request.to, absent=absent)
        case "undo":
            return await desk.undo(user, item, absent=absent)
        case "release":
            return await desk.release(
                user, item, ground=request.ground, text=request.text, absent=absent, compared=request.compared
            )
        case "refuse":
            return await desk.refuse(user, item, ground=request.ground, text=request.text, absent=absent)

"""How people and case systems of the own organisation reach a node: the control socket, the pages, the facade."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bekend_node import covenants
from bekend_node.control import ControlServer
from bekend_node.log_health import LogHealth, log_health, own_log
from bekend_node.wiring.core import Core
from bekend_node.wiring.oversight import Oversight
from bekend_node.wiring.requester import Requester
from bekend_node.wiring.source import Source

if TYPE_CHECKING:
    from bekend_node.web.server import WebServer

Status = Callable[[], dict[str, Any]]


def control_of(
    core: Core, source: Source, requester: Requester, oversight: Oversight, *, status: Status
) -> ControlServer:
    """The control socket, ready to start."""
    return ControlServer(
        requester.asker,
        core.config.officers,
        core.rules.covenant,
        core.config.oin,
        status,
        rows=core.rows,
        install=core.suspending.install,
        clear_alarm=core.witness.clear,
        log_reading=oversight.log_reading,
        records=oversight.records,
        desk=source.desk,
        halting=source.halting,
        signals=oversight.signal_reading,
        team=requester.team,
        waiting=requester.notices.waiting,
    )


def pages_of(
    core: Core, source: Source, requester: Requester, oversight: Oversight, *, status: Status, dev: bool
) -> "WebServer | None":
    """The pages, ready to start, if node.yaml has them. Raises as `site.pages_of`."""
    config, rules, clock = core.config, core.rules, core.clock
    if config.web is None:
        return None
    from bekend_node.web import site  # noqa: PLC0415 - a node without pages needs no web server

    async def logs() -> list[LogHealth]:
        await core.witness.round()
        return log_health(core.witness, rules.covenant(), core.directory.get)

    return site.pages_of(
        config.web,
        oin=config.oin,
        asker=requester.asker,
        covenant=rules.covenant,
        officers=config.officers,
        contact=core.contact,
        status=status,
        rows=core.rows,
        team=requester.team,
        notices=requester.notices,
        clock=clock,
        dev=dev,
        inside=site.Inside(
            lambda: rules.now,
            core.suspending.held,
            source.desk,
            config.desk_staff,
            core.suspending.install,
            oversight.log_reading,
            oversight.records,
            source.halting,
            oversight.audits,
            oversight.signal_reading,
            proposed=lambda: asyncio.to_thread(covenants.proposed, config, clock.now()),
            fetch=lambda: covenants.fetch(config, clock),
            versions=lambda: covenants.waiting(config, [one.hash for one in rules.covenants()]),
            logs=logs,
            own_log=lambda: own_log(core.witness),
        ),
    )


def facade_of(core: Core, requester: Requester) -> "WebServer | None":
    """The facade for case systems, ready to start, if node.yaml has one. Raises as `rest.app.facade_of`."""
    if core.config.rest is None:
        return None
    from bekend_node.rest import app  # noqa: PLC0415 - likewise

    return app.facade_of(
        core.config.rest,
        asker=requester.asker,
        team=requester.team,
        covenant=core.rules.covenant,
        clock=core.clock,
    )

"""Pages of one node for a browser, on the real asking side, with a broker and sources that a test plays (`Stage`).

They are served from a thread with a loop of its own, so that a browser can be driven from the test.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

from bekend_deploy.processes import free_ports
from bekend_node.ask.team import Team
from bekend_node.config import Officer, Web
from bekend_node.mail import Notices
from bekend_node.web.server import WebServer
from bekend_node.web.site import pages_of

from tests.support.asking import DIRECTOR, OFFICER, Stage
from tests.support.covenants import OM, with_consent
from tests.support.eyes import PRIVACY, EyesStage

T = TypeVar("T")
LATER_SECONDS = 30
COLLEAGUE = Officer(user="smit", name="B. Smit", role="procesregisseur")


async def no_rows() -> dict[str, int]:
    """Of a stage, whose store nobody counts."""
    return {}


class StagedPages:
    """The OM's pages. `work` runs a coroutine beside them; the clock is `stage.clock`."""

    def __init__(self, folder: Path, change: Callable[[Path], object], kind: type[Stage] = Stage) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        (self.port,) = free_ports(1)
        self.origin = f"http://127.0.0.1:{self.port}"
        self.stage, self._server = self.work(self._start(folder, change, kind))

    def work(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(LATER_SECONDS)

    def collect(self) -> None:
        """The next moment of collecting."""

        async def collected() -> None:
            await self.stage.asker.collector.tick()
            await self.stage.asker.collector.settle()

        self.work(collected())

    def close(self) -> None:
        async def ended() -> None:
            await self._server.stop()
            await self.stage.close()

        self.work(ended())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(LATER_SECONDS)
        self.loop.close()

    async def _start(
        self, folder: Path, change: Callable[[Path], object], kind: type[Stage]
    ) -> tuple[Stage, WebServer]:
        stage = kind(folder, change)
        officers = [*(Officer(user=one.user, name=one.name, role=one.role) for one in (DIRECTOR, OFFICER)), COLLEAGUE]
        # A stage that keeps signals has somebody who may read them.
        reading = stage.reading if isinstance(stage, EyesStage) else None
        officers += [PRIVACY] if reading else []
        self.team = Team(stage.asking, officers)
        server = pages_of(
            Web(listen=f"127.0.0.1:{self.port}", origin=self.origin),
            oin=OM,
            asker=stage.asker,
            covenant=lambda: stage.covenant,
            officers=officers,
            contact=lambda oin: stage.manifests[oin].contact if oin in stage.manifests else None,
            status=dict,
            rows=no_rows,
            team=self.team,
            notices=Notices(None, self.team),
            clock=stage.clock,
            dev=True,
            signals=reading,
        )
        await server.start()
        return stage, server


def one_pair_of_eyes_with_consent(folder: Path) -> None:
    """The weighing needs consent for Veilig Thuis."""
    with_consent(folder)


@contextlib.contextmanager
def staged(
    folder: Path, change: Callable[[Path], object] = one_pair_of_eyes_with_consent, kind: type[Stage] = Stage
) -> Iterator[StagedPages]:
    """Pages that are served until the end."""
    made = StagedPages(folder, change, kind)
    try:
        yield made
    finally:
        made.close()

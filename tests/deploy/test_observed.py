"""A real Prometheus looks at a broker and two nodes under load: panels give data, nothing else alarms.

The dashboards are drawn from what came, to be looked at: `dashboard-broker.png` and `dashboard-node.png` beside the
pictures of the pages. OBSERVE_SECONDS makes the load last longer, for pictures with more to see.
"""

import asyncio
import contextlib
import itertools
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from bekend_broker.app import start_broker
from bekend_deploy.covenant import Settings
from bekend_deploy.partners import HAARLEM, OM, POLITIE, RECLASSERING, ZSM_CONTEXT
from bekend_deploy.processes import free_ports
from bekend_deploy.questions import CASES, CONDITIONS
from bekend_node.app import Node
from bekend_node.ask.rules import Inquiry, OfficerRef
from bekend_proto.errors import BekendError
from playwright.sync_api import sync_playwright
from prometheus_client.parser import text_string_to_metric_families

from tests.support.clocks import SteeredClock
from tests.support.dashboards import BOARDS, Panel, Prometheus, Series, page, panels
from tests.support.federation import PEOPLE, Federation
from tests.support.metrics import closed_sets, open_labels
from tests.support.nodes import NodeHome
from tests.support.pki import Authority
from tests.web.conftest import CHROMIUM, FLAGS

WINDOW = "10s"
LONGEST = 90.0
"""Seconds of load after which a panel without data has none."""
DESERVED = {"BekendMisuseSignal", "BekendOfficerQuotaNearlyUsed", "BekendQuotaNearlyUsed"}
"""What a load such as this one should be told about: somebody who asks every second until the budget is used up."""
UNSET = {
    "List of revoked certificates counts for",
    "Time since the last backup",
    "Time since an own canary was found",
}
"""Panels of what this federation does not have: no list is configured, no backup was made, and a node asks about its
canaries ten minutes after it started at the earliest."""


class LiveClock(SteeredClock):
    """The machine's clock, in a federation that is otherwise steered."""

    def now(self) -> datetime:
        return datetime.now(UTC)


def program(name: str) -> str:
    """Prometheus or promtool: from PATH, or the folder that PROMETHEUS names (CI unpacks Debian's package there)."""
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PROMETHEUS", ""), os.environ["PATH"]]))
    if found is None:
        if os.environ.get("REQUIRE_TOOLS"):
            pytest.fail(f"{name} is missing: unpack Debian's package prometheus, and set PROMETHEUS to its usr/bin")
        pytest.skip(f"{name} is not installed")
    return found


@contextlib.contextmanager
def running(binary: str, folder: Path, targets: dict[str, int]) -> Iterator[Prometheus]:
    """Prometheus itself, on a port of its own, with the shipped rules."""
    (port,) = free_ports(1)
    shutil.copy(Path(__file__).parents[2] / "deploy" / "prometheus" / "rules.yml", folder)
    jobs = [
        {
            "job_name": "bekend-broker" if name == "broker" else f"bekend-node-{name}",
            "static_configs": [{"targets": [f"127.0.0.1:{target}"], "labels": {"instance": name}}],
        }
        for name, target in targets.items()
    ]
    times = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    tree = {"global": times, "rule_files": ["rules.yml"], "scrape_configs": jobs}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(tree))
    words = [binary, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([*words, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
    try:
        yield Prometheus(port)
    finally:
        process.terminate()
        process.wait(30)


def ups(prometheus: Prometheus) -> list[str]:
    """The instances that Prometheus reached."""
    with contextlib.suppress(urllib.error.URLError, ConnectionError):
        found = prometheus.get("query", query='up{job=~"bekend.*"} == 1')["result"]
        return [one["metric"]["instance"] for one in found]
    return []


def firing(prometheus: Prometheus) -> set[str]:
    """The alarms that stand."""
    alarms = prometheus.get("alerts")["alerts"]
    return {one["labels"]["alertname"] for one in alarms if one["state"] == "firing"}


async def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Look again and again, as something outside this process has to come about; says whether it did."""
    until = time.monotonic() + seconds
    while not await asyncio.to_thread(condition):
        if time.monotonic() > until:
            return False
        await asyncio.sleep(0.3)
    return True


@contextlib.asynccontextmanager
async def load(om: Node, federation: Federation) -> AsyncIterator[None]:
    """An officer who asks and asks, about somebody and about nobody; and a partner who asks what it may not."""
    officer = OfficerRef(user="jansen", name="J. Jansen", role="zsm-medewerker")

    async def asks() -> None:
        for person in itertools.cycle(PEOPLE[:2]):
            inquiry = Inquiry(
                ZSM_CONTEXT,
                (person,),
                (POLITIE.oin, RECLASSERING.oin),
                officer,
                case_reference=CASES[ZSM_CONTEXT],
                attested=frozenset(CONDITIONS[ZSM_CONTEXT]),
            )
            # Whatever the budget of a day says: the broker refuses, and is counted.
            with contextlib.suppress(BekendError):
                async for _ in om.asker.ask(inquiry):
                    pass
            with contextlib.suppress(BekendError):
                await federation.parties[HAARLEM.oin].lookup(ZSM_CONTEXT).begin()
            await asyncio.sleep(0.2)

    task = asyncio.create_task(asks())
    try:
        yield
        # A load that broke is no load.
        assert not task.done(), task.exception()
    finally:
        task.cancel()


def drawn(prometheus: Prometheus, board: str, seconds: float) -> list[tuple[Panel, list[Series]]]:
    """Every panel of a dashboard with what it shows. Raises HTTPError for a query that does not parse."""
    return [(one, prometheus.series(one, seconds, max(1.0, seconds / 300))) for one in panels(board, WINDOW)]


def draw(board: str, shown: list[tuple[Panel, list[Series]]]) -> None:
    """The picture of a dashboard, when there is a browser to take it."""
    pictures = Path(os.environ.get("BEKEND_PICTURES", Path(__file__).parents[2] / "build" / "pictures"))
    pictures.mkdir(parents=True, exist_ok=True)
    html = page(f"bekend: {board}", shown)
    (pictures / f"dashboard-{board}.html").write_text(html, "utf-8")
    if CHROMIUM is None:
        return
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        tab.set_content(html)
        tab.screenshot(path=pictures / f"dashboard-{board}.png", full_page=True)
        browser.close()


@pytest.mark.timeout(900)
async def test_every_panel_shows_data_every_label_is_closed_and_nothing_else_alarms(
    tmp_path: Path, authority: Authority
) -> None:
    binary, promtool = program("prometheus"), program("promtool")
    federation = Federation.create(
        tmp_path, authority, LiveClock(), Settings(per_officer=2_000, per_organisation=2_500)
    )
    homes = {one.oin: NodeHome.create(federation, one.oin) for one in (OM, POLITIE)}
    ports = dict(zip(("broker", OM.slug, POLITIE.slug), free_ports(3), strict=True))
    homes[OM.oin].settings["metrics"] = f"127.0.0.1:{ports[OM.slug]}"
    homes[POLITIE.oin].settings["metrics"] = f"127.0.0.1:{ports[POLITIE.slug]}"
    broker = await start_broker(federation.config(metrics=f"127.0.0.1:{ports['broker']}"), federation.clock)
    async with contextlib.AsyncExitStack() as opened:
        opened.push_async_callback(broker.stop, 2)
        for party in federation.parties.values():
            await party.connect(broker.port)
            opened.push_async_callback(party.close)
            await party.publish()
        for home in homes.values():
            await home.enrol_all(broker.port, PEOPLE[:1])
        await opened.enter_async_context(homes[POLITIE.oin].node(broker.port))
        om = await opened.enter_async_context(homes[OM.oin].node(broker.port))
        prometheus = opened.enter_context(running(binary, tmp_path, ports))
        assert await wait_for(lambda: len(ups(prometheus)) == len(ports), 60)
        await opened.enter_async_context(load(om, federation))

        def empty() -> set[str]:
            shown = [one for board in BOARDS for one in drawn(prometheus, board, 60)]
            return {panel.title for panel, series in shown if not series} - UNSET

        begun = time.monotonic()
        if not await wait_for(lambda: not empty(), LONGEST):
            assert await asyncio.to_thread(empty) == set()
        longer = float(os.environ.get("OBSERVE_SECONDS", "0"))
        await wait_for(lambda: time.monotonic() - begun >= longer, longer)
        for board in BOARDS:
            await asyncio.to_thread(
                lambda board=board: draw(board, drawn(prometheus, board, max(60.0, time.monotonic() - begun)))  # type: ignore[misc]
            )
        for name, port in ports.items():
            text = await asyncio.to_thread(scrape, port)
            done = await asyncio.to_thread(lint, promtool, text)
            assert done == (0, ""), name
            families = list(text_string_to_metric_families(text))
            sets = closed_sets(federation.covenant, [f"localhost:{broker.port}"])
            assert open_labels(families, sets) == [], name
            assert not [person.value for person in PEOPLE if person.value in text]
        # How many lookups it takes to be odd is for the node to say, and how soon they come for this machine.
        await wait_for(lambda: "BekendMisuseSignal" in firing(prometheus), LONGEST)
        found = await asyncio.to_thread(firing, prometheus)
        assert "BekendMisuseSignal" in found
        assert found <= DESERVED


def scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as reply:
        return str(reply.read().decode())


def lint(promtool: str, text: str) -> tuple[int, str]:
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr

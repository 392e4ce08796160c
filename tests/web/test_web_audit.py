"""Audits to answer as the privacy officer sees them: what a checkpoint draws, by when, and what the auditor found."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest
from bekend_deploy.processes import free_ports
from bekend_node.web import devsignin
from bekend_node.web.app import build
from bekend_node.web.pages import Pages, Site
from bekend_node.web.privacy_work import PrivacyWork
from bekend_node.web.server import WebServer
from bekend_node.web.sessions import Person, Sessions

from tests.node.test_audit_requests import Scene, made_scene
from tests.support.auditing import DAYS, DRAWN
from tests.web.conftest import OpenAt
from tests.web.looks import assert_looks_right_everywhere

PO = Person("privacyfunctionaris", "P. Officer", ("privacy-officer",))


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """Made in another thread: in this one the browser's event loop runs."""
    making = made_scene(tmp_path)
    with ThreadPoolExecutor(1) as thread:
        yield thread.submit(next, making).result()
        thread.submit(next, making, None).result()


@pytest.fixture
def origin(scene: Scene) -> Iterator[str]:
    """The page of audits alone, served from a thread of its own."""
    (port,) = free_ports(1)
    address = f"http://127.0.0.1:{port}"
    sessions = Sessions(scene.clock)
    pages = Pages(lambda: Site("OM Noord-Holland", dev=True, demo=False), sessions, ())
    rules: Any = SimpleNamespace(covenant=scene.trail.covenant)
    unused: Any = None
    work = PrivacyWork(pages, lambda: rules, unused, unused, scene.desk, dict, scene.clock)
    app = build(address, pages, sessions, [*devsignin.routes(pages, sessions, [PO]), *work.routes()])
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = WebServer(app, "127.0.0.1", port, None)
    asyncio.run_coroutine_threadsafe(server.start(), loop).result(30)
    yield address
    asyncio.run_coroutine_threadsafe(server.stop(), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(30)
    loop.close()


def test_what_is_drawn_is_listed_with_its_day_and_answered_by_the_auditors_result(
    scene: Scene, origin: str, open_at: OpenAt, pictures: Path
) -> None:
    page = open_at(origin + "/inloggen")
    looked_at = partial(assert_looks_right_everywhere, page, pictures)
    page.click("button:has-text('P. Officer')")
    page.goto(origin + "/privacy/steekproef")
    page.fill("#punt", scene.checkpoint.decode())
    assert page.input_value("#periode") == DAYS.first.isoformat()
    page.fill("#uiterlijk", f"{DRAWN + timedelta(days=20):%d-%m-%Y}")
    page.click("button:has-text('Bewaar dit controlepunt')")
    assert "klopt en is bewaard" in page.inner_text("[role=status]")
    (asked,) = scene.asked()
    page.click("summary:has-text('Toon welke vragen')")
    assert page.locator("details li").count() == len(asked.drawn) > 0
    page.click("summary:has-text('Zo opent u ze')")
    assert f"--van {DAYS.first} --tot-en-met {DAYS.last}" in page.inner_text(".opdracht")
    looked_at("audit-getrokken")
    page.fill("#uitslag", scene.result().decode())
    page.click("button:has-text('Bewaar deze uitslag')")
    assert "Alles klopt" in page.inner_text("main")
    assert page.locator("summary:has-text('Zo opent u ze')").count() == 0
    looked_at("audit-uitslag")


@pytest.mark.parametrize("script", [True, False])
def test_the_period_of_an_audit_is_a_week_that_is_chosen_or_days_that_are_typed(
    scene: Scene, origin: str, open_at: OpenAt, pictures: Path, script: bool
) -> None:
    page = open_at(origin + "/inloggen", script=script)
    page.click("button:has-text('P. Officer')")
    page.goto(origin + "/privacy/steekproef")
    weeks = page.locator("#periode option").all_inner_texts()
    assert weeks[:2] == ["23-11 t/m 29-11-2026", "16-11 t/m 22-11-2026"]
    assert weeks[-1] == "Een andere periode"
    page.fill("#punt", scene.checkpoint.decode())
    page.click("summary:has-text('geen hele week')")
    page.fill("#van", "24-11-2026")
    page.click("button:has-text('Bewaar dit controlepunt')")
    assert "Kies de week" in page.inner_text(".foutregel")
    assert page.input_value("#van") == "24-11-2026"
    page.select_option("#periode", "")
    page.click("button:has-text('Bewaar dit controlepunt')")
    assert "dag-maand-jaar" in page.inner_text(".foutregel")
    if script:
        assert_looks_right_everywhere(page, pictures, "audit-andere-periode")
    page.fill("#tot", "2026-11-28")
    page.click("button:has-text('Bewaar dit controlepunt')")
    (asked,) = scene.asked()
    assert (asked.request.first, asked.request.last) == (date(2026, 11, 24), date(2026, 11, 28))

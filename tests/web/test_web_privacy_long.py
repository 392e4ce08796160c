"""Long lists of the privacy officer: deferrals, signals, noodgrepen, drawn questions: twenty at a time, each once."""

import asyncio
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from bekend_deploy.processes import free_ports
from bekend_node.ask.emergency import Emergencies
from bekend_node.ask.signals import Kind
from bekend_node.config import LogReader
from bekend_node.records.desk import RecordsDesk
from bekend_node.signal_reading import SignalReading
from bekend_node.store_audits import AuditRequest
from bekend_node.store_decisions import Decisions
from bekend_node.store_deferrals import Deferrals
from bekend_node.store_emergencies import Emergency, EmergencyStore, Review
from bekend_node.store_signals import SignalStore
from bekend_node.web import devsignin
from bekend_node.web.app import build
from bekend_node.web.pages import Pages, Site
from bekend_node.web.paging import AT_ONCE
from bekend_node.web.privacy_eyes import EmergencyPages
from bekend_node.web.privacy_oversight import PrivacyOversight
from bekend_node.web.privacy_work import PrivacyWork
from bekend_node.web.server import WebServer
from bekend_node.web.sessions import Person, Sessions
from bekend_policy.deferring import About, Deferral, State
from bekend_proto import log_table
from bekend_proto.clock import milliseconds
from bekend_proto.log_table import Entry
from nacl.secret import SecretBox

from tests.node.test_audit_requests import DUE, Scene, made_scene
from tests.support.auditing import MOMENT
from tests.support.covenants import OM, POLITIE, ZSM
from tests.web.conftest import OpenAt
from tests.web.keyboard import tab_to
from tests.web.looks import assert_looks_right_everywhere

PO = Person("privacyfunctionaris", "P. Officer", ("privacy-officer",))
SIGNALS, DEFERRALS, AUDITS, EMERGENCIES = 45, 50, 30, 47
"""How many of each; every fifth deferral has to be looked at again, every second one waits for a second person."""


class CountingBox(SecretBox):
    """A state key that counts what it opened."""

    opened = 0

    def decrypt(self, *args: Any, **more: Any) -> bytes:
        self.opened += 1
        return bytes(super().decrypt(*args, **more))


@dataclass
class House:
    """The node's own objects behind the pages, filled."""

    scene: Scene
    decisions: Decisions
    deferrals: Deferrals
    origin: str
    box: CountingBox

    def drawn(self) -> list[str]:
        """The Questions that the one good checkpoint draws, as the page names them."""
        (asked,) = (one for one in self.scene.asked() if one.fault is None)
        return [one.hash.hex()[:16] for one in asked.drawn]


async def fill(scene: Scene, signals: SignalStore, deferrals: Deferrals, emergencies: EmergencyStore) -> None:
    """Old audits after the one whose checkpoint is good, many Questions in its week, signals, noodgrepen, deferrals."""
    store, now = scene.trail.store.database, scene.clock.now()
    await scene.ask()
    for number in range(1, AUDITS):
        day = date(2026, 1, 1) + timedelta(days=number)
        await scene.desk.audits.ask(AuditRequest(0, now, PO.user, day, day, DUE, f"punt {number}\n".encode()))
    at = milliseconds(MOMENT)
    own = [Entry("asked", number.to_bytes(8) + bytes(24), at + number, OM, POLITIE) for number in range(2_000)]
    await store.write(lambda conn: log_table.append(conn, own))
    for number in range(SIGNALS):
        day = now.date() - timedelta(days=number % 3)
        await signals.add([(Kind.BURST, f"medewerker-{number}", f"15/{number:06}-26", day)], now)
    for number in range(EMERGENCIES):
        moment = now - timedelta(days=40 if number < 5 else 1, minutes=EMERGENCIES - number)
        made = await emergencies.add(
            Emergency(
                0,
                moment,
                ZSM,
                "jansen",
                f"J. Jansen {number}",
                "officier",
                f"15/{number:06}-26",
                "geen tijd",
                "",
                (),
                1,
            )
        )
        # The first five are too old for these days, and three of them wait all the same.
        if number not in {1, 2, 3, 40}:
            await emergencies.review(made, Review(now, number % 2 == 0, "smit", "B. Smit", "goed gezien"))
    for number in range(1, DEFERRALS + 1):
        due = now.date() + timedelta(days=-1 if number % 5 == 0 else 30)
        await deferrals.record(
            Deferral(0, About.CASE, f"15/{number:06}-26", ZSM, "onderzoek loopt nog", "jansen", "J. Jansen", now, due)
        )
        if number % 5 == 0 or number % 2:
            await deferrals.step(number, "approved", "devries", "", now)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Made and served in other threads: in this one the browser's event loop runs."""
    making = made_scene(tmp_path_factory.mktemp("privacy"))
    loop = asyncio.new_event_loop()
    Thread(target=loop.run_forever, daemon=True).start()
    with ThreadPoolExecutor(1) as thread, closing(loop):
        scene = thread.submit(next, making).result()
        server, made = asyncio.run_coroutine_threadsafe(served(scene), loop).result(60)
        yield made
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.submit(next, making, None).result()
        while loop.is_running():
            pass


async def served(scene: Scene) -> tuple[WebServer, House]:
    (port,) = free_ports(1)
    origin = f"http://127.0.0.1:{port}"
    covenant, store = scene.trail.covenant, scene.trail.store.database
    box = CountingBox(b"s" * 32)
    signals, deferrals, emergencies = SignalStore(store, b"k" * 32, box), Deferrals(store), EmergencyStore(store, box)
    await fill(scene, signals, deferrals, emergencies)
    decisions = Decisions(store)
    readers = [LogReader(user=PO.user, name=PO.name)]
    reading = SignalReading(signals, decisions, lambda: covenant, readers=readers, clock=scene.clock)
    sessions = Sessions(scene.clock)
    pages = Pages(lambda: Site("OM Noord-Holland", dev=True, demo=False), sessions, ())
    rules: Any = SimpleNamespace(covenant=covenant, oin=OM)
    unused: Any = None
    records = RecordsDesk(OM, unused, deferrals, lambda: covenant, scene.clock)
    work = PrivacyWork(pages, lambda: rules, records, unused, scene.desk, dict, scene.clock)
    oversight = PrivacyOversight(
        pages, lambda: rules, unused, unused, unused, unused, reading, status=dict, clock=scene.clock
    )
    asker: Any = SimpleNamespace(emergencies=Emergencies(emergencies, lambda: covenant, OM, scene.clock))
    eyes = EmergencyPages(pages, asker, reading, lambda: covenant, scene.clock)
    routes = [*devsignin.routes(pages, sessions, [PO]), *work.routes(), *oversight.routes(), *eyes.routes()]
    server = WebServer(build(origin, pages, sessions, routes), "127.0.0.1", port, None)
    await server.start()
    return server, House(scene, decisions, deferrals, origin, box)


@pytest.fixture
def officer(house: House) -> Iterator[httpx2.Client]:
    """The privacy officer, signed in, with no browser."""
    with httpx2.Client(base_url=house.origin, headers={"origin": house.origin}, timeout=30) as client:
        entered = client.post("/inloggen", data={"user": PO.user})
        client.headers["cookie"] = entered.headers["set-cookie"].partition(";")[0]
        yield client


def turned(client: httpx2.Client, address: str, name: str) -> list[str]:
    """A list from its first part, along the links that it gives itself."""
    found = [client.get(address).text]
    while link := re.search(rf'rel="next" href="([^"]+\?{name}=\d+)#{name}"', found[-1]):
        found.append(client.get(link[1]).text)
    return found


# --- deferrals


def shown(text: str) -> list[int]:
    return [int(one) for one in re.findall(r">Uitstel (\d+)</h2>", text)]


def test_every_deferral_is_on_one_page_and_what_is_to_be_done_comes_first(officer: httpx2.Client, house: House) -> None:
    parts = turned(officer, "/privacy/uitstel", "uitstel")
    assert [len(shown(one)) for one in parts] == [AT_ONCE, AT_ONCE, 10]
    found = [number for one in parts for number in shown(one)]
    today, order = house.scene.clock.now().date(), [State.DUE, State.PENDING, State.IN_FORCE]
    states = {one.number: one.state(today) for one in house.deferrals.all()}
    assert set(states.values()) == set(order)
    assert found == sorted(states, key=lambda number: (order.index(states[number]), number))
    assert f"Er is {DEFERRALS} keer uitstel. U ziet 21 tot en met 40." in parts[1]
    assert "<title>Uitstel van informeren, bladzijde 2 van 3 - bekend</title>" in parts[1]


def test_who_does_something_with_a_deferral_stays_with_it(officer: httpx2.Client) -> None:
    # In the third part, and never moved by a test.
    number = shown(officer.get("/privacy/uitstel?uitstel=3").text)[-1]
    fault = officer.post(f"/privacy/uitstel/{number}/einde", data={"reden": ""})
    assert fault.status_code == 422
    assert number in shown(fault.text)
    assert "Schrijf waarom" in fault.text
    waits = shown(officer.get("/privacy/uitstel?uitstel=1").text)[-1]
    done = officer.get(officer.post(f"/privacy/uitstel/{waits}/goed").headers["location"]).text
    assert waits in shown(done)
    assert "Vastgelegd." in done


# --- signals


def days(house: House) -> dict[str, str]:
    today = house.scene.clock.now().date()
    return {"vanaf": f"{today - timedelta(days=6):%d-%m-%Y}", "tot": f"{today:%d-%m-%Y}"}


def test_fg_30_every_part_of_the_signals_is_read_on_the_record(officer: httpx2.Client, house: House) -> None:
    def readings() -> int:
        return len(house.decisions.reads(0, 2**52))

    before, found, house.box.opened = readings(), list[str](), 0
    text = officer.post("/privacy/signalen", data=days(house)).text
    assert f"Er zijn {SIGNALS} signalen. U ziet 1 tot en met 20." in text
    for part in range(1, 4):
        assert readings() == before + part
        # And no other is opened than those that it shows.
        assert house.box.opened == (AT_ONCE if part < 3 else SIGNALS % AT_ONCE)
        house.box.opened = 0
        found += re.findall(r"<dd>(medewerker-\d+)</dd>", text)
        if part < 3:
            (address,) = re.findall(r'formaction="([^"#]+)#signaal">Volgende', text)
            assert address == f"/privacy/signalen?signaal={part + 1}"
            assert 'name="vanaf"' in text
            text = officer.post(address, data=days(house)).text
    assert len(found) == len(set(found)) == SIGNALS
    assert ">Volgende<" not in text
    # Whoever only opens an address reads nothing.
    assert "medewerker-" not in officer.get("/privacy/signalen?signaal=2").text
    assert readings() == before + 3


# --- noodgrepen


def test_fg_30_every_part_of_the_noodgrepen_is_read_on_the_record_and_no_other_is_opened(
    officer: httpx2.Client, house: House
) -> None:
    before = len(house.decisions.reads(0, 2**52))
    house.box.opened = 0
    text = officer.get("/privacy/noodgrepen").text
    assert "Wacht op een oordeel: 4. Langer dan 24 uur: 4." in text
    assert house.box.opened == 0
    text = officer.post("/privacy/noodgrepen", data=days(house)).text
    # Without the two old ones that have their review.
    shown = EMERGENCIES - 2
    assert f"Er zijn {shown} noodgrepen. U ziet 1 tot en met 20." in text
    found: list[str] = []
    for part in range(1, 4):
        cards = re.findall(r"<dd>J. Jansen (\d+)</dd>", text)
        found += cards
        assert len(house.decisions.reads(0, 2**52)) == before + part
        # Each review is sealed by itself.
        reviewed = text.count("goed gezien")
        assert house.box.opened == len(cards) + reviewed
        house.box.opened = 0
        if part < 3:
            (address,) = re.findall(r'formaction="([^"#]+)#noodgreep">Volgende', text)
            assert address == f"/privacy/noodgrepen?noodgreep={part + 1}"
            text = officer.post(address, data=days(house)).text
    # The newest first, and what waits however old it is.
    assert found == [str(number) for number in range(EMERGENCIES - 1, 4, -1)] + ["3", "2", "1"]
    assert "<title>Noodgrepen, bladzijde 3 van 3 - bekend</title>" in text
    # Whoever only opens an address reads nothing.
    assert "J. Jansen" not in officer.get("/privacy/noodgrepen?noodgreep=2").text


# --- audits


def test_every_drawn_question_is_on_one_page_of_its_audit(officer: httpx2.Client, house: House) -> None:
    drawn = house.drawn()
    assert len(drawn) > 2 * AT_ONCE
    # Of thirty audits it is the oldest, so in the last part.
    assert "kenmerk" not in officer.get("/privacy/steekproef").text
    parts = turned(officer, "/privacy/steekproef?steekproef=2", "vragen-1")
    found = [re.findall(r"kenmerk ([0-9a-f]{16})", one) for one in parts]
    assert [len(one) for one in found[:-1]] == [AT_ONCE] * (len(parts) - 1)
    assert [one for part in found for one in part] == drawn
    assert len(set(drawn)) == len(drawn)
    assert "<details open><summary>Toon welke vragen" in parts[1]
    assert "<details><summary>Toon welke vragen" in parts[0]


def test_every_audit_is_on_one_page(officer: httpx2.Client) -> None:
    parts = turned(officer, "/privacy/steekproef", "steekproef")
    assert [one.count("<dt>Uiterlijk op</dt>") for one in parts] == [AT_ONCE, AUDITS - AT_ONCE]
    assert f"Er zijn {AUDITS} steekproeven gevraagd. U ziet 1 tot en met 20." in parts[0]


# --- by the keyboard


@pytest.mark.parametrize("script", [True, False])
def test_these_lists_are_turned_by_the_keyboard(house: House, open_at: OpenAt, pictures: Path, script: bool) -> None:
    page = open_at(f"{house.origin}/inloggen", script=script)
    looked_at = partial(assert_looks_right_everywhere, page, pictures)
    page.click("button:has-text('P. Officer')")
    page.goto(f"{house.origin}/privacy/uitstel?uitstel=2")
    tab_to(page, "#uitstel nav a[rel=next]", most=120)
    page.keyboard.press("Enter")
    page.wait_for_selector("text=U ziet 41 tot en met")
    tab_to(page, "#uitstel .kaart summary, #uitstel .kaart button", most=1)
    if script:
        looked_at("privacy-uitstel-lang")
    page.goto(f"{house.origin}/privacy/steekproef?vragen-1=1")
    tab_to(page, "#vragen-1 nav a[rel=next]")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=U ziet 21 tot en met 40.")
    tab_to(page, "#vragen-1 nav a[rel=prev]", most=1)
    if script:
        looked_at("privacy-steekproef-lang")
    for many, one in (("signalen", "signaal"), ("noodgrepen", "noodgreep")):
        page.goto(f"{house.origin}/privacy/{many}")
        page.click(f"button:has-text('Toon de {many}')")
        page.wait_for_selector("text=U ziet 1 tot en met 20.")
        tab_to(page, f"#{one} nav li:last-child button")
        page.keyboard.press("Enter")
        page.wait_for_selector("text=U ziet 21 tot en met 40.")
        assert page.url.endswith(f"/privacy/{many}?{one}=2#{one}")
        if script:
            looked_at(f"privacy-{many}-lang")

"""A desk with hundreds of requests: every one is on some page, once, in order; by links alone, from a running node."""

import asyncio
import re
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import httpx2
import pytest
from bekend_deploy.processes import free_ports
from bekend_node.answer.pending import open_pending
from bekend_node.app import Node
from bekend_node.desk.matter import Stage, open_matter
from bekend_node.store import AnsweredQuestion
from bekend_node.web.paging import AT_ONCE, part_of
from bekend_proto.clock import from_milliseconds
from starlette.requests import Request

from tests.support.pki import Authority
from tests.support.releasing import USER, CountingBox, Scene, scene_of
from tests.web.conftest import OpenAt
from tests.web.keyboard import tab_to
from tests.web.looks import assert_looks_right_everywhere

WAIT, DECIDED = 310, 60
PARTS = 16
_ITEM = re.compile(r'href="/loket/verzoek/(v[0-9a-f]{8}-1)"')


async def fill(scene: Scene, node: Node) -> None:
    """One question that was really asked, named and compared; and as many like it, with ids and terms of their own."""
    asked = await scene.named(node)
    (exchange,) = node.desk_store.exchanges()
    kept = node.store.awaiting(exchange.question_id)
    assert kept is not None
    pending = open_pending(node.keys.state_box, kept)
    (sealed,) = node.desk_store.matters(exchange.question_id)
    matter = open_matter(node.keys.desk_box, sealed)
    for number in range(1, WAIT + DECIDED):
        # Ids fall as terms rise, and three by three the terms are alike: only a right order is the expected one.
        id_ = (2**32 - number).to_bytes(4) + bytes(12)
        until = exchange.until + number // 3 * 60_000
        stage = Stage.OPEN if number < WAIT else Stage.REFUSED
        found = replace(pending, question_id=id_.hex(), until=until)
        answered = AnsweredQuestion(
            question_id=id_,
            question_hash=asked.hashed,
            requester=pending.requester,
            source=pending.source,
            purpose=pending.purpose,
            record_month="2026-11",
            payload=b"",
            signature=b"",
            sealed=(),
            awaiting=found.seal(node.keys.state_box),
        )
        await node.store.admit_answer(answered, [], from_milliseconds(pending.asked))
        await node.desk_store.begin(
            replace(exchange, question_id=id_, until=until), [replace(matter, stage=stage).seal(node.keys.desk_box)]
        )


async def serve(folder: Path, port: int, ready: "Future[tuple[asyncio.Event, CountingBox]]") -> None:
    """A node with a full desk and pages, until the event that it gives is set."""
    async with scene_of(folder, Authority(folder / "pki")) as scene:
        scene.home.settings["web"] = {"listen": f"127.0.0.1:{port}", "origin": f"http://127.0.0.1:{port}"}
        async with scene.home.node(scene.broker.port, dev=True) as node:
            await fill(scene, node)
            end = asyncio.Event()
            ready.set_result((end, CountingBox.of(node)))
            await end.wait()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, CountingBox]]:
    """Served in another thread: in this one the browser's event loop runs."""
    (port,) = free_ports(1)
    loop, ready = asyncio.new_event_loop(), Future[tuple[asyncio.Event, CountingBox]]()
    folder = tmp_path_factory.mktemp("desk")
    thread = Thread(target=loop.run_forever, daemon=True)
    thread.start()
    with closing(loop):
        serving = asyncio.run_coroutine_threadsafe(serve(folder, port, ready), loop)
        either: list[Future[Any]] = [serving, ready]
        wait(either, 120, FIRST_COMPLETED)
        if serving.done():
            serving.result()
        end, box = ready.result(0)
        yield f"http://127.0.0.1:{port}", box
        loop.call_soon_threadsafe(end.set)
        serving.result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)


@pytest.fixture
def origin(served: tuple[str, CountingBox]) -> str:
    """Where the pages are."""
    return served[0]


@pytest.fixture
def box(served: tuple[str, CountingBox]) -> CountingBox:
    """Counts what the node opens at the desk."""
    return served[1]


@pytest.fixture
def colleague(origin: str) -> Iterator[httpx2.Client]:
    """Somebody of the desk, signed in, with no browser."""
    with httpx2.Client(base_url=origin, headers={"origin": origin}, timeout=30) as client:
        entered = client.post("/inloggen", data={"user": USER})
        client.headers["cookie"] = entered.headers["set-cookie"].partition(";")[0]
        yield client


def waiting(text: str) -> list[str]:
    return _ITEM.findall(text.partition('id="beslist"')[0])


def turned(client: httpx2.Client, rel: str = "next") -> list[httpx2.Response]:
    """The list from its first part, along the links that it gives itself."""
    found = [client.get("/loket")]
    while link := re.search(rf'rel="{rel}" href="(/loket\?wacht=\d+)#wacht"', found[-1].text):
        found.append(client.get(link[1]))
    return found


def test_every_request_is_on_one_page_in_order_of_its_term(colleague: httpx2.Client) -> None:
    parts = turned(colleague)
    assert len(parts) == PARTS
    assert all(len(waiting(one.text)) == AT_ONCE for one in parts[:-1])
    found = [item for one in parts for item in waiting(one.text)]
    assert len(set(found)) == len(found) == WAIT
    assert found[1:] == sorted(found[1:], key=lambda item: (-int(item[1:9], 16) % 2**32 // 3, item))
    assert [waiting(one.text) for one in turned(colleague)] == [waiting(one.text) for one in parts]


def test_a_page_opens_what_it_shows_and_nothing_else(colleague: httpx2.Client, box: CountingBox) -> None:
    colleague.get("/loket")
    for address in ("/loket", "/loket?wacht=3&beslist=2", f"/loket?wacht={PARTS}&beslist=3"):
        before = box.items
        shown = _ITEM.findall(colleague.get(address).text)
        assert len(shown) == (2 * AT_ONCE if str(PARTS) not in address else AT_ONCE + WAIT % AT_ONCE)
        assert box.items - before == len(shown)
    (item, *_), before = shown, box.items
    colleague.get(f"/loket/verzoek/{item}")
    assert box.items - before == 1
    # A decision moves an item to the other list; the next page still opens what it shows.
    for act in ("weigeren", "ongedaan"):
        done = colleague.post(f"/loket/verzoek/{item}/{act}", data={"grond": "geheim"})
        before = box.items
        shown = _ITEM.findall(colleague.get(done.headers["location"]).text)
        assert item in shown
        assert box.items - before == len(shown)


def test_a_page_says_how_many_there_are_and_which_it_shows(colleague: httpx2.Client) -> None:
    third = colleague.get("/loket?wacht=3").text
    assert f"Er wachten {WAIT} verzoeken. U ziet 41 tot en met 60." in third
    assert f"<title>Het loket, bladzijde 3 van {PARTS} - bekend</title>" in third
    assert third.count('aria-current="page">3</a>') == 1
    last = colleague.get(f"/loket?wacht={PARTS}").text
    assert f"U ziet 301 tot en met {WAIT}." in last
    assert 'rel="next" href="/loket?wacht' not in last
    assert f"Over {DECIDED} verzoeken is beslist. U ziet 41 tot en met 60." in colleague.get("/loket?beslist=3").text


@pytest.mark.parametrize(
    ("asked", "first"),
    [("0", 1), ("-1", 1), ("x", 1), ("²", 1), ("", 1), ("99999999999999999999", 1), ("999999", 301), ("016", 301)],
)
def test_whatever_stands_in_the_address_some_page_is_shown(colleague: httpx2.Client, asked: str, first: int) -> None:
    reply = colleague.get("/loket", params={"wacht": asked})
    assert reply.status_code == 200
    assert f"U ziet {first} tot en met" in reply.text


def test_who_comes_back_from_a_request_is_where_it_was(colleague: httpx2.Client) -> None:
    item = waiting(colleague.get("/loket?wacht=4").text)[7]
    back = re.search(r'href="(/loket\?bij=[^"]+)"', colleague.get(f"/loket/verzoek/{item}").text)
    assert back
    assert item in waiting(colleague.get(back[1]).text)
    refused = colleague.post(f"/loket/verzoek/{item}/weigeren", data={"grond": "geheim"})
    done = colleague.get(refused.headers["location"]).text
    assert "Geweigerd." in done
    assert f'href="/loket/verzoek/{item}"' in done.partition('id="beslist"')[2]
    undone = colleague.post(f"/loket/verzoek/{item}/ongedaan")
    assert item in waiting(colleague.get(undone.headers["location"]).text)


@pytest.mark.parametrize("script", [True, False])
def test_the_list_is_turned_by_the_keyboard(origin: str, open_at: OpenAt, pictures: Path, script: bool) -> None:
    page = open_at(f"{origin}/inloggen", script=script)
    page.click("button:has-text('A. de Vries')")
    page.goto(f"{origin}/loket")
    tab_to(page, "#wacht nav a[rel=next]")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=U ziet 21 tot en met 40.")
    tab_to(page, "#wacht .kaart a", most=1)
    if script:
        partial(assert_looks_right_everywhere, page, pictures)("desk-loket-lang")


@pytest.mark.parametrize(("number", "offered"), [(1, [1, 2, 9]), (5, [1, 4, 5, 6, 9]), (9, [1, 8, 9])])
def test_the_ends_and_the_neighbours_are_offered(number: int, offered: list[int]) -> None:
    request = Request({"type": "http", "query_string": f"wacht={number}".encode()})
    assert part_of(request, "wacht", range(9 * AT_ONCE)).numbers == offered
    assert part_of(request, "wacht", ()).numbers == [1]

"""The facade for case systems: an officer's question from beginning to end, with tokens of a real provider."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from joserfc.jwk import RSAKey

from tests.support.asking import PERSON, ZVH_CASE, Stage
from tests.support.case_system import token_of
from tests.support.covenants import HAARLEM
from tests.support.provider import TestProvider
from tests.support.rest import WEIGHING, Here, facade, provider_of, refused

Make = Callable[..., Here]


@pytest.fixture(scope="module")
def key() -> RSAKey:
    """Of the case system, at the provider."""
    return RSAKey.generate_key(2048)


@pytest.fixture(scope="module")
def provider(key: RSAKey) -> Iterator[TestProvider]:
    with provider_of(key) as found:
        yield found


@pytest.fixture
async def make(tmp_path: Path, provider: TestProvider) -> AsyncIterator[Make]:
    stages: list[Stage] = []

    def made(kind: type[Stage] = Stage, change: Callable[[Path], object] = lambda _: None, **changes: object) -> Here:
        stages.append(kind(tmp_path, change))
        return facade(stages[-1], provider, **changes)

    yield made
    for stage in stages:
        await stage.close()


@pytest.fixture
def here(make: Make) -> Here:
    return make()


async def test_an_officer_signs_in_at_the_provider_and_asks_from_the_case_system(here: Here, key: RSAKey) -> None:
    system = here.system()
    system.token = await asyncio.to_thread(token_of, here.provider, system, "devries", key)
    here.stage.sources[HAARLEM].known = (PERSON,)
    reply = await here.post(system)
    assert reply.status_code == 201, reply.text
    found = await here.ended(system, reply.headers["location"])
    assert (found["status"], found["zaak"], found["personen"]) == ("klaar", ZVH_CASE, 1)
    by_partner = {one["oin"]: one for one in found["uitkomsten"]}
    assert by_partner[HAARLEM]["uitkomst"] == "bekend"
    assert by_partner[HAARLEM]["persoon"] == 1
    assert by_partner[HAARLEM]["contactpunt"].startswith("Loket")
    assert {one["uitkomst"] for oin, one in by_partner.items() if oin != HAARLEM} == {"niet_bevraagd"}
    receipt = await system.ask("GET", f"{reply.headers['location']}/bewijs")
    assert receipt.json()["kind"].startswith("bekend/1")
    assert PERSON.value not in json.dumps([found, receipt.json()])


async def test_the_purposes_of_the_own_role_say_what_a_question_needs(here: Here) -> None:
    reply = await here.system().ask("GET", "/v1/doelen")
    found = {one["id"]: one for one in reply.json()["doelen"]}
    assert WEIGHING in found
    assert "kennemerland/zsm-context" not in found
    assert HAARLEM in {one["oin"] for one in found[WEIGHING]["partners"]}
    assert found[WEIGHING]["vandaagOver"] > 0


async def test_the_same_key_asks_once(here: Here) -> None:
    system, key = here.system(), str(uuid.uuid4())
    first, again = await asyncio.gather(here.post(system, key=key), here.post(here.system(), key=f'"{key}"'))
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.headers["location"] == again.headers["location"]
    await here.ended(system, first.headers["location"])
    assert len(here.stage.line.begins) == 1
    refused(await here.post(system, key=key, zaak="ZVH-2026-0999"), 422, "sleutel-gebruikt")
    other = await here.post(here.system("smit"), key=key)
    assert other.headers["location"] != first.headers["location"]


async def test_a_question_is_its_officers_alone(here: Here) -> None:
    reply = await here.post(here.system())
    for method, path in [("GET", ""), ("DELETE", ""), ("POST", "/verzending"), ("GET", "/bewijs")]:
        refused(await here.system("smit").ask(method, reply.headers["location"] + path), 404, "niet-gevonden")

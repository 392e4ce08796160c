"""Who comes to the facade with the wrong token, the wrong proof or the wrong message: nothing is asked for them."""

import asyncio
import hashlib
import hmac
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from bekend_node.rest.facade import BODY_LIMIT
from bekend_node.rest.issuer import Issuer
from bekend_node.rest.proofs import NONCE_SECONDS
from joserfc.jwk import ECKey, RSAKey

from tests.support.asking import PERSON, Stage
from tests.support.case_system import CaseSystem, Evil, b64
from tests.support.covenants import HAARLEM
from tests.support.provider import CLIENT, PASSWORD, TestProvider
from tests.support.rest import ORIGIN, Here, config_of, facade, provider_of, refused

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def provider() -> Iterator[TestProvider]:
    with provider_of(RSAKey.generate_key(2048)) as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(tmp_path_factory: pytest.TempPathFactory, provider: TestProvider) -> AsyncIterator[Here]:
    """One for all: whatever comes, no lookup begins."""
    stage = Stage(tmp_path_factory.mktemp("rest"))
    yield facade(stage, provider)
    assert stage.line.begins == []
    await stage.close()


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "https://elders.example"},
        {"aud": ["https://elders.example"]},
        {"aud": None},
        {"iss": "https://elders.example"},
        {"client_id": "een-ander"},
        {"client_id": None},
        {"sub": None},
        {"exp": None},
        {"exp": 0},
        {"exp": "nooit"},
        {"iat": 4_000_000_000},
        {"nbf": 4_000_000_000},
        {"cnf": None},
        {"cnf": {}},
        {"cnf": {"jkt": 7}},
        {"cnf": {"jkt": "een-andere-sleutel"}},
        {"cnf": {"x5t#S256": "een-certificaat"}},
    ],
    ids=str,
)
async def test_a_token_that_is_not_for_here_now_and_this_key_is_worth_nothing(
    here: Here, claims: dict[str, Any]
) -> None:
    reply = await here.system(**claims).ask("GET", "/v1/doelen")
    refused(reply, 401, "geen-bewijs")
    assert reply.headers["www-authenticate"].startswith("DPoP ")


async def test_an_id_token_is_no_access_token(here: Here) -> None:
    system = here.system()
    system.token = here.provider.access({"sub": "devries", "cnf": {"jkt": system.key.thumbprint()}}, typ="JWT")
    refused(await system.ask("GET", "/v1/doelen"), 401, "geen-bewijs")


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
async def test_only_the_providers_signature_counts(here: Here, algorithm: str) -> None:
    system = here.system()
    _, payload, _ = system.token.split(".")
    public = json.dumps(here.provider.server.keyjar.export_jwks()["keys"][0]).encode()
    head = b64(json.dumps({"alg": algorithm, "typ": "at+jwt"}).encode())
    seal = b"" if algorithm == "none" else hmac.digest(public, f"{head}.{payload}".encode(), hashlib.sha256)
    system.token = f"{head}.{payload}.{b64(seal)}"
    refused(await system.ask("GET", "/v1/doelen"), 401, "geen-bewijs")


async def test_a_stolen_token_is_worth_nothing_without_the_key(here: Here) -> None:
    victim, thief = here.system(), here.system("smit")
    await victim.ask("GET", "/v1/doelen")
    thief.token, thief.nonce = victim.token, victim.nonce
    refused(await thief.ask("GET", "/v1/doelen"), 401, "geen-bewijs")
    thief.scheme = "Bearer"
    refused(await thief.ask("GET", "/v1/doelen"), 401, "geen-bewijs")
    # Nor with what travelled beside it, once.
    for proof in victim.sent:
        thief.scheme = "DPoP"
        refused(await thief.ask("GET", "/v1/doelen", headers={"dpop": proof}), 401, "geen-bewijs")


async def test_a_proof_holds_for_one_request_of_one_minute(here: Here) -> None:
    system = here.system()
    reply = await system.once("GET", "/v1/doelen")
    refused(reply, 401, "geen-bewijs")
    assert 'error="use_dpop_nonce"' in reply.headers["www-authenticate"]
    proof = system.proof("GET", f"{ORIGIN}/v1/doelen")
    assert (await system.once("GET", "/v1/doelen", headers={"dpop": proof})).status_code == 200
    refused(await system.once("GET", "/v1/doelen", headers={"dpop": proof}), 401, "geen-bewijs")
    made = [system.proof("GET", f"{ORIGIN}/v1/doelen") for _ in range(2)]
    here.stage.clock.advance(timedelta(seconds=NONCE_SECONDS))
    assert (await system.once("GET", "/v1/doelen", headers={"dpop": made[0]})).status_code == 200
    here.stage.clock.advance(timedelta(seconds=NONCE_SECONDS))
    late = await system.once("GET", "/v1/doelen", headers={"dpop": made[1]})
    assert 'error="use_dpop_nonce"' in late.headers["www-authenticate"]


def header(**changes: Any) -> Evil:
    return lambda head, _: head.update(changes)


def claims(**changes: Any) -> Evil:
    return lambda _, said: said.update(changes)


@pytest.mark.parametrize(
    "evil",
    [
        header(typ="JWT"),
        header(typ=None),
        header(jwk={"kty": "oct", "k": b64(b"s" * 32)}),
        header(jwk={"kty": "EC"}),
        header(jwk=None),
        header(jwk=ECKey.generate_key("P-256").as_dict(private=True)),
        header(jwk=ECKey.generate_key("P-256").as_dict(private=False)),
        claims(htm="POST"),
        claims(htm=None),
        claims(htu=f"{ORIGIN}/v1/vragen"),
        claims(htu="https://elders.example/v1/doelen"),
        claims(htu=f"http{ORIGIN.removeprefix('https')}/v1/doelen"),
        claims(htu=["x"]),
        claims(htu="https://rest.example:x/v1/doelen"),
        claims(ath="x"),
        claims(ath=None),
        claims(jti=""),
        claims(jti="x" * 300),
        claims(jti=7),
        claims(iat=None),
        claims(nonce="een-eigen-nonce"),
        claims(nonce=7),
    ],
)
async def test_a_proof_for_something_else_is_refused(here: Here, evil: Evil) -> None:
    system = here.system()
    await system.ask("GET", "/v1/doelen")
    refused(await system.once("GET", "/v1/doelen", evil=evil), 401, "geen-bewijs")


async def test_an_address_is_the_same_however_it_is_written(here: Here) -> None:
    system = here.system()
    await system.ask("GET", "/v1/doelen")
    written = claims(htu="HTTPS://Rest.Example:443/v1/doelen?x=1#y")
    assert (await system.once("GET", "/v1/doelen", evil=written)).status_code == 200


@pytest.mark.parametrize("number", [0, 2])
async def test_a_request_brings_one_proof(here: Here, number: int) -> None:
    system = here.system()
    await system.ask("GET", "/v1/doelen")
    proofs = [("dpop", system.proof("GET", f"{ORIGIN}/v1/doelen")) for _ in range(number)]
    headers = httpx2.Headers([("authorization", f"DPoP {system.token}"), *proofs])
    refused(await system.client.request("GET", "/v1/doelen", headers=headers), 401, "geen-bewijs")


@pytest.mark.parametrize(
    "value", ["", "Basic x", "DPoP", "DPoP ", "DPoP x", "DPoP a.b.c", "DPoP é", "Bearer a.b.c.d.e"]
)
async def test_what_is_no_token_is_refused(here: Here, value: str) -> None:
    headers = [(b"authorization", value.encode("latin-1"))]
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=here.app), base_url=ORIGIN) as client:
        refused(await client.get("/v1/doelen", headers=headers), 401, "geen-bewijs")
        refused(await client.get("/v1/doelen"), 401, "geen-bewijs")


@pytest.mark.parametrize(
    "said",
    [
        {"sub": CLIENT},
        {"sub": CLIENT, "client_id": None, "azp": CLIENT},
        {"idtyp": "app"},
        {"gty": "client-credentials"},
        {"preferred_username": "service-account-gcos"},
    ],
    ids=str,
)
async def test_fg_45_a_system_by_itself_asks_nothing(here: Here, said: dict[str, Any]) -> None:
    system = here.system(**said)
    problem = refused(await here.post(system), 403, "alleen-mensen")
    assert "medewerker" in problem["detail"]


@pytest.mark.parametrize(
    "said",
    [{"acr": None}, {"acr": PASSWORD}, {"name": None}, {"realm_access": None}, {"realm_access": {"roles": ["x"]}}],
)
async def test_fg_45_who_lacks_a_second_factor_a_name_or_a_role_asks_nothing(here: Here, said: dict[str, Any]) -> None:
    problem = refused(await here.post(here.system(**said)), 403, "mag-niet")
    assert problem["regel"] == "FG-45"


async def test_a_provider_that_is_away_lets_nobody_in(here: Here) -> None:
    tokens = {**config_of(here.provider).tokens.model_dump(), "issuer": "http://127.0.0.1:9/x"}
    refused(
        await facade(here.stage, here.provider, tokens=tokens).system().ask("GET", "/v1/doelen"), 503, "inlogdienst"
    )


def of_unknown_key(system: CaseSystem) -> CaseSystem:
    """The same, with a token that names a key that nobody has: whoever likes can make one."""
    _, payload, seal = system.token.split(".")
    head = b64(json.dumps({"alg": "RS256", "typ": "at+jwt", "kid": "onbekend"}).encode())
    system.token = f"{head}.{payload}.{seal}"
    return system


async def test_who_names_an_unknown_key_keeps_nobody_waiting_for_a_provider_that_hangs(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = facade(here.stage, here.provider)
    assert (await fresh.system().ask("GET", "/v1/doelen")).status_code == 200
    here.stage.clock.advance(timedelta(minutes=1))
    asked = asyncio.Event()

    async def hang(*_: Any) -> Any:
        asked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(Issuer, "_get", hang)
    waiting = asyncio.create_task(of_unknown_key(fresh.system()).ask("GET", "/v1/doelen"))
    async with asyncio.timeout(10):
        await asked.wait()
        assert (await fresh.system().ask("GET", "/v1/doelen")).status_code == 200
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    # That one was broken off: it is no key set.
    refused(await of_unknown_key(fresh.system()).ask("GET", "/v1/doelen"), 503, "inlogdienst")
    assert (await fresh.system().ask("GET", "/v1/doelen")).status_code == 200


async def test_a_provider_that_is_away_is_asked_again_after_a_while(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh, asked, honest = facade(here.stage, here.provider), [], Issuer._get

    async def away(*_: Any) -> Any:
        asked.append(1)
        raise httpx2.ConnectError("away")

    monkeypatch.setattr(Issuer, "_get", away)
    for _ in range(3):
        refused(await fresh.system().ask("GET", "/v1/doelen"), 503, "inlogdienst")
    assert len(asked) == 1
    monkeypatch.setattr(Issuer, "_get", staticmethod(honest))
    here.stage.clock.advance(timedelta(seconds=30))
    assert (await fresh.system().ask("GET", "/v1/doelen")).status_code == 200
    # And an unknown key is not known by that.
    here.stage.clock.advance(timedelta(seconds=30))
    refused(await of_unknown_key(fresh.system()).ask("GET", "/v1/doelen"), 401, "geen-bewijs")


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"personen": [{"nummer": "999990018"}]}, "/personen/0/nummer"),
        ({"personen": [{"nummer": PERSON.value}, {"nummer": "1"}]}, "/personen/1/nummer"),
        ({"soort": "skn"}, "/personen/0/nummer"),
        ({"zaak": "jansen"}, "/zaak"),
        ({"motivering": None}, "/motivering"),
        ({"motivering": {"nodig": "daarom moet het"}}, "/motivering"),
        ({"doel": "kennemerland/bestaat-niet"}, "/doel"),
        ({"partners": ["00000099000000009999"]}, "/partners"),
        ({"partners": [HAARLEM, HAARLEM]}, "/partners"),
        ({"personen": [{"nummer": PERSON.value}] * 2}, "/personen/0/nummer"),
        ({"namens": HAARLEM}, ""),
        ({"bevestigd": {}}, "/bevestigd"),
        ({"bevestigd": {"positieve-toets": "nee", "bgs-2-20": "ja"}}, "/bevestigd/positieve-toets"),
        ({"bevestigd": {"positieve-toets": "ja", "bgs-2-20": "ja", "nog-iets": "ja"}}, "/bevestigd"),
        ({"toestemmingen": ["T-7"]}, "/toestemmingen/0"),
        ({"personen": []}, "/personen"),
        ({"personen": [{"nummer": " "}, {"nummer": PERSON.value}]}, "/personen/0"),
        ({"personen": [{"geslachtsnaam": "Jansen"}]}, "/personen/0"),
        ({"personen": [{"geslachtsnaam": "Jansen"}], "soort": "naam-geboortedatum"}, "/soort"),
        ({"personen": [{"geslachtsnaam": "x" * 201}]}, "/personen/0/geslachtsnaam"),
        ({"personen": [{"nummer": PERSON.value, "geslachtsnaam": "Jansen"}]}, "/personen/0"),
        ({"personen": [{}]}, "/personen/0/geslachtsnaam"),
        ({"personen": ["x"]}, "/personen/0"),
        ({"soort": "v-nummer"}, "/personen/0/nummer"),
        ({"personen": [{"nummer": PERSON.value, "naam": "x"}]}, "/personen/0"),
        ({"personen": [{"nummer": int(PERSON.value)}]}, "/personen/0/nummer"),
        ({PERSON.value: "x"}, "/"),
        ({"gezien": "ja"}, "/gezien"),
    ],
    ids=str,
)
async def test_what_is_wrong_is_said_with_its_place_and_without_what_was_sent(
    here: Here, changes: dict[str, Any], place: str
) -> None:
    reply = await here.post(here.system(), **changes)
    assert reply.status_code == 422, reply.text
    assert PERSON.value not in reply.text
    assert place == "" or place in {one["plaats"] for one in reply.json()["fouten"]}


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"doel":"a","doel":"b"}', b'{"gezien": NaN}', b"\xff", b"[" * 60_000], ids=str
)
async def test_what_is_no_question_is_refused(here: Here, body: bytes) -> None:
    headers = {"idempotency-key": str(uuid.uuid4()), "content-type": "application/json"}
    reply = await here.system().ask("POST", "/v1/vragen", content=body, headers=headers)
    assert reply.status_code in {400, 422}, reply.text


@pytest.mark.parametrize(
    ("headers", "status", "kind"),
    [
        ({"content-type": "text/plain"}, 415, "mediatype"),
        ({"idempotency-key": "kort"}, 400, "geen-sleutel"),
        ({"idempotency-key": "met spaties en haakjes ()"}, 400, "geen-sleutel"),
    ],
)
async def test_a_question_comes_as_json_with_a_key(here: Here, headers: dict[str, str], status: int, kind: str) -> None:
    honest = {"idempotency-key": str(uuid.uuid4()), "content-type": "application/json"}
    content = json.dumps(here.question()).encode()
    reply = await here.system().ask("POST", "/v1/vragen", content=content, headers=honest | headers)
    refused(reply, status, kind)


async def test_a_body_that_is_too_large_is_not_read(here: Here) -> None:
    refused(await here.post(here.system(), motivering="x" * BODY_LIMIT), 413, "te-groot")
    system, read = here.system(), []

    async def endless() -> AsyncIterator[bytes]:
        while True:
            read.append(1)
            yield b"[" * 8192

    headers = {"idempotency-key": str(uuid.uuid4()), "content-type": "application/json"}
    system.nonce = (await system.once("GET", "/v1/doelen")).headers["dpop-nonce"]
    refused(await system.once("POST", "/v1/vragen", content=endless(), headers=headers), 413, "te-groot")
    assert len(read) < 20


async def test_a_body_that_comes_in_too_slowly_is_given_up(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bekend_node.rest.facade.BODY_SECONDS", 0.01)
    system, never = here.system(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"{"
        await never.wait()

    headers = {"idempotency-key": str(uuid.uuid4()), "content-type": "application/json"}
    system.nonce = (await system.once("GET", "/v1/doelen")).headers["dpop-nonce"]
    refused(await system.once("POST", "/v1/vragen", content=slow(), headers=headers), 408, "te-traag")


async def test_a_body_of_which_the_length_is_unclear_is_not_read(here: Here) -> None:
    headers = {"transfer-encoding": "chunked", "content-length": "5", "content-type": "application/json"}
    refused(await here.system().ask("POST", "/v1/vragen", content=b"{}", headers=headers), 400, "bericht")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v1", 404),
        ("GET", "/v1/doelen/", 404),
        ("PUT", "/v1/doelen", 405),
        ("TRACE", "/v1/vragen", 405),
        ("GET", "/v1/vragen", 405),
        ("GET", f"/v1/vragen/{PERSON.value}", 404),
        ("GET", "/v1/testpersonen", 404),
    ],
)
async def test_what_is_not_there_is_a_problem_too(here: Here, method: str, path: str, status: int) -> None:
    reply = await here.system().ask(method, path)
    refused(reply, status, "niet-gevonden" if status == 404 else "methode")
    assert ("allow" in reply.headers) is (status == 405)

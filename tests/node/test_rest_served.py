"""The facade as it is served: over TLS, with certificates of case systems, and held against its own description."""

import asyncio
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from threading import Thread
from typing import Any

import httpx2
import pytest
import requests
import schemathesis
import yaml
from bekend_deploy.partners import POLITIE
from bekend_deploy.processes import free_ports
from bekend_node.app import start_node
from bekend_node.ask.team import Team
from bekend_node.rest.app import facade_of
from bekend_node.rest.description import describe
from bekend_node.rest.messages import QuestionBody
from bekend_node.web.tls import client_context
from bekend_proto.identity import TlsFiles
from hypothesis import HealthCheck, Phase, settings
from joserfc.jwk import ECKey, RSAKey
from requests.auth import AuthBase
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from tests.support.asking import Stage
from tests.support.case_system import CaseSystem, b64
from tests.support.covenants import NOW
from tests.support.federation import Federation
from tests.support.nodes import NodeHome
from tests.support.pki import DAY, Authority
from tests.support.provider import TestProvider
from tests.support.rest import WEIGHING, Here, config_of, provider_of

DOCS = Path(__file__).parents[2] / "docs"
DESCRIBED, GUIDE, MAPPING = DOCS / "openapi.json", DOCS / "rest.md", DOCS / "koppeling-gcos-pgax.yaml"


@dataclass
class Served(Here):
    """A facade on a port of this machine, in a thread with a loop of its own; `own` and `other` are case systems'."""

    origin: str = ""
    authority: Path = Path()
    own: TlsFiles = field(default_factory=lambda: TlsFiles(Path(), Path(), Path()))
    other: TlsFiles = field(default_factory=lambda: TlsFiles(Path(), Path(), Path()))
    stranger: TlsFiles = field(default_factory=lambda: TlsFiles(Path(), Path(), Path()))
    revoke: Callable[..., Path] = lambda *_, **__: Path()
    """A new list of the case systems' authority, as old as `age`."""

    def bound_to(self, files: TlsFiles) -> str:
        """The token of an officer, bound to the certificate of a case system."""
        der = ssl.PEM_cert_to_DER_cert(files.certificate.read_text())
        return self.token(cnf={"x5t#S256": b64(sha256(der).digest())})

    def get(self, token: str, files: TlsFiles | None, path: str = "/v1/doelen") -> requests.Response:
        cert = (str(files.certificate), str(files.key)) if files else None
        headers = {"authorization": f"Bearer {token}"}
        return requests.get(self.origin + path, headers=headers, cert=cert, verify=str(self.authority), timeout=30)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    far = NOW - datetime.now(UTC)
    lasts: dict[str, Any] = {"starts": min(far, timedelta()) - DAY, "ends": max(far, timedelta()) + 30 * DAY}
    authority, systems = Authority(folder / "server"), Authority(folder / "systems", "Systems CA")
    tls = authority.issue("00000099000000001000", **lasts)
    (port,) = free_ports(1)
    origin = f"https://localhost:{port}"
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, daemon=True)
    thread.start()
    with provider_of(RSAKey.generate_key(2048), audience=origin) as provider:
        own = systems.issue("00000099000000001000", name="own", **lasts)
        lists = systems.revoke(since=-far)
        stage, server = _work(loop, _start(folder, provider, port, tls, (systems.path, lists)))
        here = Served(
            stage,
            provider,
            None,
            origin,
            authority.path,
            own,
            systems.issue("00000099000000001000", name="other", **lasts),
            Authority(folder / "elsewhere").issue("00000099000000001000", **lasts),
            lambda *files, age=timedelta(): systems.revoke(*files, since=age - far),
        )
        yield here
        _work(loop, _end(stage, server))
    loop.call_soon_threadsafe(loop.stop)
    thread.join(30)
    loop.close()


def _work(loop: asyncio.AbstractEventLoop, work: Any) -> Any:
    return asyncio.run_coroutine_threadsafe(work, loop).result(30)


async def _start(
    folder: Path, provider: TestProvider, port: int, tls: TlsFiles, systems: tuple[Path, Path]
) -> tuple[Stage, Any]:
    stage = Stage(folder)
    provider.now = lambda: stage.clock.now().timestamp()
    config = config_of(
        provider,
        listen=f"127.0.0.1:{port}",
        origin=provider.audience,
        certificate=tls.certificate,
        key=tls.key,
        client_authorities=systems[0],
        client_crl=systems[1],
    )
    server = facade_of(
        config,
        asker=stage.asker,
        team=Team(stage.asking, ()),
        covenant=lambda: stage.covenant,
        clock=stage.clock,
    )
    await server.start()
    return stage, server


async def _end(stage: Stage, server: Any) -> None:
    await server.stop()
    await stage.close()


def test_a_token_that_is_bound_to_a_certificate_opens_with_it_alone(served: Served) -> None:
    token = served.bound_to(served.own)
    assert served.get(token, served.own).status_code == 200
    for files in (None, served.other):
        reply = served.get(token, files)
        assert (reply.status_code, reply.json()["type"]) == (401, "urn:bekend:probleem:geen-bewijs")
    with pytest.raises(requests.exceptions.ConnectionError):
        served.get(token, served.stranger)


def test_a_certificate_that_its_authority_revoked_opens_nothing(
    served: Served, capfd: pytest.CaptureFixture[str]
) -> None:
    token = served.bound_to(served.own)
    try:
        # Of another system: nothing changes for this one.
        served.revoke(served.other)
        assert served.get(token, served.own).status_code == 200
        for lists in ([served.own], []):
            # Named in a list, and then not in it any more, but that list is too old.
            served.revoke(*lists, age=timedelta(hours=0 if lists else 73))
            reply = served.get(token, served.own)
            assert (reply.status_code, reply.json()["type"]) == (401, "urn:bekend:probleem:geen-bewijs")
            assert "certificaat" in reply.json()["detail"]
    finally:
        served.revoke()
    said = [line for line in capfd.readouterr().err.splitlines() if "rest-certificate-refused" in line]
    assert ["was revoked" in line for line in said] == [True, False]
    assert served.get(token, served.own).status_code == 200


def test_a_revoked_certificate_is_refused_beside_a_token_of_another_key(served: Served) -> None:
    proofs = Proofs(served)

    def get(files: TlsFiles) -> requests.Response:
        cert = (str(files.certificate), str(files.key))
        address, authority = f"{served.origin}/v1/doelen", str(served.authority)
        return requests.get(address, auth=proofs, cert=cert, verify=authority, timeout=30)

    try:
        served.revoke(served.own)
        assert get(served.other).status_code == 200
        reply = get(served.own)
        assert (reply.status_code, reply.json()["type"]) == (401, "urn:bekend:probleem:geen-bewijs")
        assert "certificaat" in reply.json()["detail"]
    finally:
        served.revoke()
    assert get(served.own).status_code == 200


def test_a_certificate_in_a_header_is_no_certificate(served: Served) -> None:
    """What a proxy would write there, anybody can."""
    pem = served.own.certificate.read_text().replace("\n", "")
    headers = {"authorization": f"Bearer {served.bound_to(served.own)}", "client-cert": pem, "x-client-cert": pem}
    reply = requests.get(f"{served.origin}/v1/doelen", headers=headers, verify=str(served.authority), timeout=30)
    assert reply.status_code == 401


def test_a_token_that_is_bound_to_both_needs_both(served: Served) -> None:
    der = ssl.PEM_cert_to_DER_cert(served.own.certificate.read_text())
    proofs = Proofs(served, {"x5t#S256": b64(sha256(der).digest())})
    for files, status in ((served.own, 200), (served.other, 401), (None, 401)):
        cert = (str(files.certificate), str(files.key)) if files else None
        reply = requests.get(
            f"{served.origin}/v1/doelen", auth=proofs, cert=cert, verify=str(served.authority), timeout=30
        )
        assert reply.status_code == status
    assert served.get(proofs.system.token, served.own).status_code == 401


def test_the_description_is_there_for_everybody(served: Served) -> None:
    reply = requests.get(f"{served.origin}/v1/openapi.json", verify=str(served.authority), timeout=30)
    assert (reply.status_code, reply.headers["access-control-allow-origin"]) == (200, "*")
    assert reply.json() == describe()


def test_the_description_that_is_published_is_that_of_now() -> None:
    assert json.loads(DESCRIBED.read_text()) == describe(), "python -m bekend_node.rest.description > docs/openapi.json"


def test_a_node_serves_what_node_yaml_says(tmp_path: Path, served: Served) -> None:
    authority = Authority(tmp_path)
    home = NodeHome.create(Federation.create(tmp_path, authority), POLITIE.oin)
    (port,) = free_ports(1)
    tls = home.party.tls
    tokens = {
        "issuer": served.provider.issuer,
        "audience": "x",
        "clients": ["gcos"],
        "roles": {"bekend": ["officier"]},
        "acr": ["mfa"],
    }
    origin = f"https://localhost:{port}"
    files = {"certificate": str(tls.certificate), "key": str(tls.key)}
    home.settings["rest"] = {"listen": f"127.0.0.1:{port}", "origin": origin, **files, "tokens": tokens}

    async def serve() -> None:
        node = await start_node(home.config(1), home.federation.clock)
        try:
            async with httpx2.AsyncClient(verify=client_context(authority.path)) as client:
                assert (await client.get(f"{origin}/v1/openapi.json")).status_code == 200
                assert (await client.get(f"{origin}/v1/doelen")).status_code == 401
        finally:
            await node.stop(0)

    asyncio.run(serve())


def blocks(language: str) -> list[str]:
    """The examples of the guide in a language."""
    return re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text(), re.DOTALL)


@pytest.fixture
def example(served: Served, tmp_path: Path) -> tuple[dict[str, str], Path]:
    """What the examples of the guide find: their environment, and the folder with the question."""
    (question,) = blocks("json")
    assert json.loads(question) == served.question()
    (tmp_path / "vraag.json").write_text(question)
    return {"PATH": os.environ["PATH"], "BEKEND": served.origin, "CA": str(served.authority)}, tmp_path


def test_the_python_of_the_guide_asks(served: Served, example: tuple[dict[str, str], Path]) -> None:
    (code,), (environment, folder) = blocks("python"), example
    key = ECKey.generate_key("P-256")
    (folder / "key.pem").write_bytes(key.as_pem(private=True))
    given = {"DPOP_KEY": "key.pem", "TOKEN": served.token(cnf={"jkt": key.thumbprint()})}
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment | given,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stderr
    assert "geen_uitsluitsel" in ran.stdout


def test_the_curl_of_the_guide_asks(served: Served, example: tuple[dict[str, str], Path]) -> None:
    if shutil.which("curl") is None:
        if os.environ.get("REQUIRE_TOOLS"):
            pytest.fail("curl is missing: apt-get install curl")
        pytest.skip("curl is not installed")
    environment, folder = example
    given = {
        "TOKEN": served.bound_to(served.own),
        "CERT": str(served.own.certificate),
        "KEY": str(served.own.key),
    }
    purposes, asked = (
        json.loads(
            subprocess.run(
                ["bash", "-euc", command],
                cwd=folder,
                env=environment | given,
                check=True,
                capture_output=True,
                timeout=60,
            ).stdout
        )
        for command in blocks("sh")
    )
    assert WEIGHING in [one["id"] for one in purposes["doelen"]]
    assert asked["doel"] == WEIGHING


def test_the_mapping_for_gcos_and_pgax_names_every_field_of_a_question_and_says_that_it_is_untested() -> None:
    mapping = yaml.safe_load(MAPPING.read_text())
    fields = {str(one.alias or name) for name, one in QuestionBody.model_fields.items()}
    assert set(mapping["vraag"]) == fields
    assert "ONGETEST" in MAPPING.read_text()
    assert mapping["getest"] == "nee"


class Proofs(AuthBase):
    """A DPoP proof for whatever request goes out."""

    def __init__(self, served: Served, bound: dict[str, str] | None = None) -> None:
        client = httpx2.AsyncClient()
        self.system = CaseSystem(served.origin, client, now=lambda: served.stage.clock.now().timestamp())
        self.system.token = served.token(cnf={"jkt": self.system.key.thumbprint(), **(bound or {})})
        first = requests.get(f"{served.origin}/v1/openapi.json", verify=str(served.authority), timeout=30)
        self.system.nonce = first.headers["dpop-nonce"]

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["authorization"] = f"DPoP {self.system.token}"
        request.headers["dpop"] = self.system.proof(str(request.method), str(request.url))
        return request


@pytest.fixture(scope="module")
def session(served: Served) -> Iterator[requests.Session]:
    with requests.Session() as made:
        # Not what the machine believes: this test's authority alone.
        made.auth, made.verify, made.trust_env = Proofs(served), str(served.authority), False
        yield made


schema = schemathesis.openapi.from_dict(describe())


@schema.parametrize()
@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_the_facade_does_what_its_description_says(
    case: schemathesis.Case[Any], served: Served, session: requests.Session
) -> None:
    # What has the described form is refused by the covenant all the same: there is no such purpose or partner. And
    # whatever goes out is signed here; who comes without is in test_rest_hostile.py.
    case.call_and_validate(
        base_url=f"{served.origin}/v1",
        session=session,
        verify=session.verify,
        timeout=30,
        excluded_checks=[positive_data_acceptance, ignored_auth],
    )


def test_a_whole_question_is_as_described(served: Served, session: requests.Session) -> None:
    def done(method: str, path: str, described: str, **more: Any) -> requests.Response:
        reply = session.request(method, served.origin + path, timeout=30, **more)
        schema[described][method].validate_response(reply)
        return reply

    headers = {"idempotency-key": str(uuid.uuid4())}
    asked = done("POST", "/v1/vragen", "/vragen", json=served.question(), headers=headers)
    assert asked.status_code == 201
    address, one = asked.headers["location"], "/vragen/{id}"
    while done("GET", address, one).json()["status"] == "loopt":
        pass
    found = [
        done("GET", "/v1/doelen", "/doelen"),
        done("GET", address, one),
        done("GET", f"{address}/bewijs", f"{one}/bewijs"),
        done("GET", f"{address}/later-bewijs", f"{one}/later-bewijs"),
        done("POST", f"{address}/verzending", f"{one}/verzending"),
        done("DELETE", address, one),
        done("GET", address, one),
    ]
    assert [reply.status_code for reply in found] == [200, 200, 200, 409, 409, 204, 410]

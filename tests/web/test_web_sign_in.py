"""Sign-in at a real provider (idpyoidc), without a browser: every way in which it must fail, and the way it works."""

import hashlib
import hmac
import json
import re
from base64 import urlsafe_b64encode as b64
from collections.abc import Callable, Iterator
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from bekend_node.web.app import build
from bekend_node.web.pages import Pages, Site
from bekend_node.web.provider import LEEWAY, Provider
from bekend_node.web.sessions import COOKIE, Person, Session, Sessions
from bekend_node.web.signin import AT_MOST, SignInPages
from bekend_proto.clock import SystemClock
from bekend_proto.errors import BekendError
from cryptojwt.key_jar import build_keyjar
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from tests.support.provider import CLIENT, PASSWORD, TestProvider, running
from tests.web.signing_in import USERS, make_key, sign_in_at

ORIGIN = "https://bekend.example"
OWN = {"sec-fetch-site": "same-origin"}


class Here:
    """The pages, a browser at them, and the same browser at the provider."""

    def __init__(self, provider: TestProvider | str, key: Path, **changes: Any) -> None:
        self.clock = SystemClock()
        self.sessions = Sessions(self.clock)
        self.came_in: list[Person] = []
        config = sign_in_at(provider, key, **changes)
        pages = Pages(lambda: Site("Proef", dev=False, demo=True), self.sessions, [])
        client = Provider(config, ORIGIN, self.clock)
        if isinstance(provider, TestProvider):
            provider.register(ORIGIN, client.public_keys())

        async def first(request: Request) -> Response:
            return pages.render(request, "fout.html.j2", message=pages.person(request).name)

        routes = [
            *SignInPages(pages, self.sessions, client, config, self.clock, signed_in=self.note).routes(),
            Route("/", first),
        ]
        app = build(ORIGIN, pages, self.sessions, routes)
        self.browser = TestClient(app, base_url=ORIGIN, follow_redirects=False)
        self.outside = httpx2.Client(follow_redirects=False)

    async def note(self, person: Person) -> None:
        self.came_in.append(person)

    def begin(self) -> str:
        """The address at the provider that the browser is sent to."""
        reply = self.browser.get("/inloggen/begin")
        assert reply.status_code == 302, reply.text
        return reply.headers["location"]

    def at_provider(self, user: str, address: str) -> str:
        """Sign in there; the address that the browser is sent back to."""
        page = self.outside.get(address)
        if page.status_code == 302:  # Signed in there already.
            return page.headers["location"]
        assert page.status_code == 200, page.text
        token = re.search('name="token" value="([^"]+)"', page.text)
        assert token is not None
        form = {"token": unescape(token[1]), "user": user}
        back = self.outside.post(f"{address.split('/authorization', maxsplit=1)[0]}/verify", data=form)
        assert back.status_code == 302, back.text
        return back.headers["location"]

    def sign_in(self, user: str = "jansen") -> httpx2.Response:
        """The whole way; the reply of our own page at the end of it."""
        return self.browser.get(self.at_provider(user, self.begin()))

    def session(self) -> Session | None:
        return self.sessions.find(self.browser.cookies.get(COOKIE))

    def person(self) -> Person | None:
        session = self.session()
        return session.person if session else None


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_key(tmp_path_factory.mktemp("key"))


@pytest.fixture(scope="module")
def serving() -> Iterator[TestProvider]:
    with running(USERS) as found:
        yield found


@pytest.fixture
def provider(serving: TestProvider) -> TestProvider:
    serving.evil, serving.sign = lambda claims: claims, None
    serving.seen.clear()
    return serving


@pytest.fixture
def site(provider: TestProvider, key: Path) -> Here:
    return Here(provider, key)


def refused(reply: httpx2.Response, text: str, site: Here) -> None:
    assert (reply.status_code, text in reply.text) == (403, True), reply.text
    assert site.person() is None


def test_fg_45_who_signs_in_has_a_name_and_the_roles_that_node_yaml_gives(site: Here) -> None:
    reply = site.sign_in()
    assert (reply.status_code, reply.headers["location"]) == (303, "/")
    person = site.person()
    assert person is not None
    assert (person.name, person.roles) == ("J. Jansen", ("zsm-medewerker",))
    assert "J. Jansen" in site.browser.get("/").text


def test_several_roles_and_another_name_for_the_record(provider: TestProvider, key: Path) -> None:
    site = Here(provider, key, user_claim="preferred_username")
    site.sign_in()
    assert site.person() == Person("jjansen", "J. Jansen", ("zsm-medewerker",))
    other = Here(provider, key)
    other.sign_in("bakker")
    person = other.person()
    assert person is not None
    assert person.roles == ("loket", "beheer")


@pytest.mark.parametrize(
    ("claim", "address"),
    [
        ("j.jansen@om.example", "j.jansen@om.example"),
        ("a@b.example\r\nBcc: c@d.example", ""),
        (["a@b.example"], ""),
        (None, ""),
    ],
)
def test_an_address_for_mail_is_one_and_nothing_more(
    provider: TestProvider, key: Path, claim: Any, address: str
) -> None:
    provider.evil = lambda claims: {**claims, "email": claim}
    site = Here(provider, key, mail_claim="email")
    assert "scope=openid+profile+email" in site.begin().replace("%20", "+")
    site.sign_in()
    assert [one.mail for one in site.came_in] == [address]


def test_without_a_claim_for_mail_no_address_is_asked_or_kept(site: Here, provider: TestProvider) -> None:
    provider.evil = lambda claims: {**claims, "email": "j.jansen@om.example"}
    assert "email" not in site.begin()
    site.sign_in()
    assert [one.mail for one in site.came_in] == [""]


def test_the_node_proves_itself_and_the_code_is_bound_to_it(site: Here, provider: TestProvider) -> None:
    site.sign_in()
    asked = next(given for path, given in provider.seen if path == "/authorization")
    assert (asked["code_challenge_method"], asked["response_type"]) == ("S256", "code")
    assert asked["nonce"]
    assert asked["state"]
    token = next(given for path, given in provider.seen if path == "/token")
    assert token["client_assertion_type"].endswith("jwt-bearer")
    assert token["code_verifier"]
    assert "client_secret" not in token


def test_a_key_that_the_provider_does_not_know_gets_nobody_in(
    provider: TestProvider, key: Path, tmp_path: Path
) -> None:
    site = Here(provider, make_key(tmp_path))
    provider.register(ORIGIN, Provider(sign_in_at(provider, key), ORIGIN, site.clock).public_keys())
    refused(site.sign_in(), "niet klopt", site)


def test_a_session_that_was_planted_is_worth_nothing(site: Here) -> None:
    address = site.begin()
    planted = site.browser.cookies[COOKIE]
    site.browser.get(site.at_provider("jansen", address))
    assert site.browser.cookies[COOKIE] != planted
    assert site.sessions.find(planted) is None


def changed(**claims: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """An ID token that says something else; None leaves a claim out."""
    return lambda token: {name: value for name, value in (token | claims).items() if value is not None}


def shifted(seconds: float) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def change(token: dict[str, Any]) -> dict[str, Any]:
        now = SystemClock().now().timestamp()
        return token | {"iat": int(now + seconds - 300), "exp": int(now + seconds)}

    return change


@pytest.mark.parametrize(
    "evil",
    [
        changed(aud=["elders"]),
        changed(aud=["elders"], azp=CLIENT),
        changed(aud=[CLIENT, "elders"], azp="elders"),
        changed(aud=None),
        changed(iss="https://elders.example"),
        changed(iss=None),
        changed(nonce="een-ander"),
        changed(nonce=None),
        changed(sub=None),
        changed(exp=None),
        shifted(-LEEWAY.total_seconds() - 30),
        lambda token: token | {"iat": int(SystemClock().now().timestamp() + 3600)},
    ],
    ids=[
        "aud",
        "aud-azp",
        "azp",
        "no-aud",
        "iss",
        "no-iss",
        "nonce",
        "no-nonce",
        "no-sub",
        "no-exp",
        "expired",
        "future",
    ],
)
def test_an_id_token_that_is_not_for_us_now_gets_nobody_in(
    site: Here, provider: TestProvider, evil: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    provider.evil = evil
    refused(site.sign_in(), "niet geldig", site)


def test_clocks_may_differ_a_little(site: Here, provider: TestProvider) -> None:
    provider.evil = shifted(-LEEWAY.total_seconds() + 30)
    assert site.sign_in().status_code == 303


def test_a_token_that_another_signed_gets_nobody_in(site: Here, provider: TestProvider) -> None:
    stranger = build_keyjar([{"type": "RSA", "use": ["sig"]}])
    provider.sign = lambda claims: provider.signed(claims, keyjar=stranger)
    refused(site.sign_in(), "niet geldig", site)


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
def test_only_a_signature_with_a_public_key_counts(site: Here, provider: TestProvider, algorithm: str) -> None:
    def sign(claims: dict[str, Any]) -> str:
        parts = [{"alg": algorithm}, claims]
        text = ".".join(b64(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
        public = json.dumps(provider.server.keyjar.export_jwks()["keys"][0]).encode()
        seal = b"" if algorithm == "none" else hmac.digest(public, text.encode(), hashlib.sha256)
        return f"{text}.{b64(seal).decode().rstrip('=')}"

    provider.sign = sign
    refused(site.sign_in(), "niet geldig", site)


@pytest.mark.parametrize(
    ("user", "text"),
    [("zonder-mfa", "alleen een wachtwoord"), ("zonder-rol", "geen rol"), ("zonder-naam", "geen naam")],
)
def test_fg_45_who_lacks_a_second_factor_a_role_or_a_name_is_told(site: Here, user: str, text: str) -> None:
    refused(site.sign_in(user), text, site)


@pytest.mark.parametrize("acr", [None, "", ["x"], 3, {"a": "b"}, PASSWORD])
def test_fg_45_a_missing_or_odd_level_is_no_level(site: Here, provider: TestProvider, acr: Any) -> None:
    provider.evil = changed(acr=acr)
    refused(site.sign_in(), "alleen een wachtwoord", site)


def test_fg_45_every_claim_that_is_configured_is_demanded(provider: TestProvider, key: Path) -> None:
    site = Here(provider, key, amr=("otp", "hwk"))
    refused(site.sign_in(), "alleen een wachtwoord", site)
    provider.evil = changed(amr=["pwd", "otp"])
    assert site.sign_in().status_code == 303


def test_the_level_of_entra_is_asked_and_demanded(provider: TestProvider, key: Path) -> None:
    site = Here(provider, key, acr=(), acrs=("c1",))
    provider.evil = changed(acrs=["c1", "p1"])
    address = site.begin()
    assert '"acrs"' in parse_qs(urlsplit(address).query)["claims"][0]
    assert site.browser.get(site.at_provider("jansen", address)).status_code == 303


@pytest.mark.parametrize("name", ["", "   ", "x" * 201, "Jan\x00sen", "\u202ejansen", ["J."], None, 7])
def test_a_name_is_one_line_that_can_be_read(site: Here, provider: TestProvider, name: Any) -> None:
    provider.evil = changed(name=name)
    refused(site.sign_in(), "geen naam", site)


@pytest.mark.parametrize(
    ("path", "claims", "allowed"),
    [
        ("roles", {"roles": ["bekend-zsm"]}, True),
        ("groups", {"groups": "bekend-zsm"}, True),
        ("https://x.example/roles", {"https://x.example/roles": ["bekend-zsm"]}, True),
        ("resource_access.bekend.roles", {"resource_access": {"bekend": {"roles": ["bekend-zsm"]}}}, True),
        ("roles", {"roles": {"bekend-zsm": True}}, False),
        ("roles", {"roles": [["bekend-zsm"]]}, False),
        ("roles.x", {"roles": ["bekend-zsm"]}, False),
        ("roles", {}, False),
    ],
)
def test_roles_stand_where_node_yaml_says(
    provider: TestProvider, key: Path, path: str, claims: dict[str, Any], allowed: bool
) -> None:
    site = Here(provider, key, roles_claim=path)
    provider.evil = lambda token: {name: v for name, v in token.items() if name != "realm_access"} | claims
    assert (site.sign_in().status_code == 303) is allowed


def test_a_callback_works_once(site: Here) -> None:
    back = site.at_provider("jansen", site.begin())
    assert site.browser.get(back).status_code == 303
    again = site.browser.get(back)
    assert (again.status_code, "al gebruikt" in again.text) == (403, True)


def test_a_callback_for_another_browser_is_refused(site: Here, provider: TestProvider, key: Path) -> None:
    victim = Here(provider, key)
    back = site.at_provider("jansen", site.begin())
    reply = victim.browser.get(back)
    assert (reply.status_code, "opnieuw" in reply.text) == (400, True)
    victim.begin()
    refused(victim.browser.get(back), "opnieuw", victim)


@pytest.mark.parametrize("query", ["", "?code=x", "?state=x", "?code=x&state=y", "?error=access_denied&state=x"])
def test_a_callback_that_was_made_up_is_refused(site: Here, query: str) -> None:
    site.begin()
    refused(site.browser.get(f"/inloggen/terug{query}"), "opnieuw", site)


def test_what_the_provider_writes_in_an_error_is_shown_to_nobody(
    site: Here, capsys: pytest.CaptureFixture[str]
) -> None:
    site.begin()
    query = {"error": "<script>x</script>", "error_description": "<b>999990019</b>", "state": "x"}
    reply = site.browser.get("/inloggen/terug", params=query)
    assert reply.status_code == 403
    seen = reply.text + capsys.readouterr().err
    assert "script>x" not in seen
    assert "999990019" not in seen


def test_nobody_is_sent_elsewhere_after_signing_in(site: Here) -> None:
    reply = site.browser.get("/inloggen/begin?next=https://elders.example&redirect_uri=https://elders.example")
    assert "elders" not in reply.headers["location"]
    back = site.at_provider("jansen", reply.headers["location"])
    assert site.browser.get(back + "&next=https://elders.example").headers["location"] == "/"


def test_signing_out_ends_the_providers_session_too(site: Here, provider: TestProvider) -> None:
    site.sign_in()
    held = site.session()
    assert held is not None
    assert site.browser.post("/uitloggen", headers=OWN).headers["location"] == "/inloggen?uitgelogd"
    assert site.sessions.find(held.id) is None
    assert "/inloggen/uit" in site.browser.get("/inloggen?uitgelogd").text
    address = site.browser.get("/inloggen/uit").headers["location"]
    assert address.startswith(f"{provider.issuer}/session?")
    asked = parse_qs(urlsplit(address).query)
    assert asked["post_logout_redirect_uri"] == [f"{ORIGIN}/inloggen/uitgelogd"]
    ended = site.outside.get(address)
    assert ended.status_code == 302, ended.text
    back = site.outside.get(ended.headers["location"]).headers["location"]
    assert back.startswith(f"{ORIGIN}/inloggen/uitgelogd?")
    assert "uitgelogd" in site.browser.get(back).text
    assert site.browser.get("/inloggen/uit").headers["location"] == "/inloggen"


def test_a_provider_that_is_down_is_said_so_and_comes_back(key: Path) -> None:
    with running(USERS) as provider:
        issuer = provider.issuer
    site = Here(issuer, key)
    reply = site.browser.get("/inloggen/begin")
    assert (reply.status_code, "niet bereikbaar" in reply.text) == (503, True)


def test_a_provider_that_calls_itself_something_else_is_refused(provider: TestProvider, key: Path) -> None:
    site = Here(provider.issuer.replace("127.0.0.1", "localhost"), key)
    reply = site.browser.get("/inloggen/begin")
    assert (reply.status_code, "niet klopt" in reply.text) == (503, True)


def test_signing_in_over_and_over_is_slowed_down(site: Here) -> None:
    statuses = {site.browser.get("/inloggen/begin").status_code for _ in range(AT_MOST + 1)}
    assert statuses == {302, 429}


def test_sign_in_asks_for_a_second_factor(key: Path) -> None:
    with pytest.raises(ValidationError, match="second factor"):
        sign_in_at("https://login.example", key, acr=())


@pytest.mark.parametrize("issuer", ["http://login.example", "ftp://x.example", "https://x.example/?a=b", "https://"])
def test_the_provider_is_reached_over_tls(key: Path, issuer: str) -> None:
    with pytest.raises(ValidationError):
        sign_in_at(issuer, key)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    key = make_key(tmp_path)
    key.chmod(0o640)
    with pytest.raises(BekendError, match="chmod 600"):
        Provider(sign_in_at("https://login.example", key), ORIGIN, SystemClock())
    key.write_text("geen sleutel")
    key.chmod(0o600)
    with pytest.raises(BekendError, match="openssl genpkey"):
        Provider(sign_in_at("https://login.example", key), ORIGIN, SystemClock())


def test_the_public_key_is_served_and_the_private_one_is_not(site: Here) -> None:
    (found,) = site.browser.get("/inloggen/sleutels").json()["keys"]
    assert found.keys() == {"kty", "n", "e", "kid", "use", "alg"}


def test_who_comes_too_late_from_the_provider_begins_again(site: Here) -> None:
    back = site.at_provider("jansen", site.begin())
    session = site.session()
    assert session is not None
    session.seen -= timedelta(hours=1)
    assert "opnieuw" in site.browser.get(back).text
    assert site.person() is None

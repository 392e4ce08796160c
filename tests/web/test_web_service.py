"""Sign-in in a real browser on a running node: its own TLS, a real provider, officers that node.yaml does not name."""

import signal
import ssl
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
import yaml
from bekend_deploy.federation import Federation
from bekend_deploy.partners import HAARLEM, OM, ZSM_LOCAL
from bekend_node.web.provider import Provider
from bekend_proto.clock import SystemClock
from playwright.sync_api import Browser, Page

from tests.support.pki import Authority
from tests.support.provider import CLIENT, MFA, TestProvider, running
from tests.web.looks import assert_looks_right, assert_looks_right_everywhere
from tests.web.signing_in import ROLES, USERS, make_key, sign_in_at
from tests.web.test_web_officer import ASK, fill_in, outcomes

TOKENS = """@media (prefers-color-scheme: light) {
  :root {
    --bekend-kop: #4b1d5e;
    --basis-color-accent-1-inverse-bg-default: #4b1d5e;
    --basis-color-accent-1-color-default: #4b1d5e;
  }
}
"""


@pytest.fixture(scope="module")
def provider() -> Iterator[TestProvider]:
    with running(USERS) as found:
        yield found


@pytest.fixture(scope="module")
def origin(provider: TestProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The pages of the OM's node, with sign-in, TLS and colours of its own; one partner to ask."""
    folder = tmp_path_factory.mktemp("sign-in")
    with Federation.build(folder, persons=40, seed=7, pages=True) as made:
        node = made.built.nodes[OM.oin]
        origin = f"https://127.0.0.1:{node.pages}"
        key = make_key(node.folder)
        tls = Authority(node.folder / "pages-tls").issue(OM.oin)
        (node.folder / "huisstijl.css").write_text(TOKENS)
        config = yaml.safe_load(node.config.read_text())
        config["officers"] = []
        config["web"] |= {
            "origin": origin,
            "certificate": str(tls.certificate),
            "key": str(tls.key),
            "theme_css": "huisstijl.css",
            "sign_in": {
                "issuer": provider.issuer,
                "client_id": CLIENT,
                "key": key.name,
                "acr": [MFA],
                "roles": {value: list(roles) for value, roles in ROLES.items()},
            },
        }
        node.config.write_text(yaml.safe_dump(config))
        provider.register(origin, Provider(sign_in_at(provider, key), origin, SystemClock()).public_keys())
        # Not for trials: the node is started as it is in service.
        made.built.nodes[OM.oin] = replace(node, pages=None)  # type: ignore[index]
        made.start_broker()
        for oin in (OM.oin, HAARLEM.oin):
            made.start_node(oin)
        for work in made.imports():
            if work.node.partner is HAARLEM:
                made.enrol(work)
        provider.federation = made  # type: ignore[attr-defined]
        yield origin


@pytest.fixture
def federation(provider: TestProvider, origin: str) -> Federation:
    found: Federation = provider.federation  # type: ignore[attr-defined]
    return found


@pytest.fixture
def page(browser: Browser, origin: str) -> Iterator[Page]:
    context = browser.new_context(ignore_https_errors=True, viewport={"width": 1100, "height": 900})
    made = context.new_page()
    made.set_default_timeout(20_000)
    made.goto(origin)
    yield made
    context.close()


def sign_in(page: Page, user: str) -> Page:
    page.click("text=Inloggen bij mijn organisatie")
    page.click(f"button:has-text('{user}')")
    return page


def test_fg_45_who_signed_in_asks_without_standing_in_node_yaml(
    page: Page, federation: Federation, pictures: Path
) -> None:
    assert_looks_right(page)
    page.screenshot(path=pictures / "inloggen-begin.png", full_page=True)
    sign_in(page, "jansen")
    assert "J. Jansen" in page.inner_text("header")
    number = str(federation.population.fixed.everywhere)
    page.goto(f"{page.url.rsplit('/', 1)[0]}/bevragen/{ZSM_LOCAL}")
    deadline = time.monotonic() + 60
    while "nu niet bereikbaar" in page.inner_text(f"label:has(input[value='{HAARLEM.oin}'])"):
        assert time.monotonic() < deadline
        page.reload()
    fill_in(page, number, HAARLEM.oin)
    page.click(ASK)
    assert outcomes(page) == {HAARLEM.name: "bekend"}
    log = (federation.built.nodes[OM.oin].folder / "node.log").read_text()
    assert '"signed-in"' in log
    assert number not in log


def test_signing_out_asks_the_provider_again(page: Page) -> None:
    sign_in(page, "jansen")
    page.click("text=Uitloggen")
    page.wait_for_url("**/inloggen/uitgelogd**")
    assert "uitgelogd" in page.inner_text("[role=status]")
    page.go_back()
    assert "J. Jansen" not in page.content()
    page.goto(page.url.split("/inloggen")[0] + "/inloggen")
    page.click("text=Inloggen bij mijn organisatie")
    assert page.locator("button:has-text('jansen')").count() == 1


@pytest.mark.parametrize(
    ("user", "text"),
    [("zonder-mfa", "alleen een wachtwoord"), ("zonder-rol", "geen rol"), ("zonder-naam", "geen naam")],
)
def test_fg_45_who_may_not_come_in_reads_why(page: Page, pictures: Path, user: str, text: str) -> None:
    sign_in(page, user)
    assert text in page.inner_text("[role=alert]")
    assert_looks_right_everywhere(page, pictures, f"inloggen-{user}")


def test_going_back_to_a_used_callback_signs_nobody_in_twice(page: Page) -> None:
    seen: list[str] = []
    page.on("request", lambda request: seen.append(request.url))
    sign_in(page, "jansen")
    (callback,) = [url for url in seen if "/inloggen/terug?" in url]
    page.goto(callback)
    assert "al gebruikt" in page.inner_text("[role=alert]")
    assert "code=" not in page.evaluate("history.state + document.referrer")


def test_the_operator_sees_how_the_node_stands(page: Page, pictures: Path) -> None:
    sign_in(page, "bakker")
    page.click("nav a[href='/beheer']")
    assert page.get_attribute("html", "lang") == "en"
    assert "attached" in page.inner_text("main")
    assert_looks_right_everywhere(page, pictures, "beheer")


def test_who_is_no_operator_does_not(page: Page) -> None:
    sign_in(page, "jansen")
    assert page.goto(page.url.rsplit("/", 1)[0] + "/beheer").status == 403  # type: ignore[union-attr]


def test_pages_wear_the_partners_colours(page: Page, pictures: Path) -> None:
    assert page.evaluate("getComputedStyle(document.querySelector('.kop')).backgroundColor") == "rgb(75, 29, 94)"
    page.screenshot(path=pictures / "huisstijl.png", full_page=True)
    assert_looks_right(page)


HOSTILE = {
    "script": "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>",
    "template": "{{ 7919 * 7907 }}{% raw %}${7919*7907}",
    "null": "01/234567-26\x00\x01\x02",
    "long": "x" * 50_000,
    "too-long": "x" * 100_000,
    "right-to-left": "\u202e62-765432/10\u202c",
    "zero-width": "9\u200b9\u200b9\u200b9\u200b0\u200b0\u200b0\u200b0\u200b6",
    "digits-of-elsewhere": "٩٩٩٩٠٠٠٠٦",
    "wide-digits": "９９９９０００００６",
    "combining": "e\u0301" * 200,
    "surrogate": "%ED%A0%80",
    "lines": "a\r\nSet-Cookie: x=y\r\n\r\n<b>",
    "path": "../../../etc/passwd",
    "sql": "'; DROP TABLE rows; --",
    "empty": "",
    "blank": " \t\u00a0 ",
}
FIELDS = (
    "zaak",
    "soort",
    "persoon-1",
    "persoon-99",
    "voorwaarde-verdachte",
    "motivering-",
    "namens",
    "partner",
    "gezien",
)


@pytest.fixture(scope="module")
def desk(browser: Browser, origin: str) -> Iterator[httpx2.Client]:
    """A client of its own with the session of an officer: it sends what no browser would."""
    context = browser.new_context(ignore_https_errors=True)
    found = context.new_page()
    found.goto(origin)
    sign_in(found, "jansen")
    cookies = {one["name"]: one["value"] for one in context.cookies() if one["name"].startswith("__Host-")}
    headers = {
        "cookie": "; ".join(f"{name}={value}" for name, value in cookies.items()),
        "sec-fetch-site": "same-origin",
    }
    with httpx2.Client(base_url=origin, headers=headers, verify=False, timeout=30) as client:
        yield client
    context.close()


def filled_in(federation: Federation) -> dict[str, str | list[str]]:
    return {
        "zaak": "01/234567-26",
        "persoon-1": str(federation.population.fixed.nowhere),
        "voorwaarde-verdachte": "ja",
        "motivering-": "De afdoening van vandaag vraagt de lokale context.",
        "partner": [HAARLEM.oin],
    }


def assert_harmless(reply: httpx2.Response) -> None:
    """An answer on purpose, and nothing of what was sent as anything but text."""
    assert reply.status_code in {303, 400, 413, 422}, (reply.status_code, reply.text[-400:])
    assert "<script>alert" not in reply.text
    assert "<img src=x" not in reply.text
    assert str(7919 * 7907) not in reply.text
    assert reply.headers.get("set-cookie") is None
    assert reply.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_input_in_a_field_is_refused_or_shown_as_text(
    desk: httpx2.Client, federation: Federation, field: str, kind: str
) -> None:
    reply = desk.post(f"/bevragen/{ZSM_LOCAL}", data=filled_in(federation) | {field: HOSTILE[kind]})
    assert_harmless(reply)
    if field == "persoon-1":
        # A number is nine digits as everybody writes them, or it is no number.
        assert reply.status_code in {413, 422}
    if reply.status_code == 303:
        assert desk.get(reply.headers["location"]).status_code == 200


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_that_is_missing_or_comes_twice_breaks_nothing(
    desk: httpx2.Client, federation: Federation, field: str
) -> None:
    whole = filled_in(federation)
    left = {name: value for name, value in whole.items() if name != field}
    assert_harmless(desk.post(f"/bevragen/{ZSM_LOCAL}", data=left))
    value = whole.get(field, "x")
    twice = [*(value if isinstance(value, list) else [value]), "<script>alert(1)</script>"]
    assert_harmless(desk.post(f"/bevragen/{ZSM_LOCAL}", data=left | {field: twice}))


@pytest.mark.parametrize(
    "kind", ["application/json", "text/plain", "multipart/form-data; boundary=x", "application/xml"]
)
def test_a_form_of_another_kind_asks_nothing(desk: httpx2.Client, kind: str) -> None:
    reply = desk.post(f"/bevragen/{ZSM_LOCAL}", content=b'{"zaak": "01/234567-26"}', headers={"content-type": kind})
    assert_harmless(reply)
    assert reply.status_code in {400, 422}


@pytest.mark.parametrize(
    "path",
    ["/uitkomst/../../etc", "/uitkomst/%00", "/uitkomst/" + "x" * 5000, "/bevragen/x/%3Cscript%3E", "/uitkomst/😀"],
)
def test_an_address_that_was_made_up_leads_nowhere(desk: httpx2.Client, path: str) -> None:
    reply = desk.get(path)
    assert reply.status_code == 404
    assert "<script>" not in reply.text.replace("<script src", "")


def test_nothing_hostile_reached_the_log(federation: Federation) -> None:
    log = (federation.built.nodes[OM.oin].folder / "node.log").read_text()
    assert not any(word in log for word in ("alert(1)", "DROP TABLE", "etc/passwd", '"node-broken"'))


def test_a_renewed_certificate_is_shown_without_a_restart(federation: Federation, origin: str) -> None:
    node = federation.built.nodes[OM.oin]
    web = yaml.safe_load(node.config.read_text())["web"]
    port = int(origin.rsplit(":", 1)[1])
    before = ssl.get_server_certificate(("127.0.0.1", port))
    fresh = Authority(node.folder / "renewed").issue(OM.oin)
    Path(web["key"]).write_bytes(fresh.key.read_bytes())
    federation.nodes[OM.oin].signal(signal.SIGHUP)
    deadline = time.monotonic() + 20
    # Half of a pair: the old one stays.
    while "node-reload-refused" not in (node.folder / "node.log").read_text():
        assert time.monotonic() < deadline
    assert ssl.get_server_certificate(("127.0.0.1", port)) == before
    Path(web["certificate"]).write_bytes(fresh.certificate.read_bytes())
    federation.nodes[OM.oin].signal(signal.SIGHUP)
    while ssl.get_server_certificate(("127.0.0.1", port)) == before:
        assert time.monotonic() < deadline

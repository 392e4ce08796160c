"""The composition of the facade: its application, with what every reply goes out with, on a listener of its own."""

from collections.abc import Callable

from bekend_policy.model import Covenant
from bekend_policy.strict_yaml import load_yaml
from bekend_proto import logs
from bekend_proto.clock import Clock
from bekend_proto.errors import BekendError, KeysError
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bekend_node.ask.asker import Asker
from bekend_node.ask.team import Team
from bekend_node.config import Rest
from bekend_node.rest.description import VERSION
from bekend_node.rest.facade import Facade
from bekend_node.rest.issuer import Issuer
from bekend_node.rest.problems import BROKEN, METHOD, NOT_FOUND, UNREADABLE, Problem
from bekend_node.rest.proofs import Nonces, Proofs
from bekend_node.rest.questions import Questions
from bekend_node.rest.tokens import Tokens
from bekend_node.web.practice import Practice
from bekend_node.web.server import WebServer, is_loopback
from bekend_node.web.texts import Texts
from bekend_node.web.tls import PageTls

HEADERS = {
    "api-version": VERSION,
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "strict-transport-security": "max-age=31536000",
}
"""On every reply; the description alone may be kept."""


class Edge:
    """ASGI middleware around everything: the headers, and the nonce for the next proof (RFC 9449, section 8.2)."""

    def __init__(self, app: ASGIApp, nonces: Nonces) -> None:
        self._app = app
        self._nonces = nonces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add them to whatever goes out."""

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers["dpop-nonce"] = self._nonces.current
            await send(message)

        headers = Headers(scope=scope)
        if "transfer-encoding" in headers and "content-length" in headers:
            # RFC 9112, section 6.1: a proxy in front may have believed the other one. Nothing may follow here.
            refused = Problem(UNREADABLE, "Noem de lengte van het bericht een keer.", headers={"connection": "close"})
            await refused.response()(scope, receive, sent)
            return
        await self._app(scope, receive, sent)


def facade_of(config: Rest, *, asker: Asker, team: Team, covenant: Callable[[], Covenant], clock: Clock) -> WebServer:
    """The facade of a node, ready to start.

    Raises KeysError when it would travel in the open, or practise under a real covenant; TlsFilesError for a key or
    certificate that cannot be used; the strict loader's fault list for the file of test persons.
    """
    host, _, port = config.listen.rpartition(":")
    host = host.strip("[]")
    check_safe(config, host, demo=covenant().demo)
    tls = None
    if config.certificate and config.key:
        tls = PageTls(config.certificate, config.key, clock, config.client_authorities)
    app = application(config, asker=asker, team=team, covenant=covenant, clock=clock)
    return WebServer(app, host, int(port), tls, place="rest")


def application(config: Rest, *, asker: Asker, team: Team, covenant: Callable[[], Covenant], clock: Clock) -> ASGIApp:
    """The facade as an ASGI application."""
    say, proofs = Texts("nl"), Proofs(config.origin, clock, config.revocation(clock))
    facade = Facade(
        Tokens(config.tokens, proofs, Issuer(config.tokens, clock), clock),
        Questions(asker, covenant, clock, say),
        asker,
        team,
        covenant,
        clock,
        say,
        load_yaml(config.sandbox, Practice).persons if config.sandbox else (),
    )
    app = Starlette(
        routes=facade.routes(),
        exception_handlers={Problem: _problem, HTTPException: _http, BekendError: _fault, Exception: _broken},
    )
    app.router.redirect_slashes = False
    return Edge(app, proofs.nonces)


def check_safe(config: Rest, host: str, *, demo: bool) -> None:
    """Refuse a facade that would travel in the open, or take real persons for test persons. Raises KeysError."""
    if not config.origin.startswith("https://"):
        raise KeysError(f"`origin` under `rest` is {config.origin}: case systems ask over https alone")
    if (config.certificate is None) is not (config.key is None):
        raise KeysError("`certificate` and `key` under `rest` belong together: give both, or none")
    if config.certificate is None and config.client_authorities is not None:
        raise KeysError("`client_authorities` under `rest` needs `certificate` and `key`: a proxy ends the TLS before")
    if config.client_crl is not None and config.client_authorities is None:
        raise KeysError("`client_crl` under `rest` needs `client_authorities`: it says which of theirs were revoked")
    if config.certificate is None and not is_loopback(host):
        raise KeysError(
            f"the facade would travel without TLS at {config.listen}: give `certificate` and `key` under `rest`, or "
            "listen on loopback behind a proxy of your own"
        )
    if config.sandbox is not None and not demo:
        raise KeysError("`sandbox` under `rest` is for a demo covenant alone: leave it out")


async def _problem(_: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)
    return problem.response()


async def _http(_: Request, fault: Exception) -> Response:
    """What the router itself refuses: an address, or a method, that is not there."""
    assert isinstance(fault, HTTPException)
    if fault.status_code == METHOD.status:
        return Problem(METHOD, "Zie openapi.json.", headers=dict(fault.headers or {})).response()
    return Problem(NOT_FOUND, "Dit adres bestaat niet. Zie openapi.json.").response()


async def _fault(_: Request, fault: Exception) -> Response:
    """A disk that is full, say: the log has what it was."""
    logs.log(logs.REST_FAILED, exception=type(fault).__name__, place=logs.place_of(fault.__traceback__))
    return Problem(BROKEN, "Er is niets gevraagd. Probeer het opnieuw, of bel uw beheerder.").response()


async def _broken(request: Request, fault: Exception) -> Response:
    return await _fault(request, fault)

"""What all pages share: who is looking, the menu of that person's roles, templates, texts, redirects."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from bekend_policy.wording import term
from bekend_proto.clock import AMSTERDAM, from_milliseconds
from bekend_proto.errors import KeysError, RefusedError
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from bekend_node.ask.four_eyes import AtScreen
from bekend_node.ask.rules import OfficerRef
from bekend_node.web.sessions import COOKIE, Person, Session, Sessions
from bekend_node.web.texts import Texts

STATIC: Final = Path(__file__).with_name("static")

PROVIDER_SESSION: Final = "provider_session"
"""Key in a session's state: the ID token, which names the provider's own session when that is to end."""

Page = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class MenuItem:
    """One entry of the menu, for people with one of these roles; when None, with a role that no other entry names."""

    path: str
    text: str
    roles: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """What every page says about the node: its organisation, and whether this is a trial."""

    organisation: str
    dev: bool
    demo: bool
    theme: str = ""
    """Address of the partner's own style sheet; none when empty."""
    practice: bool = False
    """Whether there is a page of test persons."""


class Pages:
    """Renders templates for whoever is signed in."""

    def __init__(self, site: Callable[[], Site], sessions: Sessions, menu: Sequence[MenuItem]) -> None:
        self.site = site
        self._sessions = sessions
        self._menu = tuple(menu)
        self._texts = Texts("nl")
        self._templates = Environment(
            loader=PackageLoader("bekend_node.web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=False,
        )
        self._templates.globals.update(t=self._texts, static=_static)
        self._templates.filters.update(dag=written, moment=_moment, milli=_milli, tijd=_time, duur=term)

    def session(self, request: Request) -> Session | None:
        """The browser's session, if it has one that has not ended."""
        return self._sessions.find(request.cookies.get(COOKIE))

    def person(self, request: Request) -> Person:
        """Who is signed in. Raises NotSignedIn."""
        session = self.session(request)
        if session is None or session.person is None:
            raise NotSignedIn
        return session.person

    def signed_in(self, request: Request) -> tuple[Session, Person]:
        """The session of who is signed in. Raises NotSignedIn."""
        person = self.person(request)
        session = self.session(request)
        assert session is not None
        return session, person

    def is_open(self, request: Request) -> bool:
        """Whether somebody is signed in still. A page that waits asks this, and is no sign that somebody is there."""
        session = self._sessions.peek(request.cookies.get(COOKIE))
        return session is not None and session.person is not None

    def in_role(self, request: Request, role: str) -> tuple[Session, Person]:
        """The same, for people with this role. Raises NotSignedIn, HTTPException 403."""
        session, person = self.signed_in(request)
        if role not in person.roles:
            raise HTTPException(403)
        return session, person

    def render(self, request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        """A page."""
        return HTMLResponse(self.fragment(request, template, **values), status_code=status)

    def fragment(self, request: Request, template: str, **values: Any) -> str:
        """The text of a template, whole page or part of one."""
        session = self._sessions.peek(request.cookies.get(COOKIE))
        person = session.person if session else None
        common = {"site": self.site(), "person": person, "menu": self._menu_of(person, request.url.path)}
        return self._templates.get_template(template).render({**common, **values})

    def text(self, key: str, /, **values: object) -> str:
        """One sentence of the texts."""
        return self._texts(key, **values)

    def refusal(self, refusal: RefusedError) -> str:
        """What the rules say, and which rule it is."""
        return self.text("fout.regel", reden=refusal.reason, regel=refusal.rule)

    def failed(self, request: Request, status: int) -> HTMLResponse:
        """The page for what went wrong: says what to do, never what was asked."""
        key = f"fout.{status}" if status in {403, 404, 405, 408, 413} else "fout.500"
        return self.render(request, "fout.html.j2", status, message=self._texts(key))

    def first_of(self, person: Person) -> str:
        """Where somebody starts: the first entry of the own menu."""
        return next((one.path for one in self._shown_to(person)), self._menu[0].path)

    def _menu_of(self, person: Person | None, path: str) -> list[dict[str, object]]:
        return [
            {"path": one.path, "text": one.text, "here": path == one.path or path.startswith(one.path + "/")}
            for one in (self._shown_to(person) if person else ())
        ]

    def _shown_to(self, person: Person) -> list[MenuItem]:
        named = {role for one in self._menu for role in one.roles or ()}
        asks = bool(set(person.roles) - named)
        return [one for one in self._menu if (asks if one.roles is None else one.roles & set(person.roles))]


class NotSignedIn(Exception):  # noqa: N818 - no fault: the way to sign in follows
    """Nobody is signed in."""


def officers_of(person: Person) -> list[OfficerRef]:
    """This person in each of the roles, as the node's own objects know an officer."""
    return [OfficerRef(person.user, person.name, role) for role in person.roles]


def at_screen(session: Session, person: Person) -> AtScreen:
    """This person as the rules on a second pair of eyes see who looks."""
    return AtScreen(person.user, (person.name,), person.roles, session.name)


def see_other(path: str) -> RedirectResponse:
    """Go on with a GET: a refreshed page sends nothing twice."""
    return RedirectResponse(path, status_code=303)


def typed(form: FormData, name: str) -> str:
    """What was typed in a field; empty when it was not sent, or is a file."""
    value = form.get(name, "")
    return value.strip() if isinstance(value, str) else ""


def typed_day(form: FormData, name: str) -> date:
    """A day as people write it, 26-11-2026, or as machines do, 2026-11-26. Raises ValueError."""
    text = typed(form, name)
    return datetime.strptime(text, "%Y-%m-%d" if text[4:5] == "-" else "%d-%m-%Y").date()  # noqa: DTZ007 - no moment


def attachment(text: str | bytes, name: str, media_type: str = "text/plain") -> Response:
    """A file to keep."""
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(text, media_type=f"{media_type}; charset=utf-8", headers=headers)


def receipt_file(receipt: Mapping[str, Any]) -> Response:
    """A receipt to keep in the case file."""
    return attachment(json.dumps(receipt, indent=1) + "\n", "ontvangstbewijs.json", "application/json")


def said_of(fault: KeysError) -> str:
    """What is wrong with a text to sign, as a sentence: without the kind of text in front."""
    said = fault.detail.removeprefix("standaardbesluit: ").removeprefix("stilzetting: ").rstrip(".")
    return f"{said[:1].upper()}{said[1:]}."


def give_cookie(response: Response, session: Session) -> None:
    """The session's cookie: for this host, over TLS, out of reach of scripts and of other sites."""
    response.set_cookie(COOKIE, session.id, path="/", secure=True, httponly=True, samesite="lax")


def take_cookie(response: Response) -> None:
    """Take the cookie away."""
    response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="lax")


def written(day: date | str) -> str:
    """A day as people write it: 26-11-2026."""
    return f"{date.fromisoformat(str(day)):%d-%m-%Y}"


def _moment(moment: datetime | str) -> str:
    """A moment as the clock on the wall shows it."""
    return f"{_on_the_wall(moment):%d-%m-%Y %H:%M}"


def _milli(at: int) -> str:
    """The same, for milliseconds since 1970."""
    return _moment(from_milliseconds(at))


def _time(moment: datetime | str) -> str:
    """The same, without the day."""
    return f"{_on_the_wall(moment):%H:%M}"


def _on_the_wall(moment: datetime | str) -> datetime:
    aware = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    try:
        return aware.astimezone(AMSTERDAM)
    except OverflowError:
        # The last hours of the year 9999, which a partner may write for "no end": the wall has no such day.
        return aware


_VERSIONS: dict[str, str] = {}


def _static(name: str) -> str:
    """The address of a file of the site; it changes with the file, so that a browser may keep it for long."""
    if name not in _VERSIONS and (path := STATIC / name).is_file():
        _VERSIONS[name] = sha256(path.read_bytes()).hexdigest()[:12]
    return f"/static/{name}?v={_VERSIONS.get(name, '0')}"

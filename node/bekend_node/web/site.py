"""The composition of the pages: which parts of the node each role's pages stand on."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from bekend_policy.model import Covenant
from bekend_policy.suspension import Suspensions
from bekend_proto.clock import Clock
from bekend_proto.errors import KeysError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bekend_node.ask.asker import Asker
from bekend_node.ask.team import Team
from bekend_node.audit.requests import AuditDesk
from bekend_node.config import DeskColleague, Officer, Web
from bekend_node.control_late import LateDesk
from bekend_node.covenants import Proposed
from bekend_node.desk.decisions import Desk
from bekend_node.halting import Halting
from bekend_node.log_health import LogHealth
from bekend_node.log_reading import LogReading
from bekend_node.mail import Notices
from bekend_node.records.desk import RecordsDesk
from bekend_node.rules import Rules
from bekend_node.signal_reading import SignalReading
from bekend_node.status import Rows
from bekend_node.suspending import Install
from bekend_node.web import devsignin, operator
from bekend_node.web.app import build
from bekend_node.web.consent import ConsentPages
from bekend_node.web.correcting import CorrectingPages
from bekend_node.web.desk import ROLE as DESK_ROLE
from bekend_node.web.desk import DeskPages
from bekend_node.web.eyes import EyesPages
from bekend_node.web.in_contact import InContact
from bekend_node.web.late import LatePages
from bekend_node.web.officer import OfficerPages
from bekend_node.web.pages import MenuItem, Pages, Site, see_other
from bekend_node.web.practice import PracticePages
from bekend_node.web.privacy import ROLE as PRIVACY_ROLE
from bekend_node.web.privacy import PrivacyPages
from bekend_node.web.privacy_eyes import EmergencyPages
from bekend_node.web.privacy_oversight import PrivacyOversight
from bekend_node.web.privacy_work import PrivacyWork
from bekend_node.web.provider import Provider
from bekend_node.web.reach import Reach
from bekend_node.web.running import forget_case
from bekend_node.web.server import WebServer, is_loopback
from bekend_node.web.sessions import Person, Sessions
from bekend_node.web.signin import SignInPages
from bekend_node.web.theme import Theme
from bekend_node.web.tls import PageTls
from bekend_node.web.worklist import WorklistPages

MENU = (
    MenuItem("/bevragen", "menu.bevragen"),
    MenuItem("/werklijst", "menu.werklijst"),
    MenuItem("/zaken", "menu.zaken"),
    MenuItem("/meekijken", "menu.meekijken"),
    MenuItem("/toestemming", "menu.toestemming"),
    MenuItem("/beheer", "menu.beheer", frozenset({operator.ROLE})),
)

INSIDE = (
    MenuItem("/loket", "menu.loket", frozenset({DESK_ROLE})),
    MenuItem("/privacy", "menu.privacy", frozenset({PRIVACY_ROLE})),
)


@dataclass(frozen=True)
class Inside:
    """What the pages of the desk and the privacy officer stand on."""

    rules: Callable[[], Rules]
    held: Suspensions
    desk: Desk
    colleagues: Sequence[DeskColleague]
    install: Install
    log_reading: LogReading
    records: RecordsDesk
    halting: Halting
    audits: AuditDesk
    signals: SignalReading
    proposed: Callable[[], Awaitable[Sequence[Proposed]]]
    fetch: Callable[[], Awaitable[object]]
    versions: Callable[[], int]
    logs: Callable[[], Awaitable[Sequence[LogHealth]]]
    own_log: Callable[[], tuple[int, int]]


def pages_of(
    config: Web,
    *,
    oin: str,
    asker: Asker,
    covenant: Callable[[], Covenant],
    officers: Sequence[Officer],
    contact: Callable[[str], str | None],
    status: Callable[[], Mapping[str, Any]],
    rows: Rows,
    team: Team,
    notices: Notices,
    clock: Clock,
    dev: bool,
    inside: Inside | None = None,
    signals: SignalReading | None = None,
) -> WebServer:
    """The pages of a node, ready to start. `dev`: whoever reaches them picks a person of node.yaml.

    Raises KeysError when they would be served without sign-in, or beyond this machine without TLS; TlsFilesError for
    a key or certificate that cannot be used; StorageError or YamlFaults for a theme or a practice file.
    """
    host, _, port = config.listen.rpartition(":")
    host = host.strip("[]")
    check_safe(config, host, dev=dev)
    tls = PageTls(config.certificate, config.key, clock) if config.certificate and config.key else None
    theme = Theme(config.theme_css) if config.theme_css else None
    sessions = Sessions(clock)

    def site() -> Site:
        now = covenant()
        return Site(
            now.participants[oin].name,
            dev=dev,
            demo=now.demo,
            theme=theme.address if theme else "",
            practice=now.demo and config.practice is not None,
        )

    pages = Pages(site, sessions, (*MENU, *(INSIDE if inside else ())))
    reading = signals or (inside.signals if inside else None)
    reach, late = Reach(asker, clock), LateDesk(asker, covenant, oin, team, notices.waiting)
    marks = InContact(clock)
    officer = OfficerPages(pages, asker, covenant, oin, contact, clock, reach, marks)
    worklist = WorklistPages(pages, asker, covenant, clock, reach)
    answers = LatePages(pages, asker, late, team, marks, notices, covenant, oin, clock)
    consents = ConsentPages(pages, late, reach, covenant, oin, contact, clock)

    people = _people(officers, inside.colleagues if inside else ())

    def lapsed(case: str) -> None:
        """Nobody's session shows a case any more that was not taken in."""
        marks.forget_case(case)
        for session in sessions.of_people():
            forget_case(session, case)

    asker.cases.watch_lapses(lapsed)

    async def first(request: Request) -> Response:
        return see_other(pages.first_of(pages.person(request)))

    routes = [
        *_sign_in(config, pages, sessions, people, team, clock=clock, dev=dev),
        Route("/", first, methods=["GET"]),
        *officer.routes(),
        *worklist.routes(),
        *answers.routes(),
        *consents.routes(),
        *EyesPages(pages, asker, covenant, oin).routes(),
        *CorrectingPages(pages, asker, late, covenant, oin).routes(),
        *(EmergencyPages(pages, asker, reading, covenant, clock).routes() if reading else ()),
        *(_inside(pages, inside, status, clock) if inside else ()),
        *operator.OperatorPages(pages, status, rows).routes(),
        *(PracticePages(pages, config.practice).routes() if config.practice else ()),
        *(theme.routes() if theme else ()),
    ]
    app = build(config.origin, pages, sessions, routes)
    return WebServer(app, host, int(port), tls)


def _inside(pages: Pages, inside: Inside, status: Callable[[], Mapping[str, Any]], clock: Clock) -> list[Route]:
    desk = DeskPages(pages, inside.desk, inside.rules, inside.held, clock)
    privacy = PrivacyPages(
        pages,
        inside.rules,
        inside.held,
        inside.install,
        inside.log_reading,
        status=status,
        audits=inside.audits.waiting,
        versions=inside.versions,
        clock=clock,
    )
    work = PrivacyWork(pages, inside.rules, inside.records, inside.halting, inside.audits, status=status, clock=clock)
    oversight = PrivacyOversight(
        pages,
        inside.rules,
        inside.proposed,
        inside.fetch,
        inside.logs,
        inside.own_log,
        inside.signals,
        status=status,
        clock=clock,
    )
    return [*desk.routes(), *privacy.routes(), *work.routes(), *oversight.routes()]


def check_safe(config: Web, host: str, *, dev: bool) -> None:
    """Refuse pages that anybody could use, or that would travel in the open. Raises KeysError."""
    name = urlsplit(config.origin).hostname or ""
    if dev:
        if not (is_loopback(host) and is_loopback(name)):
            raise KeysError(
                f"--dev serves pages without sign-in, so on loopback alone: not at {config.listen} as {config.origin}"
            )
        return
    if config.sign_in is None:
        raise KeysError("the pages have no way to sign in: configure `sign_in` under `web`, or use --dev for a trial")
    if not config.origin.startswith("https://"):
        raise KeysError(f"`origin` under `web` is {config.origin}: people sign in over https alone")
    if (config.certificate is None) is not (config.key is None):
        raise KeysError("`certificate` and `key` under `web` belong together: give both, or none")
    if config.certificate is None and not is_loopback(host):
        raise KeysError(
            f"the pages would travel without TLS at {config.listen}: give `certificate` and `key` under `web`, or "
            "listen on loopback behind a proxy of your own"
        )


def _sign_in(
    config: Web,
    pages: Pages,
    sessions: Sessions,
    people: Sequence[Person],
    team: Team,
    *,
    clock: Clock,
    dev: bool,
) -> list[Route]:
    if dev or config.sign_in is None:
        return devsignin.routes(pages, sessions, people)
    provider = Provider(config.sign_in, config.origin, clock)

    async def known(person: Person) -> None:
        await team.signed_in(person.user, person.name, person.roles, person.mail)

    return SignInPages(pages, sessions, provider, config.sign_in, clock, signed_in=known).routes()


def _people(officers: Sequence[Officer], colleagues: Sequence[DeskColleague]) -> list[Person]:
    """Each user of node.yaml once, with all roles."""
    named = [(one.user, one.name, one.role) for one in officers]
    named += [(one.user, one.name, DESK_ROLE) for one in colleagues]
    roles: dict[str, list[str]] = {}
    for user, _, role in named:
        roles.setdefault(user, []).append(role)
    names = {user: name for user, name, _ in reversed(named)}
    return [Person(user, names[user], tuple(dict.fromkeys(own))) for user, own in roles.items()]

"""What went wrong, as RFC 9457 says it: a kind, a sentence for the officer, and never a value that was sent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.responses import JSONResponse

MEDIA_TYPE: Final = "application/problem+json"
_TYPE: Final = "urn:bekend:probleem:"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of problem: the last part of its type, the status that it comes with, and its title."""

    name: str
    status: int
    title: str


UNREADABLE: Final = Kind("bericht", 400, "Het bericht kan niet worden gelezen")
NO_KEY: Final = Kind("geen-sleutel", 400, "De Idempotency-Key ontbreekt of heeft niet de goede vorm")
NO_PROOF: Final = Kind("geen-bewijs", 401, "Er is geen geldig bewijs van wie vraagt")
MACHINE: Final = Kind("alleen-mensen", 403, "Alleen een medewerker vraagt, een systeem op zichzelf niet")
NOT_ALLOWED: Final = Kind("mag-niet", 403, "Deze medewerker mag dit niet")
SANDBOX: Final = Kind("proef", 403, "Dit is een proefopstelling")
NOT_FOUND: Final = Kind("niet-gevonden", 404, "Dit staat hier niet")
METHOD: Final = Kind("methode", 405, "Zo kan dit adres niet worden gebruikt")
TOO_SLOW: Final = Kind("te-traag", 408, "Het versturen duurde te lang")
NOT_YET: Final = Kind("nog-niet", 409, "Dit kan nog niet, of niet meer")
GONE: Final = Kind("vervallen", 410, "Dit is verlopen of gewist")
TOO_LARGE: Final = Kind("te-groot", 413, "Het bericht is te groot")
MEDIA: Final = Kind("mediatype", 415, "Het bericht is geen JSON")
OTHER_BODY: Final = Kind("sleutel-gebruikt", 422, "Onder deze Idempotency-Key staat een andere vraag")
CONTENT: Final = Kind("inhoud", 422, "De vraag is niet goed ingevuld")
RULE: Final = Kind("regel", 422, "De afspraken laten deze vraag niet toe")
WARNING: Final = Kind("waarschuwing", 422, "Kijk eerst zelf naar de motivering")
FULL: Final = Kind("vol", 429, "Er staan te veel vragen van deze medewerker open")
BROKEN: Final = Kind("storing", 500, "Er ging iets mis")
PROVIDER: Final = Kind("inlogdienst", 503, "De inlogdienst van de organisatie is niet bereikbaar")

KINDS: Final = tuple(one for one in list(globals().values()) if isinstance(one, Kind))


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one field of a message; `place` is a JSON Pointer (RFC 6901)."""

    place: str
    reason: str


class Problem(Exception):  # noqa: N818 - an answer, and no fault of ours
    """The answer to a request that is not carried out. `detail` is Dutch, for the officer."""

    def __init__(
        self,
        kind: Kind,
        detail: str,
        *,
        rule: str = "",
        faults: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
        code: str = "",
    ) -> None:
        self.kind = kind
        self.detail = detail
        self.rule = rule
        self.faults = tuple(faults)
        self.headers = dict(headers or {})
        self.code = code
        """For the log: which check it was."""
        super().__init__(kind.name)

    def to_json(self) -> dict[str, Any]:
        """The members of the problem."""
        found: dict[str, Any] = {
            "type": _TYPE + self.kind.name,
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": self.detail,
        }
        if self.rule:
            found["regel"] = self.rule
        if self.faults:
            found["fouten"] = [{"plaats": one.place, "reden": one.reason} for one in self.faults]
        return found

    def response(self) -> JSONResponse:
        """The reply."""
        return JSONResponse(self.to_json(), self.kind.status, self.headers, MEDIA_TYPE)

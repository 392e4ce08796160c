"""How soon the first partner's answer stands on the officer's page, beside the same lookup as a command makes it.

The time is that from the first octet of the form until the octets that show an answer have come: the form, the page
that it leads to, and its stream. A browser's own drawing comes on top. One connection, kept open, as browsers do.
"""

import http.client
import random
import re
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Final
from urllib.parse import urlencode

from bekend_deploy.questions import CASES, CONDITIONS

from bekend_bench.figures import Figure, at_most, median, percentile
from bekend_bench.filling import PURPOSE
from bekend_bench.ground import GROUP, REQUESTER, Ground, a_person
from bekend_bench.lookups import Effort, Officer, WrongOutcomeError

PART: Final = "page"
_ANSWER: Final = re.compile(r"uitkomst-(bekend|geen_uitsluitsel)\b")
_FAULT: Final = re.compile(r"uitkomst-geen_antwoord\b|melding-fout")
_SECONDS: Final = 20
PER_SESSION: Final = 40
"""Questions before the officer signs in anew, outside what is timed: a session holds so many lookups and no more."""
_REASON: Final = "De afdoening vraagt de lokale context."


class Browser:
    """One officer's browser at the pages of the asking node, signed in as the demo does."""

    def __init__(self, port: int, purpose: str, case: str, conditions: Collection[str], *, kind: str = "test") -> None:
        self._path = f"/bevragen/{purpose}"
        self._fixed = [("zaak", case), ("soort", kind), *((f"voorwaarde-{one}", "ja") for one in conditions)]
        self._line = http.client.HTTPConnection("127.0.0.1", port, timeout=_SECONDS)
        self._headers: dict[str, str] = {}
        self._asked = 0
        self._sign_in()

    def _sign_in(self) -> None:
        """A new session, and the form once, so that the filters are at hand."""
        self._headers = {"sec-fetch-site": "same-origin"}
        user = re.search(r'name="user" value="([^"]+)"', self._get("/inloggen"))
        assert user is not None
        reply = self._send("POST", "/inloggen", urlencode({"user": user[1]}))
        self._headers["cookie"] = str(reply.headers["set-cookie"]).partition(";")[0]
        reply.read()
        self._get(self._path)

    def ask(self, person: str, sources: Sequence[str]) -> float:
        """One question about this person; seconds until the first answer is there. Raises WrongOutcomeError."""
        if self._asked and self._asked % PER_SESSION == 0:
            self._sign_in()
        self._asked += 1
        form = urlencode(
            [
                *self._fixed,
                ("persoon-1", person),
                ("motivering-", _REASON),
                *(("partner", oin) for oin in sources),
            ]
        )
        began = time.perf_counter()
        reply = self._send("POST", self._path, form)
        reply.read()
        if reply.status != 303:
            raise WrongOutcomeError(f"the form was answered with {reply.status}")
        address = reply.headers["location"]
        shown = self._get(address)
        if not _ANSWER.search(shown):
            return self._stream(f"{address}/stroom", began)
        return time.perf_counter() - began

    def close(self) -> None:
        """Hang up."""
        self._line.close()

    def _stream(self, path: str, began: float) -> float:
        reply = self._send("GET", path)
        first = None
        # To its end: the connection then takes the next request.
        for line in reply:
            text = line.decode("utf-8")
            if _FAULT.search(text):
                raise WrongOutcomeError("a partner gave no answer")
            if first is None and _ANSWER.search(text):
                first = time.perf_counter() - began
        if first is None:
            raise WrongOutcomeError("no partner answered")
        return first

    def _get(self, path: str) -> str:
        reply = self._send("GET", path)
        text = reply.read().decode("utf-8")
        if reply.status != http.client.OK:
            raise WrongOutcomeError(f"a page was answered with {reply.status}")
        return text

    def _send(self, method: str, path: str, body: str | None = None) -> http.client.HTTPResponse:
        kind = {"content-type": "application/x-www-form-urlencoded"} if body is not None else {}
        self._line.request(method, path, body, {**self._headers, **kind})
        return self._line.getresponse()


def measure(field: Ground, effort: Effort) -> Iterator[Figure]:
    """Six partners: pages and commands by turns, so that both meet the same noise."""
    sources = field.sources[:GROUP]
    port = field.federation.built.nodes[REQUESTER.oin].pages
    assert port is not None
    browser = Browser(port, PURPOSE, CASES[PURPOSE], CONDITIONS[PURPOSE])
    officer = Officer(field.federation)
    oins = [one.oin for one in sources]
    draw = random.Random()  # noqa: S311 - persons, not keys
    pairs = [(browser.ask(a_person(draw), oins), officer.ask(sources)) for _ in range(5 + effort.sequential // 2)][5:]
    browser.close()
    officer.close()
    pages, commands = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    what = f"{GROUP} partners, first answer on the page"
    yield Figure(PART, f"{what}, p50", median(pages) * 1e3, "ms", None, at_most(300))
    yield Figure(PART, f"{what}, p99", percentile(pages, 0.99) * 1e3, "ms")
    yield Figure(PART, f"{GROUP} partners, whole lookup over the socket, p50", median(commands) * 1e3, "ms")
    yield Figure(PART, f"{what}, against the lookup over the socket", median(pages) / median(commands), "times")

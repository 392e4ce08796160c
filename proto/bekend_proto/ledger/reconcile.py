"""Whether the logs of broker, requesters and sources tell of the same questions (protocol section 10).

    entry at           says that                                   so it must be at
    broker: question   the broker passed on a Question             requester: asked
    source: answered   the source answers it                       broker, requester: asked
    requester: told    an authentic Answer came                    broker, source: answered
    promise            the broker logged it, here                  broker, at that place

What nobody says, nobody misses: a Question that was asked but refused, or that never arrived, stands at the requester
alone, and one that was not answered at requester and broker. A finding names the log in which something is missing or
other than everybody else says; an entry there that nobody knows, between the same parties at the same time, is what
stands in its place. Judged are entries dated within the period; exports reach further on both sides, so that what was
under way at a border is not missed.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from bekend_proto.checkpoint import log_id
from bekend_proto.errors import BekendError, MalformedError
from bekend_proto.ledger.exported import Export, checkpoint_of
from bekend_proto.ledger.findings import Finding, Kind
from bekend_proto.ledger.keys import Keys
from bekend_proto.ledger.verify import SKEW, promise_of
from bekend_proto.log_table import Entry

MARGIN: Final = 600_000
"""Milliseconds by which an export reaches beyond its period on either side."""


class _Place(NamedTuple):
    """Where an entry stands, or should: a kind of entry in a log."""

    log: str
    kind: str


@dataclass(frozen=True)
class Reconciled:
    """What the logs of a period say together. `unanswered`: admitted, and nobody says that an answer came."""

    findings: tuple[Finding, ...]
    questions: int
    answered: int
    unanswered: int
    not_admitted: int


@dataclass
class _Books:
    """The entries of all exports, by place and hash."""

    exports: Sequence[Export]
    held: dict[_Place, dict[bytes, Entry]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for export in self.exports:
            for _, entry in export.shown:
                self.held.setdefault(_Place(export.log, entry.kind), {}).setdefault(entry.hash, entry)
        self.nodes = {export.owner: export for export in self.exports if export.is_node}
        self.brokers = [export for export in self.exports if not export.is_node]

    def of(self, log: str, kind: str) -> dict[bytes, Entry]:
        return self.held.get(_Place(log, kind), {})

    def at_broker(self, name: bytes) -> list[tuple[str, Entry]]:
        found = ((export.log, self.of(export.log, "question").get(name)) for export in self.brokers)
        return [(log, entry) for log, entry in found if entry is not None]

    def at_node(self, oin: str, kind: str) -> dict[bytes, Entry] | None:
        """The entries of a node; None when its export is not here."""
        return self.of(self.nodes[oin].log, kind) if oin in self.nodes else None


def reconcile(exports: Sequence[Export], keys: Keys, since: int, until: int) -> Reconciled:
    """Compare verified exports over a period, in milliseconds since 1970.

    Raises MalformedError when an export does not reach over the period and its margin, two are of one log, or there is
    none of a broker and none of a node.
    """
    _check_cover(exports, since, until)
    books = _Books(exports)
    missing: dict[tuple[_Place, bytes], Entry] = {}
    for place, entry in _missing(books, since, until):
        missing.setdefault((place, entry.hash), entry)
    findings, explained = _weigh(missing, _strangers(books))
    for more in (
        _unknown_told(books, since, until),
        _differing(books, since, until),
        _promises(books, keys, since, until),
        _seen(books),
        _twice(books),
    ):
        findings += more
    kept = {one for one in findings if bytes.fromhex(one.hash) not in explained}
    return Reconciled(tuple(sorted(kept)), **_counts(books, since, until))


def _weigh(
    missing: dict[tuple[_Place, bytes], Entry], strangers: dict[_Place, list[Entry]]
) -> tuple[list[Finding], set[bytes]]:
    """What is missing, and what stands in its place: the hashes of that too, which need no finding of their own."""
    findings = []
    explained: set[bytes] = set()
    for (place, name), entry in missing.items():
        other = _in_its_place([one for one in strangers.get(place, ()) if one.hash not in explained], entry)
        if other is None:
            detail = f"{place.kind} of {entry.requester} to {entry.source} is not there: another log speaks of it"
            findings.append(Finding(Kind.HIDDEN, place.log, name.hex(), detail))
            continue
        explained.add(other.hash)
        detail = f"{place.kind}: {other.hash.hex()} stands in its place, which nobody else knows"
        findings.append(Finding(Kind.ALTERED, place.log, name.hex(), detail))
    return findings, explained


def _in_its_place(strangers: Iterable[Entry], entry: Entry) -> Entry | None:
    """The stranger between the same parties that is nearest in time."""
    near = [
        one
        for one in strangers
        if (one.requester, one.source) == (entry.requester, entry.source) and abs(one.at - entry.at) <= SKEW
    ]
    return min(near, key=lambda one: abs(one.at - entry.at), default=None)


def _check_cover(exports: Sequence[Export], since: int, until: int) -> None:
    names = [export.log for export in exports]
    if len(set(names)) != len(names):
        raise MalformedError("two exports are of one log: give one of each")
    if not any(export.is_node for export in exports) or all(export.is_node for export in exports):
        raise MalformedError("give the broker's export (of every replica) and at least one of a node")
    for export in exports:
        early = export.first == 0 or export.since <= since - MARGIN
        late = export.until >= until + MARGIN
        if not early or not late:
            raise MalformedError(f"{export.log}: the export does not reach over the period: make it with the same one")
        if export.made < until + SKEW:
            # What was under way then stands in one log already, and not in another yet.
            raise MalformedError(f"{export.log} was exported within two minutes of the period's end: end it earlier")


def _missing(books: _Books, since: int, until: int) -> Iterator[tuple[_Place, Entry]]:
    """Every place where an entry is missing of which another log of the period speaks."""
    for entry in _within(books, "question", since, until):
        yield from _missing_at_node(books, entry.requester, "asked", entry)
    for entry in _within(books, "answered", since, until):
        yield from _missing_at_broker(books, entry)
        yield from _missing_at_node(books, entry.requester, "asked", entry)
    for entry in _within(books, "told", since, until):
        if _is_known_elsewhere(books, entry):
            yield from _missing_at_node(books, entry.requester, "asked", entry)
        elif entry.hash not in (books.at_node(entry.requester, "asked") or {}):
            continue
        yield from _missing_at_broker(books, entry)
        yield from _missing_at_node(books, entry.source, "answered", entry)


def _within(books: _Books, kind: str, since: int, until: int) -> Iterator[Entry]:
    for place, entries in books.held.items():
        if place.kind == kind:
            yield from (entry for entry in entries.values() if since <= entry.at < until)


def _missing_at_node(books: _Books, oin: str, kind: str, entry: Entry) -> Iterator[tuple[_Place, Entry]]:
    there = books.at_node(oin, kind)
    if there is not None and entry.hash not in there:
        yield _Place(books.nodes[oin].log, kind), entry


def _missing_at_broker(books: _Books, entry: Entry) -> Iterator[tuple[_Place, Entry]]:
    if not books.at_broker(entry.hash):
        # With several replicas nobody can say which one it was: the first stands for all.
        yield _Place(books.brokers[0].log, "question"), entry


def _is_known_elsewhere(books: _Books, entry: Entry) -> bool:
    return bool(books.at_broker(entry.hash)) or entry.hash in (books.at_node(entry.source, "answered") or {})


def _strangers(books: _Books) -> dict[_Place, list[Entry]]:
    """Per place the entries that no other log knows, though it should."""
    found: dict[_Place, list[Entry]] = defaultdict(list)
    for place, entries in books.held.items():
        for entry in entries.values():
            asked = books.at_node(entry.requester, "asked")
            answered = books.at_node(entry.source, "answered")
            known = {
                "question": entry.hash in (asked or {}) or entry.hash in (answered or {}),
                "asked": bool(books.at_broker(entry.hash)) or entry.hash in (answered or {}),
                "answered": bool(books.at_broker(entry.hash)) or entry.hash in (asked or {}),
            }
            if not known.get(place.kind, True):
                found[place].append(entry)
    return found


def _unknown_told(books: _Books, since: int, until: int) -> list[Finding]:
    """An Answer to a Question that nobody asked: the requester's own log contradicts itself."""
    found = []
    for entry in _within(books, "told", since, until):
        if entry.hash not in (books.at_node(entry.requester, "asked") or {}) and not _is_known_elsewhere(books, entry):
            detail = "told: an Answer to a Question that stands in no log"
            found.append(Finding(Kind.ALTERED, books.nodes[entry.requester].log, entry.hash.hex(), detail))
    return found


def _differing(books: _Books, since: int, until: int) -> list[Finding]:
    """Entries of one Question that name other parties, or another time, than the others do."""
    found = []
    names = {one.hash for kind in ("question", "asked", "answered") for one in _within(books, kind, since, until)}
    for name in names:
        told = dict(books.at_broker(name))
        for export in books.nodes.values():
            for kind in ("asked", "answered"):
                entry = books.of(export.log, kind).get(name)
                if entry is not None:
                    told[f"{export.log} {kind}"] = entry
        for place, entry in told.items():
            others = [one for other, one in told.items() if other != place]
            if others and not any(_agree(entry, one) for one in others):
                log, _, kind = place.partition(" ")
                detail = f"{kind or 'question'}: parties or time differ from what the others say"
                found.append(Finding(Kind.ALTERED, log, name.hex(), detail))
    return found


def _agree(one: Entry, other: Entry) -> bool:
    return (one.requester, one.source) == (other.requester, other.source) and abs(one.at - other.at) <= SKEW


def _promises(books: _Books, keys: Keys, since: int, until: int) -> list[Finding]:
    """What the broker promised stands in its log, at the place that it named."""
    logs = {log_id(export.log): export for export in books.brokers}
    found = []
    for export in books.nodes.values():
        for signed in export.promises:
            try:
                promise = promise_of(signed, keys)
            except (BekendError, ValueError):
                continue  # `verify` said so
            broker = logs.get(promise.log_id)
            if broker is None or not since <= promise.time < until:
                continue
            for one in promise.promised:
                owed = Entry("question", one.question_hash, promise.time, promise.requester, one.source)
                place = one.index - broker.first
                if not 0 <= place < len(broker.entries) or broker.entries[place] != owed:
                    detail = f"promised as entry {one.index}; something else stands there, or nothing"
                    found.append(Finding(Kind.PROMISE, broker.log, one.question_hash.hex(), detail))
    return found


def _seen(books: _Books) -> list[Finding]:
    """What others saw of a log is what it says now."""
    heads: dict[str, list[tuple[Export, int, bytes]]] = defaultdict(list)
    for export in books.exports:
        for note in export.seen:
            head = checkpoint_of(note)
            heads[head.origin].append((export, head.size, head.root))
    found = []
    for export in books.exports:
        roots = export.roots(size for _, size, _ in heads[export.log])
        for witness, size, root in heads[export.log]:
            reached = size in roots or size > export.size
            if reached and roots.get(size) != root:
                detail = f"{witness.owner} saw another log of {size} entries"
                found.append(Finding(Kind.REWRITTEN, export.log, "", detail))
    return found


def _twice(books: _Books) -> list[Finding]:
    """One Question in the logs of two replicas."""
    found = []
    for export in books.brokers[1:]:
        for name in books.of(export.log, "question"):
            first = books.at_broker(name)[0][0]
            if first != export.log:
                found.append(Finding(Kind.DUPLICATE, export.log, name.hex(), f"the same Question stands in {first}"))
    return found


def _counts(books: _Books, since: int, until: int) -> dict[str, int]:
    questions = {entry.hash for entry in _within(books, "question", since, until)}
    answers = {entry.hash for place, some in books.held.items() if place.kind in {"told", "answered"}
               for entry in some.values()}  # fmt: skip
    asked = {entry.hash for entry in _within(books, "asked", since, until)}
    return {
        "questions": len(questions),
        "answered": len(questions & answers),
        "unanswered": len(questions - answers),
        "not_admitted": sum(not books.at_broker(name) for name in asked),
    }

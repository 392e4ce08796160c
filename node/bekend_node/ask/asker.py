"""The asking side of a node, as the control socket and tests use it.

asker = Asker(asking, lines, canary, clock)
await asker.open_purpose(purpose, sources)      # before a person is named
outcomes = asker.ask(inquiry)
async for outcome in outcomes: ...
outcomes.receipt
"""

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

from bekend_policy.raising import Raise
from bekend_proto import logs
from bekend_proto.clock import Clock, day_of
from bekend_proto.errors import BekendError, RefusedError
from bekend_proto.identifiers import Identifier

from bekend_node.ask import decisions
from bekend_node.ask.asking import Asking
from bekend_node.ask.broker_line import BrokerLine
from bekend_node.ask.budget import Budget, budget_of, canary_spends, grant, officer_spends
from bekend_node.ask.cases import Cases
from bekend_node.ask.collector import Collector
from bekend_node.ask.consent import Consent, consent_partners
from bekend_node.ask.emergency import Emergencies
from bekend_node.ask.fetching import Fetching
from bekend_node.ask.filters_held import FilterShelf
from bekend_node.ask.four_eyes import NEEDS_SECOND, RULE, AtScreen, FourEyes, Prepared, needs_second
from bekend_node.ask.lookup import Lookup
from bekend_node.ask.opening import open_source
from bekend_node.ask.outcomes import Outcome
from bekend_node.ask.release import check_texts
from bekend_node.ask.rules import Inquiry, OfficerRef, Plan, openable, plan, plan_canary, without_suspended
from bekend_node.ask.signals import Kind, Signals
from bekend_node.ask.stream import Measures, Outcomes, counted, timed
from bekend_node.classes import CERTAIN, KindClass
from bekend_node.store import Spend
from bekend_node.store_emergencies import Emergency, EmergencyStore

LIST_RULE = "eigen-lijst"
_LIST_REASON = "De node kan een eigen lijst niet lezen en stelt daarom geen vragen. Bel uw beheerder."
CANARY_OFFICER = OfficerRef(user="bekend-node", name="bekend node check", role="")


_LOG_REASON = (
    "Het logboek van de makelaar spreekt zichzelf tegen. Deze organisatie vraagt en antwoordt niet, "
    "totdat uw beheerder dit heeft uitgezocht."
)


@dataclass(frozen=True, slots=True)
class _Checked:
    """What the own rules said of a question. `second`: a second officer looks before it is asked."""

    asking: Asking
    plan: Plan
    at: datetime
    consents: Mapping[str, Consent]
    second: bool


class Asker:
    """Asks partners in the name of this node. One per node; any number of lookups at once.

    `asking` gives this node's identity, covenant and manifests as they are now; `canaries` are the only persons about
    whom the node may ask itself. `something_came` is called, without saying what, when a later answer came. `signals`
    looks at each lookup of an officer. `listed` says whether somebody of the own list of colleagues is among these
    persons. Neither `signals` nor `measures`, which counts, sees a canary.
    """

    def __init__(
        self,
        asking: Callable[[], Asking],
        lines: Sequence[BrokerLine],
        canaries: Sequence[Identifier],
        clock: Clock,
        something_came: Callable[[], None] = lambda: None,
        *,
        signals: Signals | None = None,
        listed: Callable[[Sequence[Identifier]], bool] = lambda _: False,
        measures: Measures | None = None,
    ) -> None:
        self._asking = asking
        self._measures = measures
        self._lines = tuple(lines)
        self._canaries = tuple(canaries)
        self._signals = signals
        self._listed = listed
        self._clock = clock
        self._covenant_hash = b""
        self._running: dict[asyncio.Task[None], str] = {}
        """What is under way, with the case that it is for; a refusal that is being recorded has none."""
        self.four_eyes = FourEyes(lambda: asking().covenant, lambda: asking().oin, clock)
        self.shelf = FilterShelf(Fetching(asking, self._in_order, clock).fetch, clock)
        self.collector = Collector(asking, self._in_order, something_came)
        self.cases = Cases(asking, clock, self.collector, self._used, self._case_ended)
        self.cases.watch_lapses(self.four_eyes.forget_case)

    async def open_purpose(
        self, purpose: str, sources: Sequence[str], on_behalf_of: str | None = None
    ) -> dict[str, str | None]:
        """Fetch the filters of these sources, each over a stream of its own, before a person is named.

        Of both classes of identifier, where the covenant lists combinations. Returns per source the code of what went
        wrong (`not_ready`, ...), or None when its filter is at hand: a source that fails here is tried again when it is
        asked.
        """
        asking = self._now()
        self.shelf.sweep()
        results = await asyncio.gather(
            *(open_source(asking, self.shelf, purpose, oin, on_behalf_of) for oin in sources)
        )
        return dict(zip(sources, results, strict=True))

    def openable(self, purpose: str, sources: Sequence[str], on_behalf_of: str | None, role: str) -> tuple[str, ...]:
        """Those of these sources whose filter this role may use. Raises RefusedError when the purpose is not for it."""
        asking = self._now()
        now = self._clock.now()
        found = openable(
            asking.covenant,
            asking.oin,
            purpose,
            sources=sources,
            on_behalf_of=on_behalf_of,
            role=role,
            now=now,
        )
        opened = Plan(asking.covenant.purposes[purpose], ask=found, not_asked={})
        return self._not_suspended(asking, opened, on_behalf_of, now).ask

    def ask(self, inquiry: Inquiry) -> Outcomes:
        """One lookup. Raises RefusedError when the own rules admit nothing of it; then nothing has left.

        A question that a second officer must see first is refused here, whatever it says of itself: see `submit`.
        """
        inquiry = _bare(inquiry)
        checked = self._check(inquiry)
        if checked.second:
            refusal = RefusedError(RULE, NEEDS_SECOND)
            self._keep_refusal(checked.asking, inquiry, refusal, checked.at, checked.consents)
            raise refusal
        return self._go(inquiry, checked)

    def examine(self, inquiry: Inquiry) -> None:
        """Hold a question that is not asked now against the own rules. Raises RefusedError, which is on the record."""
        self._planned(_bare(inquiry))

    def submit(self, inquiry: Inquiry, viewer: AtScreen) -> Outcomes | Prepared:
        """Ask, or let it wait for a second officer (FG-37). Raises RefusedError as `ask` does."""
        inquiry = _bare(inquiry)
        checked = self._check(inquiry)
        return self.four_eyes.prepare(inquiry, viewer) if checked.second else self._go(inquiry, checked)

    def ask_agreed(self, id_: str, viewer: AtScreen) -> Outcomes:
        """Ask what a second officer agreed to, once. Raises RefusedError as `ask` does, by the rules of now."""
        inquiry = self.four_eyes.agreed(id_, viewer)
        checked = self._check(inquiry, again=True)
        # No await between the check and this: what is spent cannot be asked again.
        self.four_eyes.spend(id_)
        return self._go(inquiry, checked)

    async def ask_in_emergency(self, id_: str, viewer: AtScreen, reason: str) -> Outcomes:
        """Ask at once what waits for a second officer, who looks within 24 hours; on the record before it leaves.

        Raises RefusedError where the purpose does not allow it, StorageError; then nothing has left.
        """
        inquiry = self.four_eyes.urgent(id_, viewer, reason)
        checked = self._check(inquiry, again=True)
        self.four_eyes.spend(id_)
        await self.emergencies.record(inquiry)
        self._alert(Kind.EMERGENCY, inquiry.officer.user, inquiry.case_reference)
        return self._go(inquiry, checked)

    def refuse_prepared(self, id_: str, viewer: AtScreen, reason: str) -> None:
        """The second officer does not agree; that is on the record as a refusal. Raises RefusedError."""
        inquiry = self.four_eyes.refuse(id_, viewer, reason)
        asking, now = self._asking(), self._clock.now()
        consents = self._consents_of(asking, inquiry)
        refusal = RefusedError(RULE, NEEDS_SECOND)
        second = OfficerRef(viewer.user, viewer.name, "")
        self._keep_refusal(asking, replace(inquiry, second=second), refusal, now, consents)

    @property
    def emergencies(self) -> Emergencies:
        """The noodgrepen of this node."""
        asking = self._asking()
        rows = EmergencyStore(asking.store.database, asking.state)
        return Emergencies(rows, lambda: asking.covenant, asking.oin, self._clock, self._not_reviewed)

    def _check(self, inquiry: Inquiry, *, again: bool = False) -> _Checked:
        """What the own rules say; a refusal is put on the record. `again`: it was checked when it was prepared."""
        return self._planned(inquiry, lambda: self._on_own_list(inquiry, again=again))

    def _planned(self, inquiry: Inquiry, on_own_list: Callable[[], bool] = lambda: False) -> _Checked:
        asking = self._now()
        now = self._clock.now()
        consents = self._consents_of(asking, inquiry)
        try:
            found = plan(asking.covenant, asking.oin, inquiry, now, consents)
            check_texts(asking, inquiry, found)
            made = self._not_suspended(asking, found, inquiry.on_behalf_of, now)
            listed = on_own_list()
        except RefusedError as refusal:
            self._keep_refusal(asking, inquiry, refusal, now, consents)
            raise
        return _Checked(asking, made, now, consents, needs_second(made.purpose, listed=listed))

    def _on_own_list(self, inquiry: Inquiry, *, again: bool) -> bool:
        """Whether a person is on the list of own colleagues; the privacy officer hears of the first try.

        Raises RefusedError when the list cannot be read: a list that finds nobody protects nobody.
        """
        try:
            listed = self._listed(inquiry.persons)
        except BekendError as fault:
            logs.log(logs.CONTROL_REFUSED, user=inquiry.officer.user, operation="ask", code="keys", rule=fault.detail)
            raise RefusedError(LIST_RULE, _LIST_REASON) from None
        if listed and not again:
            self._alert(Kind.OWN_STAFF, inquiry.officer.user, inquiry.case_reference)
        return listed

    def _go(self, inquiry: Inquiry, checked: _Checked) -> Outcomes:
        asking = checked.asking
        # All was decided: from here on nobody needs a date of birth.
        inquiry = inquiry.settled(checked.plan.purpose, day_of(checked.at))
        spends = officer_spends(asking.store, asking.covenant, inquiry, checked.at)
        outcomes = self._start(asking, inquiry, checked.plan, spends, self._measures)
        if self._signals is not None:
            self._signals.asked(inquiry, outcomes.ended())
        return outcomes

    def _alert(self, kind: Kind, officer: str, case: str | None) -> None:
        if self._signals is not None:
            self._signals.tell(kind, officer, case or "")

    def _not_reviewed(self, one: Emergency) -> None:
        self._alert(Kind.NOT_REVIEWED, one.officer, one.case)

    def _consents_of(self, asking: Asking, inquiry: Inquiry) -> dict[str, Consent]:
        """The standing consents of the case, where a source of the purpose is asked with one."""
        purpose = asking.covenant.purposes.get(inquiry.purpose)
        if purpose is None or not consent_partners(asking.covenant, purpose):
            return {}
        return self.cases.consents.standing(inquiry.case_reference or "", purpose.id)

    def asking(self) -> Asking:
        """This node as it is now."""
        return self._asking()

    def today(self) -> date:
        """The day on which is asked, in Europe/Amsterdam."""
        return day_of(self._clock.now())

    def budget(self, user: str, purpose: str) -> Budget:
        """What an officer has left today, under a purpose of the covenant or (ALL_PURPOSES) in all."""
        asking = self._asking()
        return budget_of(asking.store, asking.covenant, user, purpose, self._clock.now())

    async def raise_limit(self, officer: str, purpose: str, extra: int, *, by: OfficerRef, reason: str) -> datetime:
        """Let an officer ask about `extra` more persons a day under a purpose; returns when that ends, in 24 hours.

        Raises RefusedError (rule, Dutch reason), StorageError; then nothing was written.
        """
        asking = self._asking()
        wanted = Raise(purpose, officer, by.user, by.role, self._clock.now(), reason, extra)
        return await grant(asking.store, asking.covenant, wanted)

    async def ask_canary(self, purpose: str, kind_class: KindClass = CERTAIN) -> Outcome:
        """Ask this node itself about one of its own canaries, all the way over the broker.

        `kind_class`: under which of its filters. Anything but `bekend` means that this node misses somebody, or cannot
        answer; `in behandeling`, where its own desk answers, becomes `bekend` (`mogelijk bekend` under that of
        combinations) at a later collect. Raises RefusedError when this node is no source for the purpose, BudgetError
        after 24 a day.
        """
        asking = self._now()
        now = self._clock.now()
        if asking.oin not in asking.covenant.sources(purpose):
            raise RefusedError("geen-bron", "Deze organisatie beantwoordt dit doel niet.")
        inquiry = Inquiry(purpose, (secrets.choice(self._canaries),), (asking.oin,), CANARY_OFFICER)
        planned = plan_canary(asking.covenant, asking.oin, inquiry, now, kind_class)
        made = self._not_suspended(asking, planned, None, now)
        outcomes = self._start(asking, inquiry, made, canary_spends(asking.oin, purpose, now))
        found = [outcome async for outcome in outcomes]
        return found[0]

    async def close(self) -> None:
        """Let the lookups under way end (their deadlines bound it), then drop the filters."""
        if self._running:
            await asyncio.wait(self._running)
        await self.shelf.close()
        if self._signals is not None:
            await self._signals.settle()

    def _start(
        self,
        asking: Asking,
        inquiry: Inquiry,
        plan_: Plan,
        spends: Sequence[Spend],
        measures: Measures | None = None,
    ) -> Outcomes:
        outcomes = Outcomes()
        task = outcomes.start(
            lambda emit: Lookup(
                asking, self.shelf, inquiry, plan=plan_, spends=spends, emit=counted(measures, inquiry.purpose, emit)
            ),
            self._in_order(plan_.ask),
        )
        self._running[task] = (inquiry.case_reference or "").strip()
        task.add_done_callback(self._ended)
        if measures is not None:
            task.add_done_callback(timed(measures, inquiry.purpose))
        return outcomes

    def _keep_refusal(
        self, asking: Asking, inquiry: Inquiry, refusal: RefusedError, now: datetime, consents: Mapping[str, Consent]
    ) -> None:
        """Put a refusal on the record. Nothing leaves for it, so the officer need not wait until it is durable."""
        row = decisions.refusal(
            asking.covenant, asking.oin, inquiry, refusal, at=now, key=asking.case_key, consents=consents
        )
        task = asyncio.create_task(asking.store.admit_asking(decisions=[row], at=now))
        self._running[task] = ""
        task.add_done_callback(self._ended)

    async def _case_ended(self, case: str) -> None:
        """Return when no lookup of this case is under way; their deadlines bound it."""
        tasks = [task for task, its in self._running.items() if case and its == case]
        if tasks:
            await asyncio.wait(tasks)

    def _used(self, case: str) -> None:
        if self._signals is not None:
            self._signals.used(case)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._running.pop(task, None)
        # Looked at here, so that a fault which nobody waits for is not reported with its locals.
        with contextlib.suppress(asyncio.CancelledError):
            task.exception()

    @staticmethod
    def _not_suspended(asking: Asking, made: Plan, on_behalf_of: str | None, now: datetime) -> Plan:
        return without_suspended(
            made, asking.suspensions, asking.covenant, asking.oin, on_behalf_of=on_behalf_of, now=now
        )

    def _in_order(self, sources: Collection[str] = ()) -> list[BrokerLine]:
        """The replicas, the likeliest to answer first: nobody waits for a dead one while another lives."""
        return sorted(self._lines, key=lambda line: line.rank(sources))

    def _now(self) -> Asking:
        """This node as it is now. A new covenant makes every filter at hand worthless.

        Raises RefusedError while the broker's log contradicts itself.
        """
        asking = self._asking()
        if asking.heads.stopped:
            raise RefusedError("logboek", _LOG_REASON)
        if asking.covenant.hash != self._covenant_hash:
            self.shelf.forget_covenant()
            self._covenant_hash = asking.covenant.hash
        return asking


def _bare(inquiry: Inquiry) -> Inquiry:
    """The question without what only `FourEyes` may say of it: an agreement and an emergency hold once."""
    return replace(inquiry, second=None, emergency="")

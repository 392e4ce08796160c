"""Asked by a combination of name and date: by hand, `mogelijk bekend` at most, and nothing in common with a number.

The police answer the OM by machine, and hold their clients by number and by name; the reclassering holds numbers alone.
"""

import asyncio
import getpass
import io
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
import pytest_asyncio
from bekend_deploy.covenant import Settings
from bekend_deploy.partners import OM, POLITIE, RECLASSERING, ZSM_CONTEXT
from bekend_deploy.questions import CASES, CONDITIONS, ROLES
from bekend_node import client_file, described, lookup_cli, lookup_persons
from bekend_node.app import Node
from bekend_node.ask.outcomes import Outcome, OutcomeKind
from bekend_node.ask.own_record import KIND_LOOKUP, KIND_OUTCOMES
from bekend_node.ask.pending import open_pending
from bekend_node.ask.rules import Inquiry, OfficerRef
from bekend_node.classes import CERTAIN, POSSIBLE, FilterId
from bekend_node.desk.record import open_desk_record
from bekend_node.rest.app import application
from bekend_node.schedule import next_switch
from bekend_proto import oprf
from bekend_proto.clock import Clock
from bekend_proto.errors import NotReadyError, RefusedError
from bekend_proto.filter import ClosedFilter, tag
from bekend_proto.identifiers import NAME_BIRTH, Identifier
from bekend_proto.names import PersonData, combine
from bekend_proto.v1 import signed_pb2
from joserfc.jwk import RSAKey
from nacl.public import SealedBox
from typer.testing import CliRunner

from tests.evil.hostile_requester import HostileRequester, hostile_requester, put
from tests.evil.world import World, broker_of, enrol, real_node, told
from tests.support.provider import TestProvider
from tests.support.rest import Here, config_of, provider_of, refused

pytestmark = pytest.mark.asyncio(loop_scope="module")

USER = getpass.getuser()
CLIENT = PersonData("Jansen", "van den", "Fatima Maria", "19800229", "2011AB", "12")
AS_TYPED = PersonData("van den JANSEN", "", "fátima", "29-02-1980")
STRANGER = PersonData("Bakker", "", "Jan", "1970-05-01")


@dataclass
class Setting:
    world: World
    police: Node
    reclassering: Node
    om: Node
    hostile: HostileRequester

    async def ask(self, *persons: PersonData, sources: tuple[str, ...] = (POLITIE.oin,)) -> list[Outcome]:
        return [one async for one in self.om.asker.ask(self.inquiry(*persons, sources=sources)) if one.oin in sources]

    def inquiry(self, *persons: PersonData, sources: tuple[str, ...] = (POLITIE.oin,)) -> Inquiry:
        return Inquiry(
            purpose=ZSM_CONTEXT,
            persons=tuple(combine(NAME_BIRTH, one) for one in persons),
            sources=sources,
            officer=OfficerRef("officer", "Test-medewerker", ROLES["om"]),
            case_reference=CASES[ZSM_CONTEXT],
            attested=frozenset(CONDITIONS[ZSM_CONTEXT]),
            justification="nodig: wie dit is; middel: alleen deze vraag; minder: een nummer is er niet",
            described=persons,
        )

    async def named(self, person: PersonData) -> list[str]:
        """Asked and compared: what then waits at the desk of the police."""
        (outcome,) = await self.ask(person)
        assert outcome.outcome is OutcomeKind.PENDING
        await self.police.comparing.compare_all()
        return [one["item"] for one in self.police.desk.waiting(USER)["items"]]

    def facade(self, provider: TestProvider) -> Here:
        """The facade of the OM's node, for case systems."""
        provider.now = lambda: self.world.clock.now().timestamp()
        tokens = {**config_of(provider).tokens.model_dump(), "roles": {"bekend-regie": (ROLES["om"],)}}
        app = application(
            config_of(provider, tokens=tokens),
            asker=self.om.asker,
            team=self.om.team,
            covenant=lambda: self.world.covenant,
            clock=self.world.clock,
        )
        return Here(cast(Any, self), provider, app)

    @property
    def clock(self) -> Clock:
        return self.world.clock

    async def collect(self, moments: int = 1) -> None:
        interval = self.world.covenant.collect_interval
        for _ in range(moments):
            now = int(self.world.clock.now().timestamp())
            ahead = next_switch(OM.oin, interval, now) - now + interval.total_seconds() - 1
            self.world.clock.advance(timedelta(seconds=ahead))
            await self.om.asker.collector.tick()
            await self.om.asker.collector.settle()
        await self.switched()

    async def switched(self) -> None:
        """What was due at the moments that passed is in service."""
        async with asyncio.timeout(60):
            for node, kind_class in ((self.police, CERTAIN), (self.police, POSSIBLE), (self.reclassering, CERTAIN)):
                # What the node itself began to build meanwhile comes first, and may be over when it is ready.
                while not self._serves(node, kind_class):
                    await node.filters.tick()
                    await node.filters.settle()

    def _serves(self, node: Node, kind_class: "signed_pb2.KindClass.ValueType") -> bool:
        try:
            serving = node.filters.serving(ZSM_CONTEXT, kind_class=kind_class)
        except NotReadyError:
            return False
        return serving.end > self.world.clock.now().timestamp()

    async def late(self) -> list[Outcome]:
        return [one for it in await self.om.asker.cases.late_answers(lambda _: True) for one in it.outcomes]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def setting(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Setting]:
    folder = tmp_path_factory.mktemp("possible")
    world = World.build(folder / "world", settings=Settings(combinations=(NAME_BIRTH,), max_list_age="P30D"))
    people = [*world.known(POLITIE.oin, ZSM_CONTEXT), combine(NAME_BIRTH, CLIENT)]
    enrol(world, POLITIE.oin, folder / "politie", [ZSM_CONTEXT], people)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        broker = await enter(broker_of(world, folder / "broker"))
        police = await enter(real_node(world, POLITIE.oin, folder / "politie", broker.port, [ZSM_CONTEXT]))
        numbers = folder / "reclassering"
        reclassering = await enter(real_node(world, RECLASSERING.oin, numbers, broker.port, [ZSM_CONTEXT]))
        om = await enter(real_node(world, OM.oin, folder / "om", broker.port))
        hostile = await enter(hostile_requester(world, OM.oin, broker.port))
        await om.asker.open_purpose(ZSM_CONTEXT, [POLITIE.oin, RECLASSERING.oin])
        yield Setting(world, police, reclassering, om, hostile)


async def test_there_are_two_filters_that_share_nothing(setting: Setting) -> None:
    certain = setting.police.filters.serving(ZSM_CONTEXT)
    possible = setting.police.filters.serving(ZSM_CONTEXT, kind_class=POSSIBLE)
    assert (certain.by_hand, list(certain.header.kinds)) == (False, ["bsn"])
    assert (possible.by_hand, list(possible.header.kinds)) == (True, [NAME_BIRTH])
    assert (possible.header.tags, possible.header.kind_class) == (0, POSSIBLE)
    assert certain.m != possible.m
    assert certain.tags != possible.tags


async def test_fg_24_a_name_goes_to_the_desk_where_numbers_are_answered_by_machine(setting: Setting) -> None:
    assert await told(setting.om, setting.world, ZSM_CONTEXT, setting.world.somebody, POLITIE.oin) == ["bekend"]
    (name,) = await setting.named(AS_TYPED)
    seen = await setting.police.desk.show(USER, name, absent=False)
    assert (seen["possible"], seen["mode"]) == (True, "handmatig")
    assert seen["described"] == {
        "geslachtsnaam": "van den JANSEN",
        "voornamen": "fátima",
        "geboortedatum": "29-02-1980",
    }
    with pytest.raises(RefusedError) as refusal:
        await setting.police.desk.release(USER, name, ground="nodig", text="", absent=False)
    assert refusal.value.rule == "vergelijken"
    await setting.police.desk.release(USER, name, ground="nodig", text="", absent=False, compared=True)
    await setting.collect()
    (outcome,) = await setting.late()
    assert outcome.outcome is OutcomeKind.POSSIBLE
    assert outcome.desk
    officer = SealedBox(setting.world.privacy_officer(POLITIE.oin))
    records = [open_desk_record(officer, one) for one in setting.police.store.desk_records()]
    assert [one["compared"] for one in records if one["what"] == "released"] == ["yes"]


async def test_fg_24_a_possible_outcome_lives_as_briefly_as_the_covenant_says(setting: Setting) -> None:
    (kept,) = [open_pending(setting.om.asker.asking().state, one) for one in setting.om.store.pending.all()]
    agreed = setting.world.covenant.purposes[ZSM_CONTEXT].possible
    assert agreed is not None
    assert (kept.kind_class, kept.lifetime) == (POSSIBLE, agreed.lifetime.total_seconds())
    assert kept.until - kept.asked == 1000 * agreed.reply_term.total_seconds()


async def test_fg_24_nobody_known_by_that_name_is_no_item_and_ends_as_geen_uitsluitsel(setting: Setting) -> None:
    assert await setting.named(STRANGER) == []
    await setting.collect(97)
    assert OutcomeKind.INCONCLUSIVE in {one.outcome for one in await setting.late()}


async def test_a_partner_without_names_is_not_asked_and_says_so_itself(setting: Setting) -> None:
    """Never `geen uitsluitsel`, and no fault either: its signed header names no combination."""
    asked = setting.om.store.counts()["log"]
    (outcome,) = await setting.ask(CLIENT, sources=(RECLASSERING.oin,))
    assert outcome.outcome is OutcomeKind.NOT_ASKED
    assert outcome.reason.startswith("Ander nummer nodig")
    assert setting.om.store.counts()["log"] == asked


async def test_a_kind_that_the_covenant_does_not_list_is_not_asked_by(setting: Setting) -> None:
    inquiry = replace(setting.inquiry(CLIENT), persons=(Identifier("naam-dagmaand", "JANSEN/FATIMA/1980/0229"),))
    with pytest.raises(RefusedError):
        setting.om.asker.ask(inquiry)


@pytest.mark.parametrize("described", [(), (STRANGER,), (CLIENT, STRANGER)])
async def test_who_is_described_is_who_is_asked_about(setting: Setting, described: tuple[PersonData, ...]) -> None:
    with pytest.raises(RefusedError) as refusal:
        setting.om.asker.ask(replace(setting.inquiry(CLIENT), described=described))
    assert refusal.value.rule == "persoonsgegevens"


# --- a requester that says one class and means another


async def asked_as(setting: Setting, person: Identifier, kind_class: "signed_pb2.KindClass.ValueType") -> bytes:
    """W of a person, by a Question that says this class."""
    lookup = setting.hostile.lookup(ZSM_CONTEXT, person)
    replies = await setting.hostile.run(lookup, [POLITIE.oin], question=put(kind_class=kind_class))
    reply = replies.by_source[POLITIE.oin]
    assert not isinstance(reply, str), reply
    answer = setting.hostile.open(lookup, POLITIE.oin, reply)
    serving = setting.police.filters.serving(ZSM_CONTEXT, kind_class=kind_class)
    assert (answer.m_hash, answer.filter_version) == (serving.m_hash, serving.version)
    return oprf.unblind(lookup.blind(POLITIE.oin, 0), answer.evaluated[0])


def in_tags(setting: Setting, w: bytes) -> bool:
    serving = setting.police.filters.serving(ZSM_CONTEXT)
    return ClosedFilter(serving.body()).contains(tag(w, POLITIE.oin, ZSM_CONTEXT, serving.version))


def in_clients(setting: Setting, w: bytes) -> bool:
    serving = setting.police.filters.serving(ZSM_CONTEXT, kind_class=POSSIBLE)
    return any(w in chunk for chunk in client_file.read(serving.tags, serving.compare_key))


async def test_must_20_a_question_that_says_possible_finds_nobody_in_the_filter_of_numbers(setting: Setting) -> None:
    for person in (setting.world.somebody, combine(NAME_BIRTH, CLIENT)):
        assert not in_tags(setting, await asked_as(setting, person, POSSIBLE))
    assert in_tags(setting, await asked_as(setting, setting.world.somebody, CERTAIN))


async def test_a_question_that_says_certain_finds_nobody_by_name(setting: Setting) -> None:
    w = await asked_as(setting, combine(NAME_BIRTH, CLIENT), CERTAIN)
    assert not in_tags(setting, w)
    assert not in_clients(setting, w)
    assert in_clients(setting, await asked_as(setting, combine(NAME_BIRTH, CLIENT), POSSIBLE))


async def test_a_number_asked_as_if_it_were_a_name_is_nobody_at_the_desk(setting: Setting) -> None:
    assert not in_clients(setting, await asked_as(setting, setting.world.somebody, POSSIBLE))


async def test_a_source_without_names_answers_no_question_by_one(setting: Setting) -> None:
    lookup = setting.hostile.lookup(ZSM_CONTEXT, combine(NAME_BIRTH, CLIENT))
    replies = await setting.hostile.run(lookup, [RECLASSERING.oin], question=put(kind_class=POSSIBLE))
    assert replies.fault(RECLASSERING.oin) == "not_ready"


async def test_a_filter_is_ordered_by_its_class(setting: Setting) -> None:
    assert await setting.hostile.fetch(POLITIE.oin, ZSM_CONTEXT) == 2
    assert await setting.hostile.fetch(POLITIE.oin, ZSM_CONTEXT, put(kind_class=POSSIBLE)) == 1
    assert await setting.hostile.fetch(POLITIE.oin, ZSM_CONTEXT, put(kind_class=CERTAIN)) == "malformed"


async def test_a_description_of_somebody_else_is_for_the_privacy_officer(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A requester cannot show a colleague another person than the one whose combination it asked by."""
    before = len(setting.police.desk.waiting(USER)["items"])
    shown = signed_pb2.Described(surname="Bakker", given_names="Jan", birth_date="1970-05-01")
    monkeypatch.setattr(described, "on_wire", lambda _: shown)
    assert len(await setting.named(CLIENT)) == before
    assert setting.police.desk.waiting(USER)["privacy_officer"]


# --- what is the same, whoever is asked about


async def test_must_09_what_is_kept_has_one_length_whatever_the_name(setting: Setting) -> None:
    long = PersonData("Wolfeschlegelsteinhausenbergerdorff", "", "Hubertus Blaine", "1914-08-04")
    lengths = []
    for person in (CLIENT, STRANGER, long):
        await setting.named(person)
        own, pending = setting.om.store, setting.om.store.pending.all()
        records = [len(own.own_records(kind)[-1].sealed) for kind in (KIND_LOOKUP, KIND_OUTCOMES)]
        desk = setting.police.desk_store
        newest = max(pending, key=lambda one: one.due)
        matters = [len(one) for it in desk.exchanges()[-1:] for one in desk.matters(it.question_id)]
        lengths.append((records, len(newest.sealed), matters))
    assert lengths[0] == lengths[1] == lengths[2]


# --- moments, and the own canary


async def test_must_14_the_canary_is_found_under_both_filters(setting: Setting) -> None:
    police = setting.police
    for kind_class, expected in ((CERTAIN, OutcomeKind.KNOWN), (POSSIBLE, OutcomeKind.PENDING)):
        assert (await police.asker.ask_canary(ZSM_CONTEXT, kind_class)).outcome is expected
    await police.comparing.compare_all()
    await police.canaries.tick()
    interval, now = setting.world.covenant.collect_interval, int(setting.world.clock.now().timestamp())
    setting.world.clock.advance(
        timedelta(seconds=next_switch(POLITIE.oin, interval, now) - now + interval.total_seconds() - 1)
    )
    await police.asker.collector.tick()
    await police.asker.collector.settle()
    await setting.switched()
    # The node's own look, every few seconds, may have been first.
    await police.canaries._collected()
    assert police.canaries.told()[f"{ZSM_CONTEXT} (possible)"]["found"]


async def test_must_21_both_filters_switch_at_fixed_moments_and_wait_for_them(setting: Setting) -> None:
    filters, clock = setting.police.filters, setting.world.clock
    await filters.tick()
    await filters.settle()
    before = {one: filters.serving(ZSM_CONTEXT, kind_class=one) for one in (CERTAIN, POSSIBLE)}
    ends = {serving.end for serving in before.values()}
    interval = timedelta(minutes=15)
    assert ends == {next_switch(POLITIE.oin, interval, int(clock.now().timestamp()))}
    clock.set(datetime.fromtimestamp(ends.pop(), UTC) - timedelta(seconds=1))
    await filters.tick()
    await filters.settle()
    assert all(filters.serving(ZSM_CONTEXT, kind_class=one) is serving for one, serving in before.items())
    clock.advance(timedelta(seconds=1))
    await filters.tick()
    for one, serving in before.items():
        fresh = filters.serving(ZSM_CONTEXT, kind_class=one)
        assert (fresh.version, fresh.m != serving.m) == (serving.end, True)


async def test_a_halt_stops_both_filters_until_each_has_switched(setting: Setting) -> None:
    filters, clock = setting.police.filters, setting.world.clock
    await filters.halt(ZSM_CONTEXT)
    for one in (CERTAIN, POSSIBLE):
        with pytest.raises(NotReadyError, match="halted"):
            filters.serving(ZSM_CONTEXT, kind_class=one)
        with pytest.raises(NotReadyError, match="halted"):
            filters.check_halt(FilterId(ZSM_CONTEXT, one))
    again = filters.answers_again(ZSM_CONTEXT)
    assert again is not None
    clock.set(datetime.fromtimestamp(again, UTC))
    await filters.tick()
    await filters.settle()
    assert not filters.is_halted(ZSM_CONTEXT)


async def test_fg_24_a_case_system_asks_by_a_name_and_hears_mogelijk_bekend_at_most(setting: Setting) -> None:
    with provider_of(RSAKey.generate_key(2048)) as provider:
        here = setting.facade(provider)
        question: dict[str, Any] = {
            "doel": ZSM_CONTEXT,
            "zaak": CASES[ZSM_CONTEXT],
            "soort": NAME_BIRTH,
            "personen": [
                {"geslachtsnaam": "van den JANSEN", "voornamen": "f\u00e1tima", "geboortedatum": "29-02-1980"}
            ],
            "partners": [POLITIE.oin],
            "bevestigd": {one: "ja" for one in CONDITIONS[ZSM_CONTEXT] if one != "motivering"},
            "motivering": "aangehouden, een nummer is er niet",
        }
        unknown = {**question["personen"][0], "geboortedatum": "1980"}
        reply = await here.post(here.system(), **{**question, "personen": [unknown]})
        assert [one["plaats"] for one in refused(reply, 422, "inhoud")["fouten"]] == ["/personen/0/geboortedatum"]
        before = {one["item"] for one in setting.police.desk.waiting(USER)["items"]}
        reply = await here.post(here.system(), **question)
        address = reply.headers["location"]
        found = await here.ended(here.system(), address)
        assert (found["soort"], found["status"]) == (NAME_BIRTH, "later")
        await setting.police.comparing.compare_all()
        (item,) = {one["item"] for one in setting.police.desk.waiting(USER)["items"]} - before
        await setting.police.desk.show(USER, item, absent=False)
        await setting.police.desk.release(USER, item, ground="nodig", text="", absent=False, compared=True)
        await setting.collect()
        found = (await here.system().ask("GET", address)).json()
        (outcome,) = [one for one in found["uitkomsten"] if one["oin"] == POLITIE.oin]
        assert (found["status"], outcome["uitkomst"]) == ("klaar", "mogelijk_bekend")
        assert "zeker is het niet" in outcome["toelichting"].lower()
        assert found["vervolg"] == []
        assert "JANSEN" not in json.dumps(found)


async def test_on_the_command_line_a_name_is_typed_on_stdin_and_comes_to_the_desk(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(setting.police.desk.waiting(USER)["items"])
    monkeypatch.setattr(lookup_cli, "socket_of", lambda _: setting.om.config.socket)
    words = ["--doel", ZSM_CONTEXT, "--zaak", CASES[ZSM_CONTEXT], "--partner", POLITIE.oin, "--soort", NAME_BIRTH]
    words += [
        "--motivering",
        "Een nummer is er niet.",
        *(word for id_ in CONDITIONS[ZSM_CONTEXT] for word in ("--bevestig", id_)),
    ]
    typed = "van den Jansen;;Fatima;29-02-1980\n"
    done = await asyncio.to_thread(CliRunner().invoke, lookup_cli.app, words, input=typed)
    assert done.exit_code == 0, done.output
    assert "hoogstens 'mogelijk bekend'" in done.stderr
    assert "in behandeling" in done.stdout
    assert "Jansen" not in done.output
    await setting.police.comparing.compare_all()
    assert len(setting.police.desk.waiting(USER)["items"]) == before + 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("Jansen;;Fatima;00-02-1980", "geboortedatum"),
        ("Jansen;;;29-02-1980", "voornaam"),
        (";;Fatima;29-02-1980", "achternaam"),
        ("Jans\u200ben;;Fatima;29-02-1980", "onzichtbaar"),
        ("J\u0430nsen;;Fatima;29-02-1980", "Latijnse"),
        (f"{'a' * 201};;Fatima;29-02-1980", "hoogstens"),
        (f"{'a' * 10_000};;Fatima;29-02-1980", "hoogstens"),
    ],
)
async def test_what_is_no_name_or_date_is_refused_before_anything_is_asked(
    monkeypatch: pytest.MonkeyPatch, line: str, said: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{line}\n"))
    with pytest.raises(lookup_persons.UnfitError) as refused:
        lookup_persons.read_persons(NAME_BIRTH, 4)
    assert said in str(refused.value)
    assert "Fatima" not in str(refused.value)

"""Numbers and combinations at the broker: what it routes, keeps open, and writes down of each."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from bekend_deploy.partners import ZSM_CONTEXT
from bekend_proto.v1 import broker_pb2
from bekend_proto.v1.signed_pb2 import KIND_CLASS_CERTAIN, KIND_CLASS_POSSIBLE, FetchOrder

from tests.broker.test_decisions import kept
from tests.broker.test_transfer import pieces, push
from tests.support.covenants import edit
from tests.support.federation import Federation, Party

NAME = "naam-geboortedatum-postcode"


@pytest.fixture
def by_name(federation: Federation) -> Federation:
    """Every source may be asked by a combination too."""
    federation.settings = replace(federation.settings, combinations=(NAME,))
    federation.write_covenant()
    return federation


async def test_fg_24_a_question_by_name_waits_for_a_colleague_where_a_number_is_answered_at_once(
    by_name: Federation, om: Party, politie: Party
) -> None:
    async with by_name.broker(), politie.attached():
        for kind_class, waiting in ((KIND_CLASS_CERTAIN, 0), (KIND_CLASS_POSSIBLE, 1)):
            lookup = await om.lookup(ZSM_CONTEXT).begin()
            question = lookup.question(politie.oin, question_id=b"%016d" % waiting, kind_class=kind_class)
            await lookup.ask(question)
            assert isinstance((await lookup.replies())[politie.oin], broker_pb2.SealedAnswer)
            assert len(by_name.rows("SELECT * FROM open_question")) == waiting
        assert len(await om.release(b"%016d" % 1)) == 512
    assert [one.kind_class for one in kept(by_name)] == [KIND_CLASS_CERTAIN, KIND_CLASS_POSSIBLE]


@pytest.mark.parametrize("several", [False, True])
async def test_must_19_questions_by_number_and_by_name_do_not_follow_one_begin(
    by_name: Federation, om: Party, politie: Party, reclassering: Party, *, several: bool
) -> None:
    async with by_name.broker(), politie.attached() as source, reclassering.attached():
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        first = lookup.question(reclassering.oin)
        second = lookup.question(politie.oin, kind_class=KIND_CLASS_POSSIBLE)
        if several:
            await lookup.ask(first, more=True)
            await lookup.ask(second)
        else:
            await lookup.ask(first, second)
        replies = await lookup.replies()
        assert replies[politie.oin] == "ratio"
        assert isinstance(replies[reclassering.oin], broker_pb2.SealedAnswer)
        assert source.questions.empty()


@pytest.mark.parametrize("kind_class", [KIND_CLASS_CERTAIN, KIND_CLASS_POSSIBLE])
async def test_a_source_is_asked_in_the_classes_that_the_covenant_lists(
    federation: Federation, om: Party, politie: Party, kind_class: int
) -> None:
    """A Begin says no class: it is admitted where either may follow; each Question is decided on by its own."""
    own = "bsn" if kind_class == KIND_CLASS_CERTAIN else NAME
    federation.settings = replace(federation.settings, combinations=(NAME,))

    def only(folder: Path) -> None:
        edit(folder / "doelen" / "zsm-context.yaml", f"identificatie:\n- bsn\n- {NAME}", f"identificatie:\n- {own}")
        if own == "bsn":
            edit(folder / "doelen" / "zsm-context.yaml", "mogelijk:\n  levensduur: PT72H\n  reactietermijn: P1D\n", "")

    federation.write_covenant(only)
    async with federation.broker(), politie.attached():
        for asked in (KIND_CLASS_CERTAIN, KIND_CLASS_POSSIBLE):
            lookup = await om.lookup(ZSM_CONTEXT).begin()
            await lookup.ask(lookup.question(politie.oin, kind_class=asked))
            reply = (await lookup.replies())[politie.oin]
            assert isinstance(reply, broker_pb2.SealedAnswer) if asked == kind_class else reply == "refused"
    (refused,) = [one for one in kept(federation) if not one.judged[0].allowed]
    assert (refused.judged[0].rule, refused.kind_class == kind_class) == ("identificatie", False)


async def test_a_filter_is_ordered_for_one_class(by_name: Federation, om: Party, politie: Party) -> None:
    async with by_name.broker(), politie.attached() as source:
        fetching = asyncio.create_task(om.fetch(politie.oin, ZSM_CONTEXT, kind_class=KIND_CLASS_POSSIBLE))
        order = await source.orders.get()
        parsed = FetchOrder.FromString(order.order.payload)
        assert parsed.kind_class == KIND_CLASS_POSSIBLE
        await push(politie, parsed.fetch_id, pieces(1))
        assert len(await fetching) == 1
    (decided,) = kept(by_name)
    assert decided.kind_class == KIND_CLASS_POSSIBLE

"""The whole way between two real nodes over a real broker: asked, named, compared, decided, collected."""

from datetime import timedelta
from pathlib import Path

from bekend_deploy.partners import HAARLEM, POLITIE, ZVH_WEIGHING
from bekend_node.app import Node
from bekend_node.ask.outcomes import OutcomeKind
from bekend_node.ask.pending import open_pending

from tests.evil.world import World, broker_of, real_node, told


def late(node: Node) -> list[str]:
    """What came for each person of each pending question."""
    rows = node.store.pending.due(2**40, 10)
    found = [open_pending(node.keys.state_box, row).told for row in rows]
    return sorted(str(one) for persons in found for one, _ in persons)


async def test_what_a_colleague_releases_reaches_the_node_that_asked(world: World, tmp_path: Path) -> None:
    known, *_ = sorted(world.known(POLITIE.oin, ZVH_WEIGHING), key=lambda one: one.value)
    async with (
        broker_of(world, tmp_path / "broker") as broker,
        real_node(world, POLITIE.oin, tmp_path / "source", broker.port, [ZVH_WEIGHING]) as source,
        real_node(world, HAARLEM.oin, tmp_path / "asker", broker.port) as asker,
    ):
        outcomes = [await told(asker, world, ZVH_WEIGHING, one, POLITIE.oin) for one in (known, world.nobody)]
        assert outcomes == [[OutcomeKind.PENDING], [OutcomeKind.PENDING]]
        await source.comparing.compare_all()
        colleague, _ = source.config.desk_staff
        (item,) = source.desk.waiting(colleague.user)["items"]
        assert late(asker) == ["in_behandeling", "in_behandeling"]
        await source.desk.release(colleague.user, item["item"], ground="nodig", text="", absent=False)
        world.clock.advance(timedelta(minutes=30))  # whatever place the question has within its moment
        await asker.asker.collector.tick()
        await asker.asker.collector.settle()
        assert late(asker) == ["bekend", "in_behandeling"]

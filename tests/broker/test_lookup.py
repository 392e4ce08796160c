"""One lookup, from Begin to the last reply."""

from bekend_deploy.partners import HAARLEM, OM, POLITIE, RECLASSERING, VELSEN, ZSM_CONTEXT, ZVH, ZVH_WEIGHING

from tests.support.federation import PEOPLE, Federation


async def test_every_source_tells_its_own_bit_and_nothing_else(federation: Federation) -> None:
    om, politie, reclassering = (federation.parties[one.oin] for one in (OM, POLITIE, RECLASSERING))
    async with federation.broker():
        await politie.enrol(ZSM_CONTEXT, "politiegegevens-8-13", PEOPLE[:2])
        await reclassering.enrol(ZSM_CONTEXT, "clienten", PEOPLE[1:3])
        async with politie.attached(), reclassering.attached():
            for person, knows in ((0, (True, False)), (1, (True, True)), (2, (False, True)), (3, (False, False))):
                lookup = await om.lookup(ZSM_CONTEXT, PEOPLE[person : person + 1]).begin()
                assert await lookup.outcomes(politie.oin, reclassering.oin) == {
                    politie.oin: [knows[0]],
                    reclassering.oin: [knows[1]],
                }

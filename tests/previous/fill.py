"""Run by make.py under an earlier commit's code: questions asked and answered, logs witnessed, a desk with work."""

import asyncio
import json
import secrets
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from bekend_deploy.partners import OM, POLITIE, ZSM_CONTEXT
from bekend_node.store_desk import DeskStore, Exchange
from bekend_proto.clock import milliseconds

from tests.evil.world import World, broker_of, real_node, told


async def fill(folder: Path, out: Path) -> None:
    world = World.build(folder / "world")
    broker_data, om_data, politie_data = (folder / name for name in ("broker", "om", "politie"))
    async with (
        broker_of(world, broker_data) as broker,
        real_node(world, POLITIE.oin, politie_data, broker.port, [ZSM_CONTEXT]) as politie,
        real_node(world, OM.oin, om_data, broker.port) as om,
    ):
        await om.asker.open_purpose(ZSM_CONTEXT, [POLITIE.oin])
        for _ in range(3):
            for person, expected in ((world.somebody, "bekend"), (world.nobody, "geen_uitsluitsel")):
                found = await told(om, world, ZSM_CONTEXT, person, POLITIE.oin)
                assert found == [expected], found
            await broker._checkpoints.make()
            for node in (om, politie):
                await node.witness.round()
    desk = DeskStore.open(politie_data)
    box = world.keys_of(POLITIE.oin).desk_box
    matter = b"what a colleague is to look at".ljust(512)
    row = Exchange(secrets.token_bytes(16), milliseconds(world.clock.now()) + 10**9, ZSM_CONTEXT, 1)
    await desk.begin(row, [bytes(box.encrypt(matter))])
    desk.close()

    for name, path in {
        "broker": broker_data / "broker.db",
        "node": politie_data / "node.db",
        "requester": om_data / "node.db",
        "registers": politie_data / "registers.db",
        "desk": politie_data / "desk.db",
    }.items():
        with closing(sqlite3.connect(path)) as connection:
            (out / f"{name}.sql").write_text("\n".join(connection.iterdump()) + "\n", encoding="utf-8")
    keys = {
        "moment": world.clock.now().isoformat(),
        "broker_signing": bytes(broker._directory.present.keys.signing).hex(),
        "signing": bytes(world.signing(POLITIE.oin)).hex(),
        "requester_signing": bytes(world.signing(OM.oin)).hex(),
        "requester_state": world.keys_of(OM.oin).state.hex(),
        "requester_officer": bytes(world.privacy_officer(OM.oin)).hex(),
        "desk": (world.built.nodes[POLITIE.oin].folder / "keys" / "desk.key").read_text("ascii").strip(),
    }
    (out / "keys.json").write_text(json.dumps(keys, indent=1) + "\n", encoding="ascii")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(fill(Path(name), Path(sys.argv[1])))

"""Taking along what the node keeps: `bekend inzage export`, beside a node that runs or stands still.

The export is read on a machine without a network. It is written to the log of the node that it was made: who can read
sealed records leaves a trace (FG-30).
"""

import getpass
import json
from hashlib import blake2b
from pathlib import Path
from typing import Final

from bekend_policy.load import load_covenant
from bekend_proto.clock import Clock, milliseconds
from bekend_proto.durable import append_log
from bekend_proto.errors import KeysError

from bekend_node.config import NodeConfig
from bekend_node.store import Store
from bekend_node.store_export import Progress, write_export

LOG_KIND: Final = "export"


def export(config: NodeConfig, path: Path, clock: Clock, progress: Progress = lambda *_: None) -> dict[str, int]:
    """Write an export to a new file; gives how much is in it.

    Raises KeysError when the node has not seen the broker's key manifest yet, StorageError.
    """
    broker = load_covenant(config.covenant).broker_oin
    store = Store.open(config.data)
    try:
        held = store.manifests().get(broker)
        if held is None:
            raise KeysError(
                "de node kent het sleuteloverzicht van de makelaar nog niet: laat hem eerst één keer draaien"
            )
        now = milliseconds(clock.now())
        entry = json.dumps([now, getpass.getuser()]).encode()
        digest = blake2b(entry, digest_size=32, person=b"bekend1-export").digest()
        store.database.write_sync(lambda conn: append_log(conn, LOG_KIND, digest, now))
        meta = {
            "oin": config.oin.encode("ascii"),
            "made": str(now).encode("ascii"),
            "manifest": config.manifest.read_bytes(),
            "broker_manifest": held[1],
            "manifests": json.dumps([note.hex() for _, note in store.manifests().values()]).encode("ascii"),
        }
        write_export(store, path, meta, progress)
        counts = store.counts()
        return {"questions": counts["answered"], "sealed": counts["sealed"], "own": counts["own_record"]}
    finally:
        store.close()

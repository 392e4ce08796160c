"""What an import leaves at a node, written with all its keys at hand: for tests about other things.

A real import costs the broker and a thousand padded elements a purpose, and a process where it has one. Only whoever
made the federation holds both halves of a key; no party does. The nodes must not run yet.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bekend_broker import keys as broker_keys
from bekend_deploy.federation import Federation
from bekend_node import pseudonym_file
from bekend_node.config import NodeConfig, load_config
from bekend_node.keys import NodeKeys
from bekend_node.pseudonym_file import month_number
from bekend_node.store_registers import Generation, Registers
from bekend_policy.load import load_covenant
from bekend_policy.model import Covenant
from bekend_proto.clock import SystemClock, day_of, epoch_of
from bekend_proto.group import multiply
from bekend_proto.identifiers import Identifier, parse_identifier
from bekend_proto.oprf import hash_identifier
from bekend_proto.secret_files import read_secret

MONTHS = 24
"""How long a registration without an end stays (`registration_months` of node.yaml)."""


def fill(federation: Federation, by_name: Sequence[Identifier] = ()) -> None:
    """Put every register of every node into service, as of today; these combinations are known to everybody."""
    covenant = load_covenant(federation.built.covenant)
    now, kind = SystemClock().now(), federation.population.kind
    last = last_month(now)
    for oin, node in federation.built.nodes.items():
        filling = Filling(load_config(node.config), covenant, federation.built.broker_config.parent / "keys", now)
        rows = {
            register: [
                (parse_identifier(kind, row.identifier), last if row.end is None else month_number(f"{row.end:%Y-%m}"))
                for row in federation.population.registers[oin, register]
            ]
            + [(one, last) for one in by_name]
            for register in node.imports
        }
        filling.put_into_service(rows, [kind, *(one.kind for one in by_name)])


def last_month(now: datetime) -> int:
    """The last one of a registration that has no end."""
    return month_number(f"{day_of(now):%Y-%m}") + MONTHS


@dataclass(frozen=True)
class Filling:
    """One node, and the folder with the broker's half of its keys."""

    config: NodeConfig
    covenant: Covenant
    broker_keys: Path
    now: datetime

    def put_into_service(
        self, registers: dict[str, list[tuple[Identifier, int]]], kinds: Iterable[str] = ("bsn",)
    ) -> None:
        """These persons with their last months, by register: a generation per purpose and kind, and the canaries'."""
        store = Registers.open(self.config.data)
        for register, rows in registers.items():
            self._switch(store, register, rows, tuple(dict.fromkeys(kinds)))
        store.close()

    def _switch(
        self, store: Registers, register: str, rows: Sequence[tuple[Identifier, int]], kinds: Sequence[str]
    ) -> None:
        epoch, generations, canaries = epoch_of(self.now), [], {}
        number = store.next_file()
        for purpose in self._purposes(register):
            scalars = self._scalars(purpose, epoch)
            for kind in kinds:
                records = sorted(
                    pseudonym_file.record(_pseudonym(person, *scalars), month)
                    for person, month in rows
                    if person.kind == kind
                )
                file = store.file(number)
                count = pseudonym_file.write(file, pseudonym_file.merge_sorted(records))
                generations.append(
                    Generation(
                        number,
                        register,
                        purpose,
                        epoch,
                        day_of(self.now),
                        int(self.now.timestamp()),
                        count,
                        kind,
                        digest=pseudonym_file.digest(file),
                    )
                )
                number += 1
            canaries[purpose] = b"".join(_pseudonym(one, *scalars) for one in self.config.canary_identifiers)
        store.switch(register, epoch, generations, canaries, None)

    def _purposes(self, register: str) -> list[str]:
        sources = {one: self.covenant.sources(one).get(self.config.oin) for one in self.covenant.purposes}
        return [one for one, source in sources.items() if source is not None and register in source.registers]

    def _scalars(self, purpose: str, epoch: str) -> tuple[bytes, bytes]:
        """k and b, of P = k * b * x (protocol section 5)."""
        root = read_secret(broker_keys.evaluation_root(self.broker_keys, epoch))
        b = broker_keys.evaluation_key(root, self.config.oin, purpose, epoch).secret
        return NodeKeys.load(self.config.keys, self.config.oin).evaluation_key(purpose, epoch).secret, b


def _pseudonym(person: Identifier, k: bytes, b: bytes) -> bytes:
    return multiply(k, multiply(b, hash_identifier(person)))

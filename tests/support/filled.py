"""What an import leaves at every node of a federation, written with all its keys at hand: for tests about other things.

A real import costs a process, the broker and a thousand padded elements a purpose. Only whoever made the federation
holds both halves of a key; no party does. The nodes must not run yet.
"""

from collections.abc import Callable, Iterable, Sequence

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

MONTHS = 24
"""How long a registration without an end stays (`registration_months` of node.yaml)."""


def fill(federation: Federation, by_name: Sequence[Identifier] = ()) -> None:
    """Put every register of every node into service, as of today; these combinations are known to everybody."""
    covenant = load_covenant(federation.built.covenant)
    for oin, node in federation.built.nodes.items():
        config = load_config(node.config)
        store = Registers.open(config.data)
        for register in node.imports:
            purposes = [one for one in covenant.purposes if register in _registers(covenant, one, oin)]
            _switch(federation, config, store, register, purposes, by_name)
        store.close()


def _registers(covenant: Covenant, purpose: str, oin: str) -> tuple[str, ...]:
    source = covenant.sources(purpose).get(oin)
    return () if source is None else tuple(source.registers)


def _switch(
    federation: Federation,
    config: NodeConfig,
    store: Registers,
    register: str,
    purposes: Iterable[str],
    by_name: Sequence[Identifier],
) -> None:
    """One import: a generation per purpose and kind, and the canary's pseudonyms."""
    now, kind = SystemClock().now(), federation.population.kind
    last = month_number(day_of(now).isoformat()[:7]) + MONTHS
    rows = [
        (parse_identifier(kind, row.identifier), last if row.end is None else month_number(row.end.isoformat()[:7]))
        for row in federation.population.registers[config.oin, register]
    ] + [(one, last) for one in by_name]
    generations, canaries = [], {}
    for purpose in purposes:
        pseudonym = _pseudonyms(federation, config, purpose, epoch_of(now))
        for held in dict.fromkeys([kind, *(one.kind for one in by_name)]):
            found = [(person, month) for person, month in rows if person.kind == held]
            records = sorted(pseudonym_file.record(pseudonym(person), month) for person, month in found)
            number = store.next_file()
            count = pseudonym_file.write(store.file(number), pseudonym_file.merge_sorted(records))
            generations.append(
                Generation(number, register, purpose, epoch_of(now), day_of(now), int(now.timestamp()), count, held)
            )
        canaries[purpose] = pseudonym(config.canary_identifier)
    store.switch(register, epoch_of(now), generations, canaries, None)


def _pseudonyms(federation: Federation, config: NodeConfig, purpose: str, epoch: str) -> Callable[[Identifier], bytes]:
    """P = k * b * x (protocol section 5)."""
    root = broker_keys.read_secret(broker_keys.evaluation_root(federation.built.broker_config.parent / "keys", epoch))
    b = broker_keys.evaluation_key(root, config.oin, purpose, epoch).secret
    k = NodeKeys.load(config.keys, config.oin).evaluation_key(purpose, epoch).secret
    return lambda person: multiply(k, multiply(b, hash_identifier(person)))

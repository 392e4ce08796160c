"""What metrics may say: label values from closed sets, and none that tells of one partner's question."""

from collections.abc import Collection, Iterable, Mapping

import grpc
from bekend_broker.metrics import ENDS, REPLIES
from bekend_node.ask.signals import Kind
from bekend_node.metrics import ALL
from bekend_node.metrics import ENDS as ASKED_ENDS
from bekend_policy.decide import RULES
from bekend_policy.decision_log import SUSPENDED
from bekend_policy.model import Covenant
from bekend_proto.certificates import USAGES
from bekend_proto.errors import code_name
from bekend_proto.v1 import broker_pb2
from bekend_proto.v1.errors_pb2 import ErrorCode
from prometheus_client import Metric

CODES = {code_name(code) for code in ErrorCode.values() if code}

METHODS = {
    *(f"BrokerService/{one.name}" for one in broker_pb2.DESCRIPTOR.services_by_name["BrokerService"].methods),
    *(f"Health/{name}" for name in ("Check", "Watch", "List")),
}

PER_PARTNER = {"bekend_broker_partner_attached", "bekend_broker_partner_answered_ratio"}
"""The only series that name a partner: neither moves with one question."""


def closed_sets(
    covenant: Covenant, brokers: Collection[str] = (), registers: Collection[str] = ()
) -> dict[str, set[str]]:
    """Label -> every value that it may have."""
    named = {
        register
        for purpose in covenant.purposes
        for one in covenant.sources(purpose).values()
        for register in one.registers
    }
    return {
        "purpose": {*covenant.purposes, "other", ALL},
        "decision": {"admitted", *CODES},
        "end": {*ENDS, *REPLIES, *ASKED_ENDS.values()},
        "kind": {"release", "collect", *(kind.value for kind in Kind)},
        "rule": {*RULES, SUSPENDED, "other"},
        "partner": set(covenant.participants),
        "register": {*named, "afgeschermd", *registers},
        "broker": set(brokers),
        "state": {"pending", "in_force", "due", "open", "overdue"},
        "method": METHODS,
        "code": {*(code.name for code in grpc.StatusCode), *CODES},
        "usage": set(USAGES),
        "id": {covenant.id},
        "version": {str(covenant.version)},
        "hash": {covenant.hash.hex()},
    }


def open_labels(families: Iterable[Metric], sets: Mapping[str, Collection[str]]) -> list[str]:
    """Every label value of our own series that is in no closed set, and every series that names a partner wrongly."""
    wrong = []
    for family in families:
        if not family.name.startswith("bekend_") or family.name == "bekend_build_info":
            continue
        for sample in family.samples:
            labels = {name: value for name, value in sample.labels.items() if name != "le"}
            wrong += [f"{sample.name}{{{name}={value}}}" for name, value in labels.items() if value not in sets[name]]
            if "partner" in labels and family.name not in PER_PARTNER:
                wrong.append(f"{sample.name} names a partner")
            if sample.exemplar is not None:
                wrong.append(f"{sample.name} has an exemplar")
    return wrong

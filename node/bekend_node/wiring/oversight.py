"""What the privacy officer of a node reads and decides, and the housekeeping that goes by the same terms."""

from bekend_node.audit.requests import AuditDesk
from bekend_node.housekeeping import Housekeeping
from bekend_node.log_reading import LogReading
from bekend_node.records.desk import RecordsDesk
from bekend_node.records.relay import Relay
from bekend_node.retention import Retention
from bekend_node.signal_reading import SignalReading
from bekend_node.store_audits import Audits
from bekend_node.store_decisions import Decisions
from bekend_node.store_deferrals import Deferrals
from bekend_node.store_retention import RetentionStore
from bekend_node.wiring.core import Core
from bekend_node.wiring.requester import Requester


class Oversight:
    """Over both sides."""

    def __init__(self, core: Core, requester: Requester) -> None:
        oin, readers, clock = core.config.oin, core.config.log_readers, core.clock
        covenant, database = core.rules.covenant, core.store.database
        self.log_reading = LogReading(Decisions(database), core.registers, covenant, oin, readers=readers, clock=clock)
        self.signal_reading = SignalReading(
            requester.signal_store, Decisions(database), covenant, readers=readers, clock=clock
        )
        self.deferrals = Deferrals(database)
        relay = Relay(lambda: core.rules.now.manifest, core.links, core.store, clock)
        self.records = RecordsDesk(oin, relay, self.deferrals, covenant, clock)
        self.audits = AuditDesk(Audits(database), covenant, core.directory.get, oin=oin, clock=clock)
        self.retention = Retention(RetentionStore(database), core.registers, covenant, oin, clock)
        self.housekeeping = Housekeeping(
            keys=core.keys,
            rules=core.rules,
            registers=core.registers,
            store=core.store,
            retention=self.retention,
            team=requester.team,
            signals=requester.signals,
            asker=requester.asker,
            metrics=core.metrics,
            clock=clock,
        )

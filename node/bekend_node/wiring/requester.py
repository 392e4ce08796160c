"""The requester side of a node: who asks, over which lines, who is told of what came, and how asking is watched."""

from datetime import timedelta
from functools import partial

from bekend_proto import logs

from bekend_node.ask.asker import Asker
from bekend_node.ask.broker_line import GrpcLine
from bekend_node.ask.case_reference import case_key
from bekend_node.ask.signals import Signals
from bekend_node.ask.team import Team
from bekend_node.canary import Canaries
from bekend_node.hook import Hook
from bekend_node.mail import MailServer, Notices
from bekend_node.store_colleagues import Colleagues
from bekend_node.store_signals import SignalStore
from bekend_node.wiring.core import Core
from bekend_node.wiring.source import Source


class Requester:
    """Questions leave over the lines that the source side keeps; canaries are found in its filters."""

    def __init__(self, core: Core, source: Source) -> None:
        config, keys, clock = core.config, core.keys, core.clock
        database = core.store.database
        self.late_hook = Hook(config.late_hook, logs.LATE_HOOK_FAILED)
        self.team = Team(core.asking, config.officers)
        self.notices = Notices(MailServer(config.mail, clock) if config.mail else None, self.team)
        self.signal_store = SignalStore(database, case_key(keys.state), keys.state_box)
        self.signals = Signals(self.signal_store, config.signals, clock, core.metrics.misuse)
        self.asker = Asker(
            core.asking,
            [
                GrpcLine(attachment.link, attachment.settled, partial(core.directory.attached_to, attachment.link))
                for attachment in source.attachments
            ],
            config.canary_identifiers,
            clock,
            self._something_came,
            signals=self.signals,
            listed=Colleagues(database, keys.colleagues).include,
            measures=core.metrics,
        )
        self.canaries = Canaries(
            self.asker, core.rules, source.filters, core.metrics, clock, every=timedelta(hours=config.canary_hours)
        )

    def _something_came(self) -> None:
        self.late_hook.waiting()
        self.notices.waiting()

"""The source side of a node: the filters, what comes over each line and who takes it, and the desk."""

from collections.abc import Callable
from functools import partial

from bekend_proto import log_table, logs
from bekend_proto.errors import FencedError

from bekend_node.answer.answerer import Answerer
from bekend_node.answer.collects import Collects
from bekend_node.answer.exchange import Exchanges
from bekend_node.answer.intake import Intake
from bekend_node.answer.push import Pusher
from bekend_node.attach import Attachment
from bekend_node.desk.comparing import Comparing
from bekend_node.desk.decisions import Desk
from bekend_node.desk.keeping import Keeping
from bekend_node.desk.matters import Matters
from bekend_node.filters import Filters
from bekend_node.halting import Halting
from bekend_node.hook import Hook
from bekend_node.wiring.core import Core


class Source:
    """`fence` is called when a broker says that another machine is this node now."""

    def __init__(self, core: Core, fence: Callable[[str, FencedError], None]) -> None:
        config, keys, clock = core.config, core.keys, core.clock
        self.filters = Filters(
            config,
            keys=keys,
            rules=core.rules,
            registers=core.registers,
            store=core.store,
            desk=core.desk_store,
            clock=clock,
            doubt=partial(core.beside.doubt, core.directory.refresh),
            quiet_until=core.store.read(log_table.quiet_until),
        )
        self.halting = Halting(self.filters, core.store.filters, lambda: core.rules.now, clock)
        self.hook = Hook(config.desk_hook, logs.DESK_HOOK_FAILED)
        matters = self.matters = Matters(core.desk_store, keys)
        self.keeping = Keeping(core.store, core.desk_store, matters, clock)
        self.comparing = Comparing(
            config,
            keys=keys,
            rules=core.rules,
            filters=self.filters,
            registers=core.registers,
            store=core.store,
            desk=core.desk_store,
            matters=matters,
            clock=clock,
            waiting=self.hook.waiting,
            canary_asked=core.metrics.canary_asked,
        )
        self.desk = Desk(
            config.desk_staff,
            keys=keys,
            rules=core.rules,
            registers=core.registers,
            store=core.store,
            desk=core.desk_store,
            matters=matters,
            clock=clock,
        )
        self.attachments = self._attachments(core, matters, fence)

    def _attachments(
        self, core: Core, matters: Matters, fence: Callable[[str, FencedError], None]
    ) -> tuple[Attachment, ...]:
        """One line to each replica; whatever comes over any of them is taken by the same."""
        keys, rules, store, clock, metrics = core.keys, core.rules, core.store, core.clock, core.metrics
        directory, filters = core.directory, self.filters
        held, heads = core.suspending.held, core.witness.heads
        answerer = Answerer(keys, rules, directory, filters, store, clock, metrics, held, heads)
        pusher = Pusher(rules, directory, filters, store, clock, held, heads)
        exchanges = Exchanges(keys, rules, store, clock, metrics, held, heads)
        intake = Intake(exchanges, directory, filters, matters, self.comparing.named)
        collects = Collects(exchanges, matters, core.registers, filters)
        return tuple(
            Attachment(link, rules, answerer, pusher, intake, collects, metrics, directory.changed, fenced=fence)
            for link in core.links
        )

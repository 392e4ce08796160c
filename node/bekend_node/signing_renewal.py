"""Going over to the next signing key while the node serves: whoever verifies had the time to fetch who it is."""

from collections.abc import Sequence

from bekend_proto import logs
from bekend_proto.clock import Clock
from bekend_proto.incarnation import own
from bekend_proto.signing_files import Renewal

from bekend_node.attach import Attachment
from bekend_node.broker_link import BrokerLink
from bekend_node.config import NodeConfig
from bekend_node.keys import NodeKeys
from bekend_node.rules import RulesInForce
from bekend_node.witness import Witness


class SigningRenewal:
    """Lets everything here that signs do so with the next key, at its moment (`signing_files.py`)."""

    def __init__(
        self,
        config: NodeConfig,
        *,
        keys: NodeKeys,
        rules: RulesInForce,
        witness: Witness,
        links: Sequence[BrokerLink],
        attachments: Sequence[Attachment],
        clock: Clock,
    ) -> None:
        self._config = config
        self._keys = keys
        self._rules = rules
        self._witness = witness
        self._links = links
        self._attachments = attachments
        self._renewal = Renewal(config.keys, clock)

    def look(self) -> None:
        """Sign with the next key from now on, if there is one and its moment has come. Raises KeysError."""
        if not all(attachment.attached.is_set() for attachment in self._attachments):
            return
        manifest = self._rules.now.manifest
        if not self._renewal.look(manifest.signing_keys, manifest.valid_until):
            return
        config = self._config
        self._keys.signing = NodeKeys.load(config.keys, config.oin).signing
        self._witness.key = self._keys.signing
        for link in self._links:
            link.say(own(config.data, config.oin).statement(self._keys.signing))
        logs.log(logs.SIGNING_KEY_RENEWED, oin=config.oin)

"""An access request on its way: this node checks it, logs it, and hands it to a replica of the broker (section 8).

The node learns that the own privacy officer asks, and when. Who is meant is blinded, and the reply is of no use to
anybody without the secret that stays off line.
"""

from collections.abc import Callable, Sequence
from typing import Final

import grpc
from bekend_policy.manifest import KeyManifest
from bekend_proto import logs
from bekend_proto.channel import LABEL_ACCESS, open_signed
from bekend_proto.clock import Clock, milliseconds
from bekend_proto.errors import BekendError, Code, KeysError, RefusedError, UnreachableError, from_rpc_error
from bekend_proto.log_table import Entry
from bekend_proto.v1 import broker_pb2, errors_pb2, signed_pb2

from bekend_node.broker_link import BrokerLink
from bekend_node.records.request import request_hash
from bekend_node.store import Store

CALL_SECONDS: Final = 30.0
"""Time for as many multiplications as there are months, on a busy broker."""

_REASONS: dict[Code, str] = {
    errors_pb2.ERROR_CODE_STALE: "Dit verzoek is te oud of al eens verstuurd. Maak een nieuw verzoek.",
    errors_pb2.ERROR_CODE_BUDGET: "Uw organisatie mag vandaag geen inzageverzoeken meer sturen. Probeer het morgen.",
    errors_pb2.ERROR_CODE_SIGNATURE: "De handtekening onder dit verzoek is niet van de privacyfunctionaris uit het "
    "getekende sleuteloverzicht. Gebruik de sleutel van nu, of laat eerst een nieuw overzicht tekenen.",
    errors_pb2.ERROR_CODE_KEYS: "Het getekende sleuteloverzicht noemt nog geen sleutel voor inzageverzoeken. "
    "Laat een nieuw overzicht tekenen.",
    errors_pb2.ERROR_CODE_UNREACHABLE: "De makelaar is niet bereikbaar. Probeer het later opnieuw.",
    errors_pb2.ERROR_CODE_DEADLINE: "De makelaar antwoordde niet op tijd. Maak een nieuw verzoek en stuur dat.",
    errors_pb2.ERROR_CODE_STORAGE: "Het verzoek kon niet worden vastgelegd. Zonder vastlegging gaat het niet weg.",
}


class Relay:
    """Hands access requests on. `manifest` gives the own key manifest in force."""

    def __init__(
        self, manifest: Callable[[], KeyManifest], links: Sequence[BrokerLink], store: Store, clock: Clock
    ) -> None:
        self._manifest = manifest
        self._links = links
        self._store = store
        self._clock = clock

    async def send(self, signed: signed_pb2.Signed) -> broker_pb2.AccessResponse:
        """The broker's response; the hash of the request is in the own log before it leaves.

        Raises RefusedError (another organisation's), KeysError, SignatureError, MalformedError, StorageError, and what
        the broker says. Another replica is tried only when one cannot be reached.
        """
        manifest = self._manifest()
        if manifest.privacy_officer_signing is None:
            raise KeysError("the own manifest names no key that signs access requests: run `bekend node manifest`")
        request = open_signed(signed_pb2.SubjectAccess, signed, LABEL_ACCESS, [manifest.privacy_officer_signing])
        if request.requester != manifest.oin:
            raise RefusedError("eigen-organisatie", "Dit verzoek is van een andere organisatie.")
        now = self._clock.now()
        entry = Entry("access", request_hash(signed), milliseconds(now), requester=manifest.oin)
        await self._store.admit_asking(log=[entry], at=now)
        fault: BekendError = UnreachableError("no replica of the broker is configured")
        for link in self._links:
            try:
                response = await self._call(link, signed)
            except UnreachableError as error:
                fault = error
                continue
            logs.log(logs.ACCESS_RELAYED, broker=link.address, months=len(response.months))
            return response
        raise fault

    async def _call(self, link: BrokerLink, signed: signed_pb2.Signed) -> broker_pb2.AccessResponse:
        try:
            return await link.stub.Access(broker_pb2.AccessRequest(request=signed), timeout=CALL_SECONDS)
        except grpc.RpcError as fault:
            raise from_rpc_error(fault) from fault


def reason_of(error: BekendError) -> str:
    """What the privacy officer is told, in Dutch."""
    if isinstance(error, RefusedError):
        return error.reason
    return _REASONS.get(
        error.code, "Het verzoek kon niet worden verstuurd. De beheerder vindt de reden in het logboek."
    )

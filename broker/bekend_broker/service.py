"""The service as gRPC calls it: one line per call. Who calls is what TLS established, never what a message says."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, Final

from bekend_policy.versions import files_of
from bekend_proto.errors import BudgetError
from bekend_proto.interceptors import current_call, current_caller, current_key
from bekend_proto.v1.broker_pb2 import (
    AccessRequest,
    AccessResponse,
    AttachRequest,
    AttachResponse,
    CollectRequest,
    CollectResponse,
    EnrolRequest,
    EnrolResponse,
    FetchRequest,
    FetchResponse,
    GetCheckpointRequest,
    GetCheckpointResponse,
    GetConsistencyProofRequest,
    GetConsistencyProofResponse,
    GetCovenantRequest,
    GetCovenantResponse,
    GetDirectoryRequest,
    GetDirectoryResponse,
    GetInclusionProofRequest,
    GetInclusionProofResponse,
    LookupRequest,
    LookupResponse,
    PublishManifestRequest,
    PublishManifestResponse,
    PublishSuspensionRequest,
    PublishSuspensionResponse,
    PushRequest,
    PushResponse,
    PutCheckpointRequest,
    PutCheckpointResponse,
    PutCosignatureRequest,
    PutCosignatureResponse,
    ReleaseRequest,
    ReleaseResponse,
)
from bekend_proto.v1.broker_pb2_grpc import BrokerServiceServicer

from bekend_broker.access import Accesses
from bekend_broker.checkpoints import Checkpoints
from bekend_broker.directory import Directory
from bekend_broker.enrolment import Enrolments
from bekend_broker.lookup import Lookups
from bekend_broker.register import Register
from bekend_broker.releases import Releases
from bekend_broker.suspending import suspend
from bekend_broker.transfer import Transfers

LARGE_AT_ONCE: Final = 16
"""Directories and covenants that are on their way to one caller: its node asks one at a time, its commands too."""


class BrokerService(BrokerServiceServicer):
    """Hands each call to its part of the broker."""

    def __init__(
        self,
        *,
        directory: Directory,
        register: Register,
        lookups: Lookups,
        transfers: Transfers,
        enrolments: Enrolments,
        releases: Releases,
        checkpoints: Checkpoints,
        accesses: Accesses,
    ) -> None:
        self._directory = directory
        self._register = register
        self._lookups = lookups
        self._transfers = transfers
        self._enrolments = enrolments
        self._releases = releases
        self._checkpoints = checkpoints
        self._accesses = accesses
        self._on_their_way: Counter[str] = Counter()

    def _hold_large(self, context: Any) -> None:
        """Count a large reply until the caller has it, since it is in memory until then. Raises BudgetError."""
        caller = current_caller()
        if self._on_their_way[caller] >= LARGE_AT_ONCE:
            raise BudgetError(f"{caller} does not take in what it asks: {LARGE_AT_ONCE} replies are on their way to it")
        self._on_their_way[caller] += 1
        context.add_done_callback(lambda _: self._on_their_way.subtract((caller,)))

    async def GetDirectory(self, request: GetDirectoryRequest, context: Any) -> GetDirectoryResponse:  # noqa: N802
        """The directory, signed notes only."""
        self._hold_large(context)
        return self._directory.response(self._register.is_attached, request)

    async def PublishManifest(  # noqa: N802
        self, request: PublishManifestRequest, context: Any
    ) -> PublishManifestResponse:
        """Take the caller's own manifest."""
        number = await self._directory.publish(current_caller(), request.manifest, current_key())
        return PublishManifestResponse(number=number)

    async def PublishSuspension(  # noqa: N802
        self, request: PublishSuspensionRequest, context: Any
    ) -> PublishSuspensionResponse:
        """Take a suspension or withdrawal; every node hears of it at once."""
        return PublishSuspensionResponse(number=await suspend(self._directory, self._register, request.note))

    async def GetCovenant(  # noqa: N802
        self, request: GetCovenantRequest, context: Any
    ) -> AsyncIterator[GetCovenantResponse]:
        """Bring a version of the covenant."""
        self._hold_large(context)
        version = self._directory.present.version(request.hash)
        for path, content in await asyncio.to_thread(files_of, version):
            yield GetCovenantResponse(path=path, content=content)

    def Attach(  # noqa: N802
        self, request_iterator: AsyncIterator[AttachRequest], context: Any
    ) -> AsyncIterator[AttachResponse]:
        """Keep a source's stream."""
        return self._register.attach(current_call(), request_iterator)

    def Lookup(  # noqa: N802
        self, request_iterator: AsyncIterator[LookupRequest], context: Any
    ) -> AsyncIterator[LookupResponse]:
        """One lookup."""
        return self._lookups.run(current_caller(), request_iterator)

    def Fetch(self, request: FetchRequest, context: Any) -> AsyncIterator[FetchResponse]:  # noqa: N802
        """Bring a filter."""
        return self._transfers.fetch(current_caller(), request)

    async def Push(self, request_iterator: AsyncIterator[PushRequest], context: Any) -> PushResponse:  # noqa: N802
        """Take a filter on its way."""
        return await self._transfers.push(current_caller(), request_iterator)

    def Enrol(  # noqa: N802
        self, request_iterator: AsyncIterator[EnrolRequest], context: Any
    ) -> AsyncIterator[EnrolResponse]:
        """Evaluate an import."""
        return self._enrolments.run(current_call(), request_iterator)

    async def Release(self, request: ReleaseRequest, context: Any) -> ReleaseResponse:  # noqa: N802
        """Pass on what names persons, or withdraws it."""
        return await self._releases.release(current_caller(), request)

    async def Collect(self, request: CollectRequest, context: Any) -> CollectResponse:  # noqa: N802
        """Pass on a collect."""
        return await self._releases.collect(current_caller(), request)

    async def GetCheckpoint(self, request: GetCheckpointRequest, context: Any) -> GetCheckpointResponse:  # noqa: N802
        """The newest signed checkpoint."""
        return GetCheckpointResponse(checkpoint=await self._checkpoints.newest())

    async def GetConsistencyProof(  # noqa: N802
        self, request: GetConsistencyProofRequest, context: Any
    ) -> GetConsistencyProofResponse:
        """The log goes on from what it was."""
        return GetConsistencyProofResponse(hashes=await self._checkpoints.consistency(request))

    async def GetInclusionProof(  # noqa: N802
        self, request: GetInclusionProofRequest, context: Any
    ) -> GetInclusionProofResponse:
        """Entries are in the log."""
        return GetInclusionProofResponse(paths=await self._checkpoints.inclusion(request))

    async def PutCosignature(  # noqa: N802
        self, request: PutCosignatureRequest, context: Any
    ) -> PutCosignatureResponse:
        """Keep the caller's cosignature."""
        await self._checkpoints.cosign(current_caller(), request.checkpoint)
        return PutCosignatureResponse()

    async def PutCheckpoint(self, request: PutCheckpointRequest, context: Any) -> PutCheckpointResponse:  # noqa: N802
        """See a checkpoint of the caller's own log."""
        return PutCheckpointResponse(size=await self._checkpoints.witness(current_caller(), request))

    async def Access(self, request: AccessRequest, context: Any) -> AccessResponse:  # noqa: N802
        """Evaluate an access request."""
        return await self._accesses.run(current_caller(), request.request)

"""Steps (2) and (4): Begin goes to one replica of the broker, and its proof is verified before anything else leaves.

Until then another replica may be tried: whatever goes wrong raises BeginFailedError.
"""

import asyncio
from collections.abc import Iterator
from typing import Final, TypeVar

from bekend_policy.manifest import KeyManifest
from bekend_proto.errors import BekendError, DeadlineError, MalformedError, UnreachableError, VersionError, error_of
from bekend_proto.v1 import broker_pb2, signed_pb2

from bekend_node.ask import messages, own_record
from bekend_node.ask.asking import Asking
from bekend_node.ask.blinds import Blinds
from bekend_node.ask.broker_line import LookupCall
from bekend_node.ask.rules import Inquiry

T = TypeVar("T")

BEGIN_SECONDS: Final = 5.0


class BeginFailedError(Exception):
    """The lookup ended before a Question left."""

    def __init__(self, cause: BekendError) -> None:
        super().__init__()
        self.cause = cause


async def facts_of(asking: Asking, inquiry: Inquiry) -> messages.Facts:
    """What Begin and all Questions have in common. Raises BeginFailedError."""
    try:
        facts = messages.Facts(
            requester=asking.oin,
            on_behalf_of=inquiry.on_behalf_of,
            purpose=inquiry.purpose,
            covenant_hash=asking.covenant.hash,
            requester_manifest=asking.manifest.number,
            broker=speaking(await asking.manifest_of(asking.covenant.broker_oin)),
            time=asking.clock.now(),
            checkpoint=asking.heads.checkpoint,
            case_reference=inquiry.case_reference or "",
            officer=own_record.committed_officers(
                inquiry.officer.user, inquiry.second.user if inquiry.second else None
            ),
        )
        _ = facts.record_key
    except BekendError as error:
        raise BeginFailedError(error) from None
    return facts


def speaking(manifest: KeyManifest) -> KeyManifest:
    """The manifest of a party that speaks this version of the protocol. Raises VersionError: never a miss."""
    if messages.PROTOCOL_VERSION not in manifest.protocol_versions:
        raise VersionError(f"{manifest.oin} speaks versions {manifest.protocol_versions} of the protocol")
    return manifest


async def meanwhile(work: Iterator[None], awaited: "asyncio.Task[T]") -> T:
    """What is awaited comes first: nothing of it waits for more than one step of the work."""
    try:
        await asyncio.sleep(0)
        if not awaited.done():
            for _ in work:
                await asyncio.sleep(0)
                if awaited.done():
                    break
        return await awaited
    finally:
        awaited.cancel()


async def begin(
    call: LookupCall, message: signed_pb2.Signed, patience: float, work: Iterator[None]
) -> broker_pb2.LookupResponse:
    """Send Begin, go on with other work, and wait for its reply, so many seconds in all. Raises BeginFailedError."""
    try:
        async with asyncio.timeout(patience):
            await call.write(broker_pb2.LookupRequest(begin=message))
            reply = await meanwhile(work, asyncio.ensure_future(call.read()))
        if reply is None:
            raise UnreachableError("the broker ended the lookup before its reply to Begin")
        if reply.WhichOneof("kind") == "failure":
            raise error_of(reply.failure.code, "the broker refused Begin")
        if reply.WhichOneof("kind") != "begun":
            raise MalformedError("the broker's first reply is no reply to Begin")
    except TimeoutError:
        raise BeginFailedError(DeadlineError("no reply to Begin")) from None
    except BekendError as error:
        raise BeginFailedError(error) from None
    return reply


def finalize(facts: messages.Facts, secret: Blinds, begun: broker_pb2.Begun) -> tuple[bytes, ...]:
    """`U_j` under the month's key of the broker's manifest. Raises BeginFailedError when the proof does not hold."""
    try:
        return secret.finalize(messages.check_begun(facts, secret, begun))
    except BekendError as error:
        raise BeginFailedError(error) from None

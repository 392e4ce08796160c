"""Manifests: believed under the ondertekenaar's key alone, the newest only (protocol section 4; must-list 3)."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from bekend_broker.service import LARGE_AT_ONCE
from bekend_deploy.partners import BROKER_OIN, ZSM_CONTEXT
from bekend_policy.manifest import NOTE_LIMIT, open_manifest
from bekend_proto.errors import (
    BekendError,
    BudgetError,
    KeysError,
    MalformedError,
    SignatureError,
    StaleError,
    UnknownPartnerError,
)
from bekend_proto.identity import TlsFiles, channel_to, pinned_keys
from bekend_proto.note import note_name, sign_note
from bekend_proto.v1.broker_pb2 import (
    GetCovenantRequest,
    GetCovenantResponse,
    GetDirectoryRequest,
    GetDirectoryResponse,
    PublishManifestRequest,
)
from nacl.signing import SigningKey

from tests.broker.test_suspensions import publish
from tests.support.federation import Federation, Party, metric, told, until
from tests.support.suspensions import signed, suspension


async def test_the_directory_holds_signed_notes_that_anyone_can_verify(federation: Federation, om: Party) -> None:
    async with federation.broker():
        response = await om.directory()
    now = federation.clock.now()
    assert list(response.protocol_versions) == [1]
    assert list(response.covenant_hashes) == [federation.covenant.hash]
    own = open_manifest(response.broker_manifest, federation.operator_vkey, now)
    assert own.oin == BROKER_OIN
    assert [entry.oin for entry in response.entries] == sorted(federation.parties)
    for entry in response.entries:
        assert open_manifest(entry.manifest, federation.parties[entry.oin].signer_vkey, now).oin == entry.oin


async def test_what_a_node_has_is_not_sent_again_until_something_changes(
    federation: Federation, om: Party, politie: Party
) -> None:
    async with federation.broker():
        first = await om.directory()
        async with politie.attached():
            again = await om.directory(first.digest)
            assert again == GetDirectoryResponse(digest=first.digest, unchanged=True, attached=[politie.oin])
        assert not (await om.directory(b"?" * 32)).unchanged
        om.renew_manifest()
        await om.publish()
        second = await om.directory(first.digest)
        assert om.note in {entry.manifest for entry in second.entries}
        await publish(om, signed(federation, suspension(federation, "doel", ZSM_CONTEXT)))
        third = await om.directory(second.digest)
        assert len(third.suspensions) == 1
        assert (await om.directory(third.digest)).unchanged


async def test_who_takes_changes_gets_what_is_new_since_and_nothing_else(
    federation: Federation, om: Party, politie: Party
) -> None:
    async with federation.broker() as broker:
        first = await om.directory(changes=True)
        assert len(first.entries) == len(federation.parties)
        om.renew_manifest()
        await om.publish()
        async with politie.attached():
            second = await om.directory(first.digest, changes=True)
        # Each entry says who is attached: all that is compared from here on is read after this one went.
        await until(lambda: metric(broker, "bekend_broker_attached_partners") == 0)
        whole = await om.directory()
        assert (second.since, second.digest) == (first.digest, whole.digest)
        assert [(entry.oin, entry.manifest) for entry in second.entries] == [(om.oin, om.note)]
        assert not second.broker_manifest
        assert list(second.attached) == [politie.oin]
        assert second.covenant_hashes == whole.covenant_hashes
        assert second.protocol_versions == whole.protocol_versions
        # A node of the release before does not ask for changes: it gets everything.
        assert (await om.directory(first.digest)).entries == whole.entries
    async with federation.broker():
        # A broker that was started anew remembers nothing.
        assert (await om.directory(first.digest, changes=True)).entries == whole.entries


async def test_must_03_a_manifest_that_its_ondertekenaar_did_not_sign_is_refused(
    federation: Federation, om: Party
) -> None:
    async with federation.broker():
        om.renew_manifest()
        for key in (SigningKey.generate(), om.signing, federation.operator):
            text = om.note.split(b"\n\n")[0].decode() + "\n"
            note = sign_note(text, note_name(om.oin, "ondertekenaar"), bytes(key))
            with pytest.raises(SignatureError):
                await om.publish(note)


async def test_must_03_the_manifest_of_another_partner_is_refused(
    federation: Federation, om: Party, politie: Party
) -> None:
    async with federation.broker():
        politie.renew_manifest()
        with pytest.raises(BekendError):
            await om.publish(politie.note)
        with pytest.raises(KeysError):
            await om.publish(om.make_manifest(oin=politie.oin))


async def test_must_03_an_older_manifest_is_refused_also_after_a_restart(federation: Federation, om: Party) -> None:
    older = om.note
    async with federation.broker():
        om.renew_manifest()
        assert await om.publish() == 2
        with pytest.raises(StaleError):
            await om.publish(older)
    async with federation.broker():
        with pytest.raises(StaleError):
            await om.publish(older)
        assert await om.publish() == 2


async def test_one_number_names_one_manifest(federation: Federation, om: Party) -> None:
    async with federation.broker():
        with pytest.raises(StaleError):
            await om.publish(om.make_manifest(register_sizes={"zaken": 5}))
        assert await om.publish() == 1


async def test_a_key_of_an_older_manifest_signs_no_more(federation: Federation, om: Party) -> None:
    async with federation.broker():
        old = om.signing
        om.signing = SigningKey.generate()
        om.renew_manifest()
        await om.publish()
        await om.lookup(ZSM_CONTEXT).begin()
        om.signing = old
        with pytest.raises(SignatureError):
            await om.lookup(ZSM_CONTEXT).begin()


async def test_a_partner_that_published_is_known_after_a_restart(federation: Federation, om: Party) -> None:
    async with federation.broker():
        pass
    async with federation.broker():
        assert om.oin in {entry.oin for entry in (await om.directory()).entries}


@pytest.mark.parametrize("note", [b"", b"no note", b"a text\n\n\xe2\x80\x94 nobody AAAA\n", bytes(NOTE_LIMIT + 1)])
async def test_what_is_no_note_is_refused(federation: Federation, om: Party, note: bytes) -> None:
    async with federation.broker():
        with pytest.raises(MalformedError):
            await told(om.stub.PublishManifest(PublishManifestRequest(manifest=note), timeout=10))


async def test_an_ended_manifest_is_refused(federation: Federation, om: Party) -> None:
    async with federation.broker():
        om.renew_manifest(valid_until=federation.clock.now() + timedelta(hours=1))
        federation.clock.advance(timedelta(hours=1))
        with pytest.raises(KeysError):
            await om.publish()


async def test_a_superseded_source_manifest_is_good_for_three_minutes(
    federation: Federation, om: Party, politie: Party
) -> None:
    async with federation.broker():
        politie.renew_manifest()
        await politie.publish()
        async with politie.attached():

            async def outcome(number: int) -> object:
                lookup = await om.lookup(ZSM_CONTEXT).begin()
                await lookup.ask(lookup.question(politie.oin, source_manifest=number))
                return (await lookup.replies())[politie.oin]

            assert not isinstance(await outcome(1), str)
            assert not isinstance(await outcome(2), str)
            federation.clock.advance(timedelta(minutes=3, seconds=1))
            assert await outcome(1) == "keys"
            assert not isinstance(await outcome(2), str)


async def test_must_03_the_brokers_own_manifest_never_goes_back(federation: Federation) -> None:
    first = (federation.folder / "manifest.note").read_bytes()
    federation.write_manifest()
    second = (federation.folder / "manifest.note").read_bytes()
    async with federation.broker() as broker:
        (federation.folder / "manifest.note").write_bytes(first)
        assert not await broker.reload()
    with pytest.raises(StaleError):
        async with federation.broker():
            pass
    (federation.folder / "manifest.note").write_bytes(second)
    async with federation.broker():
        pass


def key_in(files: TlsFiles) -> bytes:
    return pinned_keys([files.certificate])[0]


async def test_another_key_than_the_manifest_pins_is_refused_whoever_issued_it(
    federation: Federation, om: Party
) -> None:
    async with federation.broker() as broker:
        om.renew_manifest(tls_keys=(key_in(om.tls),))
        await om.publish()
        await om.lookup(ZSM_CONTEXT).begin()
        # The same authority, the same organisation, another key: an error of the authority, or worse.
        thief = federation.authority.issue(om.oin, name="thief", starts=-timedelta(days=200))
        await om.close()
        await om.connect(broker.port, thief)
        with pytest.raises(UnknownPartnerError):
            await om.lookup(ZSM_CONTEXT).begin()
        with pytest.raises(UnknownPartnerError):
            await om.publish()


async def test_with_both_keys_pinned_a_certificate_is_renewed_without_a_pause(
    federation: Federation, om: Party
) -> None:
    renewed = federation.authority.issue(om.oin, name="renewed", starts=-timedelta(days=200))
    async with federation.broker() as broker:
        om.renew_manifest(tls_keys=tuple(sorted((key_in(om.tls), key_in(renewed)))))
        await om.publish()
        await om.lookup(ZSM_CONTEXT).begin()
        # A manifest that names the new key alone does not come with the old one: that would shut the node out.
        om.renew_manifest(tls_keys=(key_in(renewed),))
        with pytest.raises(UnknownPartnerError):
            await om.publish()
        old = om.stub.Lookup()
        await om.connect(broker.port, renewed)
        await om.publish()
        await om.lookup(ZSM_CONTEXT).begin()
        # And what is still connected with the old key is sent away.
        with pytest.raises(UnknownPartnerError):
            await told(old.read())


async def test_after_a_theft_the_new_certificate_brings_the_manifest_that_names_it(
    federation: Federation, om: Party
) -> None:
    async with federation.broker() as broker:
        om.renew_manifest(tls_keys=(key_in(om.tls),))
        await om.publish()
        fresh = federation.authority.issue(om.oin, name="fresh", starts=-timedelta(days=200))
        om.renew_manifest(tls_keys=(key_in(fresh),))
        await om.close()
        await om.connect(broker.port, fresh)
        await om.publish()
        await om.lookup(ZSM_CONTEXT).begin()


@pytest.mark.parametrize("what", ["GetDirectory", "GetCovenant"])
async def test_what_a_partner_asks_and_does_not_take_in_fills_no_memory(
    federation: Federation, om: Party, politie: Party, what: str
) -> None:
    """Each reply is in the broker's memory until it is taken in, on however many lines it is asked."""
    calls: dict[str, tuple[Any, Any]] = {
        "GetDirectory": (GetDirectoryRequest(), GetDirectoryResponse),
        "GetCovenant": (GetCovenantRequest(hash=federation.covenant.hash), GetCovenantResponse),
    }
    request, response = calls[what]
    async with federation.broker() as broker:
        narrow = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1024)]
        lines = [channel_to(f"localhost:{broker.port}", om.tls, om.clock, narrow) for _ in range(2)]
        asks = [
            line.unary_stream(
                f"/bekend_proto.v1.BrokerService/{what}",
                request_serializer=type(request).SerializeToString,
                response_deserializer=response.FromString,
            )
            for line in lines
        ]
        untaken = [asks[number % 2](request) for number in range(LARGE_AT_ONCE)]

        async def refused() -> bool:
            try:
                await om.directory()
            except BudgetError:
                return True
            return False

        async with asyncio.timeout(20):
            while not await refused():
                await asyncio.sleep(0.01)
            assert (await politie.directory()).entries
            for one in untaken:
                one.cancel()
            while await refused():
                await asyncio.sleep(0.01)
            for _ in range(2 * LARGE_AT_ONCE):
                await om.directory()
        for line in lines:
            await line.close()

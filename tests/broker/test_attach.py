"""Who may attach, and what ends an Attach."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from bekend_deploy.partners import POLITIE, ZSM_CONTEXT
from bekend_proto.errors import (
    BekendError,
    CovenantError,
    DeadlineError,
    KeysError,
    MalformedError,
    UnknownPartnerError,
    UnreachableError,
    VersionError,
)
from bekend_proto.identity import TlsFiles
from bekend_proto.v1 import broker_pb2
from bekend_proto.v1.broker_pb2_grpc import BrokerServiceStub

from tests.support.federation import Attached, Federation, Party, honest_answer, metric, no_answer, said, told, until
from tests.support.pki import Authority

HELLOS: list[tuple[type[BekendError], dict[str, Any]]] = [
    (VersionError, {"protocol_versions": [2, 3]}),
    (VersionError, {"protocol_versions": []}),
    (CovenantError, {"covenant_hash": bytes(32)}),
    (KeysError, {"manifest": 2}),
]


@pytest.mark.parametrize(("refusal", "change"), HELLOS)
async def test_a_hello_that_does_not_fit_is_refused(
    federation: Federation, politie: Party, refusal: type[BekendError], change: dict[str, Any]
) -> None:
    async with federation.broker() as broker:
        attached = Attached(politie, politie.stub.Attach(), honest_answer)
        with pytest.raises(refusal):
            await attached.hello(**change)
        assert metric(broker, "bekend_broker_attached_partners") == 0


async def test_the_highest_common_version_is_chosen(federation: Federation, politie: Party) -> None:
    async with federation.broker():
        call = politie.stub.Attach()
        hello = broker_pb2.Hello(
            protocol_versions=[9, 1, 0], covenant_hash=federation.covenant.hash, manifest=politie.number
        )
        await said(call, broker_pb2.AttachRequest(hello=hello))
        assert (await told(call.read())).welcome.protocol_version == 1


async def test_an_attach_without_hello_ends(federation: Federation, politie: Party) -> None:
    async with federation.broker(hello_seconds=0.1):
        call = politie.stub.Attach()
        with pytest.raises(DeadlineError):
            await told(call.read())
        call = politie.stub.Attach()
        await said(call, broker_pb2.AttachRequest(failure=broker_pb2.Failure()))
        with pytest.raises(MalformedError):
            await told(call.read())


async def test_a_source_that_says_something_else_is_sent_away(federation: Federation, politie: Party) -> None:
    async with federation.broker() as broker, politie.attached() as source:
        await said(source.call, broker_pb2.AttachRequest())
        assert isinstance(await source.ended, MalformedError)
        await until(lambda: metric(broker, "bekend_broker_attached_partners") == 0)


async def test_a_second_attach_replaces_the_first(federation: Federation, om: Party, politie: Party) -> None:
    async with federation.broker() as broker, politie.attached(no_answer) as first:
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        await lookup.ask(lookup.question(politie.oin))
        question = await first.questions.get()
        async with politie.attached() as second:
            # An answer to what the first was asked is nobody's on the second, and still counts on the first.
            await second.send(honest_answer(politie, question))
            await until(lambda: metric(broker, "bekend_broker_replies_unclaimed_total") == 1)
            await first.send(honest_answer(politie, question))
            reply = (await lookup.replies())[politie.oin]
            assert not isinstance(reply, str)
            assert lookup.open(reply) == [False]
            assert isinstance(await first.ended, UnreachableError)
            again = await om.lookup(ZSM_CONTEXT).begin()
            assert await again.outcomes(politie.oin) == {politie.oin: [False]}
            assert metric(broker, "bekend_broker_attached_partners") == 1
            assert first.questions.empty()


async def test_what_went_out_over_a_stream_that_was_replaced_waits_no_longer_than_its_deadline(
    federation: Federation, om: Party, politie: Party
) -> None:
    async with federation.broker(reply_seconds=0.3), politie.attached(no_answer) as first:
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        await lookup.ask(lookup.question(politie.oin))
        await first.questions.get()
        async with politie.attached():
            assert await lookup.replies() == {politie.oin: "deadline"}
            assert isinstance(await first.ended, UnreachableError)


async def test_a_source_that_detaches_is_no_longer_shown_as_attached(federation: Federation, politie: Party) -> None:
    async with federation.broker() as broker:
        async with politie.attached():
            entries = {entry.oin: entry.attached for entry in (await politie.directory()).entries}
            assert entries.pop(politie.oin)
            assert not any(entries.values())
        await until(lambda: metric(broker, "bekend_broker_attached_partners") == 0)
        assert not any(entry.attached for entry in (await politie.directory()).entries)


async def test_a_stranger_is_refused_whatever_it_calls(federation: Federation, om: Party) -> None:
    stranger = federation.authority.issue("00000099000000088000", starts=-timedelta(days=200))
    async with federation.broker() as broker:
        await om.close()
        await om.connect(broker.port, stranger)
        with pytest.raises(UnknownPartnerError):
            await om.directory()
        with pytest.raises(UnknownPartnerError):
            await om.publish()
        with pytest.raises(UnknownPartnerError):
            await om.lookup(ZSM_CONTEXT).begin()
        with pytest.raises(UnknownPartnerError):
            await Attached(om, om.stub.Attach(), honest_answer).hello()


@pytest.mark.parametrize("numbers", [[], ["00000099000000001000", "00000099000000002000"], ["1234"]])
async def test_a_certificate_that_names_no_one_organisation_is_refused(
    federation: Federation, om: Party, numbers: list[str]
) -> None:
    tls = federation.authority.issue(numbers, name="odd", starts=-timedelta(days=200))
    async with federation.broker() as broker:
        await om.close()
        om.channel = _channel(federation, broker.port, tls)
        with pytest.raises(UnknownPartnerError):
            await _directory(om)


async def test_the_certificate_of_another_organisation_opens_nothing_of_its_owner(
    federation: Federation, om: Party, politie: Party
) -> None:
    """Keys of the OM, certificate of the police: what the OM signed is not taken from the police."""
    async with federation.broker() as broker:
        await om.close()
        await om.connect(broker.port, politie.tls)
        with pytest.raises(BekendError) as refused:
            await om.lookup(ZSM_CONTEXT).begin()
        assert refused.type is not UnreachableError
        with pytest.raises(BekendError):
            await om.publish()


@pytest.mark.parametrize("make", [lambda a, o: a.issue(o, name="old", ends=-timedelta(hours=1))])
async def test_an_expired_certificate_does_not_get_in(
    federation: Federation, om: Party, make: Callable[[Authority, str], TlsFiles]
) -> None:
    tls = make(federation.authority, om.oin)
    async with federation.broker() as broker:
        await om.close()
        om.channel = _channel(federation, broker.port, tls)
        with pytest.raises(UnreachableError):
            await _directory(om)


async def test_a_certificate_of_another_authority_does_not_get_in(
    federation: Federation, om: Party, tmp_path: Path
) -> None:
    foreign = Authority(tmp_path / "elsewhere", "Other CA").issue(om.oin, starts=-timedelta(days=200))
    mixed = TlsFiles(foreign.certificate, foreign.key, federation.authority.path)
    async with federation.broker() as broker:
        await om.close()
        om.channel = _channel(federation, broker.port, mixed)
        with pytest.raises(UnreachableError):
            await _directory(om)


async def test_a_new_covenant_sends_away_who_serves_the_old_one(
    federation: Federation, om: Party, politie: Party
) -> None:
    async with federation.broker() as broker, politie.attached() as source:
        federation.write_covenant(_second_version)
        assert await broker.reload()
        assert isinstance(await source.ended, CovenantError)
        async with politie.attached():
            lookup = await om.lookup(ZSM_CONTEXT).begin()
            assert await lookup.outcomes(POLITIE.oin) == {POLITIE.oin: [False]}


async def test_a_reload_that_nobody_foresaw_is_refused_and_the_next_one_is_heard(
    federation: Federation, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def unreadable(*_: object) -> None:
        raise PermissionError("what stood in the file")

    async with federation.broker() as broker:
        with monkeypatch.context() as patch:
            patch.setattr("bekend_broker.app.load_present", unreadable)
            assert not await broker.reload()
        assert await broker.reload()
    said = capfd.readouterr().err
    assert "PermissionError at " in said
    assert "what stood in the file" not in said


async def test_a_reload_that_fails_changes_nothing(federation: Federation, om: Party, politie: Party) -> None:
    async with federation.broker() as broker, politie.attached():
        good = federation.covenant.hash
        agreement = federation.covenant_folder / "afspraken.yaml"
        text = agreement.read_text("utf-8")
        agreement.write_text(text + "onbekend: ja\n", "utf-8")
        assert not await broker.reload()
        # Readable, but signed by nobody.
        agreement.write_text(text.replace('versie: "1"', 'versie: "2"').replace("versie: '1'", "versie: '2'"), "utf-8")
        assert not await broker.reload()
        agreement.write_text(text, "utf-8")
        assert federation.covenant.hash == good
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        assert await lookup.outcomes(politie.oin) == {politie.oin: [False]}


async def test_an_older_covenant_does_not_come_back(federation: Federation) -> None:
    async with federation.broker() as broker:
        federation.write_covenant(_second_version)
        assert await broker.reload()
        federation.write_covenant()
        assert not await broker.reload()
    with pytest.raises(CovenantError):
        async with federation.broker():
            pass


def _second_version(folder: Path) -> None:
    agreement = folder / "afspraken.yaml"
    text = agreement.read_text("utf-8")
    agreement.write_text(text.replace("versie: '1'", "versie: '2'"), "utf-8")


def _channel(federation: Federation, port: int, tls: TlsFiles) -> Any:
    """A channel with whatever certificate, as somebody would open it who does not use our code."""
    credentials = grpc.ssl_channel_credentials(
        tls.authorities.read_bytes(), tls.key.read_bytes(), tls.certificate.read_bytes()
    )
    return grpc.aio.secure_channel(f"localhost:{port}", credentials)


async def _directory(party: Party) -> None:
    party.stub = BrokerServiceStub(party.channel)
    await party.directory()

"""The files of an access request: what they hold, and what becomes of every change, swap and mix-up."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from bekend_node.records.files import parse_file, write_together
from bekend_node.records.reply import finish, parse_reply, reply_bytes
from bekend_node.records.request import make_request, open_secret, parse_request, request_hash
from bekend_policy.officer_key import OfficerKey
from bekend_proto import group, oprf
from bekend_proto.channel import LABEL_ACCESS, open_signed
from bekend_proto.errors import BekendError, KeysError, MalformedError, ProofError, SignatureError, StorageError
from bekend_proto.v1 import broker_pb2, signed_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.covenants import NOW, POLITIE, RECLASSERING
from tests.support.sealed import ANN, BEN, Archive, value_of


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    made = Archive(tmp_path)
    made.u(NOW - timedelta(days=20))
    return made


def test_the_request_is_signed_by_the_officer_and_says_nothing_of_the_person(archive: Archive) -> None:
    travels, stays = archive.request(ANN)
    signed = parse_request(travels)
    order = open_signed(signed_pb2.SubjectAccess, signed, LABEL_ACCESS, [archive.officer.signing_public])
    assert order.requester == POLITIE
    for text in (travels, stays):
        assert ANN.value.encode() not in text
    again = signed_pb2.SubjectAccess.FromString(parse_request(archive.request(ANN)[0]).payload)
    assert again.element != order.element
    assert again.request_id != order.request_id


def test_the_secret_opens_with_the_officers_key_alone(archive: Archive) -> None:
    travels, stays = archive.request(ANN)
    asked = open_secret(stays, archive.officer)
    assert asked.identifier == ANN
    assert asked.request_hash == request_hash(parse_request(travels))
    assert group.multiply(asked.blind, oprf.hash_identifier(ANN)) == asked.element
    assert asked.blind.hex() not in repr(asked)
    assert ANN.value not in repr(asked)
    with pytest.raises(KeysError, match="opent het geheim"):
        open_secret(stays, OfficerKey.generate(POLITIE))


def test_a_secret_that_somebody_else_sealed_to_the_officer_is_refused(archive: Archive) -> None:
    """Anybody can seal to a public key: a swapped secret would make a letter about somebody else."""
    forger = OfficerKey(POLITIE, archive.officer.opening, OfficerKey.generate(POLITIE).signing)
    _, stays = make_request(forger, BEN, NOW)
    with pytest.raises(SignatureError, match="vervangen"):
        open_secret(stays, archive.officer)


def test_a_secret_of_another_organisation_is_refused(archive: Archive) -> None:
    other = OfficerKey(RECLASSERING, archive.officer.opening, archive.officer.signing)
    _, stays = make_request(other, ANN, NOW)
    with pytest.raises(KeysError, match="andere organisatie"):
        open_secret(stays, archive.officer)


def test_secrets_are_of_one_length_whoever_they_are_about(archive: Archive) -> None:
    assert len(archive.request(ANN)[1]) == len(archive.request(BEN)[1])


def test_the_reply_finishes_to_u_for_every_month(archive: Archive) -> None:
    travels, stays = archive.request(ANN)
    values = finish(open_secret(stays, archive.officer), archive.reply(travels), archive.record_keys)
    assert sorted(values) == sorted(archive.months)
    assert values["2026-12"] == value_of(archive, ANN, NOW)
    assert values["2026-11"] != values["2026-12"]


def test_must_03_a_reply_under_another_key_is_refused(archive: Archive) -> None:
    travels, stays = archive.request(ANN)
    reply = archive.reply(travels, **{"2026-12": group.random_scalar()})
    with pytest.raises(ProofError, match="2026-12"):
        finish(open_secret(stays, archive.officer), reply, archive.record_keys)


def test_a_month_that_the_manifest_does_not_name_is_refused(archive: Archive) -> None:
    travels, stays = archive.request(ANN)
    reply = archive.reply(travels, **{"2026-10": group.random_scalar()})
    with pytest.raises(KeysError, match="2026-10"):
        finish(open_secret(stays, archive.officer), reply, archive.record_keys)


def test_a_reply_to_another_request_is_refused_also_under_this_ones_name(archive: Archive) -> None:
    travels, stays = archive.request(ANN)
    asked = open_secret(stays, archive.officer)
    other, _ = archive.request(BEN)
    with pytest.raises(ProofError, match="ander verzoek"):
        finish(asked, archive.reply(other), archive.record_keys)
    _, response = parse_reply(archive.reply(other))
    with pytest.raises(ProofError, match="klopt niet"):
        finish(asked, reply_bytes(request_hash(parse_request(travels)), response), archive.record_keys)


@pytest.mark.parametrize("months", [[], ["2026-12", "2026-12"], ["2026-12", "2026-11"]])
def test_a_reply_names_each_month_once_in_order(months: list[str]) -> None:
    response = broker_pb2.AccessResponse(
        months=[broker_pb2.AccessMonth(month=one, evaluated=bytes(32), proof=bytes(64)) for one in months]
    )
    with pytest.raises(MalformedError):
        parse_reply(reply_bytes(bytes(32), response))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 10**6), change=st.integers(1, 255), data=st.data())
def test_whatever_byte_is_changed_nothing_false_comes_out(
    archive: Archive, place: int, change: int, data: st.DataObject
) -> None:
    """A file still says the same, or is refused with words: it never gives another U, and nothing else is raised."""
    travels, stays = archive.request(ANN)
    true = value_of(archive, ANN, NOW)
    files = [stays, archive.reply(travels)]
    which = data.draw(st.integers(0, 1))
    octets = bytearray(files[which])
    octets[place % len(octets)] ^= change
    files[which] = bytes(octets)
    try:
        values = finish(open_secret(files[0], archive.officer), files[1], archive.record_keys)
    except BekendError:
        return
    assert values["2026-12"] == true


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_no_octets_make_a_parser_stumble(data: bytes) -> None:
    for parse in (parse_request, parse_reply):
        with pytest.raises(MalformedError):
            parse(data)


@pytest.mark.parametrize(
    "text",
    [
        '{"kind": "bekend/1 access-request", "request": "AA==", "request": "AA=="}',
        '{"kind": "bekend/1 access-request", "request": "AA==", "more": 1}',
        '{"kind": "bekend/1 access-request", "request": 5}',
        '{"kind": "bekend/1 access-request"}',
        '{"kind": "bekend/1 access-request", "request": "A"}',
        '{"kind": "bekend/1 access-reply", "request": "AA=="}',
        "[" * 100_000,
        "[]",
        '"tekst"',
    ],
)
def test_a_file_has_one_form(text: str) -> None:
    with pytest.raises(MalformedError):
        parse_request(text.encode())


def test_a_file_that_is_too_big_is_refused() -> None:
    with pytest.raises(MalformedError, match="te groot"):
        parse_request(b" " * (1 << 20) + b"{}")


def test_faults_never_quote_what_stood_in_the_file(archive: Archive) -> None:
    from bekend_node.records.request import _SecretFile  # noqa: PLC0415

    text = json.dumps({"kind": "bekend/1 access-secret", "sealed": {"identifier": ANN.value}}).encode()
    with pytest.raises(MalformedError) as fault:
        parse_file(text, _SecretFile, "bekend/1 access-secret")
    assert ANN.value not in str(fault.value)


def test_files_are_written_all_or_none_and_over_nothing(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"was here")
    with pytest.raises(StorageError, match="bestaat al"):
        write_together({tmp_path / "a": b"1", tmp_path / "b": b"2"})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"b": b"was here"}
    write_together({tmp_path / "c": b"1", tmp_path / "d": b"2"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "c", "d"]
    assert not (tmp_path / "c").stat().st_mode & 0o077
    with pytest.raises(StorageError):
        write_together({tmp_path / "geen" / "map": b"1"})

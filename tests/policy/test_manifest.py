"""Key manifests: one form, dated, numbered, of their owner; any swapped key fails."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from bekend_policy.manifest import KeyManifest, open_manifest, parse_manifest
from bekend_proto.errors import KeysError, SignatureError
from bekend_proto.group import multiply_base, random_element, random_scalar
from bekend_proto.note import parse_vkey, sign_note
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey as Ed25519

from tests.support.covenants import HAARLEM, OM, key_of

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
KEY = key_of(OM)


def manifest(**changes: object) -> KeyManifest:
    base = KeyManifest(
        oin=OM,
        number=3,
        issued=NOW,
        valid_until=NOW + timedelta(days=90),
        protocol_versions=(1,),
        signing_keys=(b"s" * 32, b"t" * 32),
        privacy_officer=b"p" * 32,
        desk="ZSM-loket, zsm@om.example",
        opening_hours="werkdagen 8.30-17.00 uur",
        register_sizes={"zaken": 2000, "afgeschermd": 12},
        evaluation_keys={
            (OM, "demo/een", "2026Q4"): multiply_base(random_scalar()),
            (OM, "demo/een", "2027Q1"): multiply_base(random_scalar()),
        },
        record_keys={"2026-11": random_element()},
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def signed(it: KeyManifest, key_oin: str = OM) -> bytes:
    key = key_of(key_oin)
    return sign_note(it.text(), key.name, key.seed)


def test_what_is_written_is_what_is_read() -> None:
    it = manifest()
    assert it.text().startswith("kind: bekend/1 key-manifest\n")
    assert parse_manifest(it.text()) == it
    assert open_manifest(signed(it), KEY.vkey, NOW) == it
    bare = manifest(
        privacy_officer=None, desk=None, opening_hours=None, register_sizes={}, evaluation_keys={}, record_keys={}
    )
    assert open_manifest(signed(bare), KEY.vkey, NOW) == bare


@settings(max_examples=40)
@given(
    number=st.integers(1, 2**32 - 1),
    days=st.integers(1, 400),
    seconds=st.integers(0, 10**8),
    sizes=st.dictionaries(st.from_regex(r"[a-z][a-z0-9]{0,9}", fullmatch=True), st.integers(0, 10**9), max_size=4),
)
def test_every_manifest_has_one_text(number: int, days: int, seconds: int, sizes: dict[str, int]) -> None:
    issued = NOW + timedelta(seconds=seconds)
    it = manifest(number=number, issued=issued, valid_until=issued + timedelta(days=days), register_sizes=sizes)
    assert parse_manifest(it.text()) == it
    assert parse_manifest(it.text()).text() == it.text()


@pytest.mark.parametrize(
    "broken",
    [
        manifest(oin="12"),
        manifest(number=0),
        manifest(number=2**32),
        manifest(valid_until=NOW),
        manifest(valid_until=NOW + timedelta(days=401)),
        manifest(protocol_versions=()),
        manifest(protocol_versions=(2, 1)),
        manifest(signing_keys=()),
        manifest(signing_keys=(bytes(32),)),
        manifest(signing_keys=(b"kort",)),
        manifest(signing_keys=(b"p" * 32,)),
        manifest(privacy_officer=b"kort"),
        manifest(desk=""),
        manifest(desk=" loket"),
        manifest(desk='loket"\nnumber: "9'),
        manifest(desk="l" * 201),
        manifest(desk="loket\u202ezsm"),
        manifest(opening_hours="9-17\\"),
        manifest(desk=None),
        manifest(register_sizes={"Met Hoofdletter": 1}),
        manifest(evaluation_keys={(OM, "demo/een", "2026Q4"): bytes(32)}),
        manifest(evaluation_keys={(OM, "demo/een", "2026Q4"): b"\xff" * 32}),
        manifest(evaluation_keys={(OM, "demo/een", "2026-Q4"): random_element()}),
        manifest(evaluation_keys={("12", "demo/een", "2026Q4"): random_element()}),
        manifest(evaluation_keys={(OM, 'demo/een", x: "', "2026Q4"): random_element()}),
        manifest(record_keys={"2026-13": random_element()}),
    ],
)
def test_a_manifest_that_breaks_a_rule_is_not_written(broken: KeyManifest) -> None:
    with pytest.raises(KeysError):
        broken.text()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("number: 3", "number: 03"),
        ("number: 3", "number: 3 # three"),
        ("kind: bekend/1", "kind: bekend/2"),
        ("protocol_versions: [1]", "protocol_versions: [1, 1]"),
        ("issued: 2026-11-22T10:00:00Z", "issued: 2026-11-22"),
        ("privacy_officer:", "extra: x\nprivacy_officer:"),
        ("signing_keys:", "signing_keys: # two"),
    ],
)
def test_any_other_form_is_refused(old: str, new: str) -> None:
    text = manifest().text()
    assert old in text
    with pytest.raises(KeysError):
        parse_manifest(text.replace(old, new))


def test_a_key_that_stands_twice_in_the_text_is_refused() -> None:
    text = manifest().text()
    row = next(line for line in text.splitlines() if "2026Q4" in line)
    with pytest.raises(KeysError):
        parse_manifest(text.replace(row, f"{row}\n{row}"))


def test_fg_11_the_functional_contact_is_what_the_partner_itself_signed() -> None:
    assert manifest().contact == "ZSM-loket, zsm@om.example (werkdagen 8.30-17.00 uur)"
    assert manifest(opening_hours=None).contact == "ZSM-loket, zsm@om.example"
    elsewhere = manifest(desk="Bel de makelaar, loket@broker.example")
    with pytest.raises(SignatureError):
        open_manifest(signed(elsewhere, HAARLEM), KEY.vkey, NOW)


def test_must_list_3_keys_come_only_from_a_manifest_that_the_owner_signed() -> None:
    with pytest.raises(SignatureError):
        open_manifest(signed(manifest(), HAARLEM), KEY.vkey, NOW)
    with pytest.raises(KeysError, match="each signs its own"):
        open_manifest(signed(manifest(), HAARLEM), key_of(HAARLEM).vkey, NOW)
    note = signed(manifest())
    with pytest.raises(SignatureError):
        open_manifest(note.replace(b"p".hex().encode() * 32, b"q".hex().encode() * 32), KEY.vkey, NOW)


def test_the_off_line_key_signs_no_messages() -> None:
    it = manifest(signing_keys=(b"s" * 32, parse_vkey(KEY.vkey).public))
    with pytest.raises(KeysError, match="one key, one role"):
        open_manifest(signed(it), KEY.vkey, NOW)


def test_the_privacy_officer_holds_no_signing_key_in_another_form() -> None:
    """Protocol section 1: ondertekenaar and privacy officer are two roles, with keys of their own."""
    signer = Ed25519(bytes(range(32)))
    officer = bytes(signer.verify_key.to_curve25519_public_key())
    with pytest.raises(KeysError, match="one key, one role"):
        manifest(signing_keys=(bytes(signer.verify_key),), privacy_officer=officer).text()
    off_line = bytes(Ed25519(KEY.seed).verify_key.to_curve25519_public_key())
    with pytest.raises(KeysError, match="one key, one role"):
        open_manifest(signed(manifest(privacy_officer=off_line)), KEY.vkey, NOW)


def test_a_manifest_holds_from_its_issue_to_its_end() -> None:
    note = signed(manifest())
    assert open_manifest(note, KEY.vkey, NOW + timedelta(days=89)).number == 3
    with pytest.raises(KeysError, match="has expired"):
        open_manifest(note, KEY.vkey, NOW + timedelta(days=90))
    with pytest.raises(KeysError, match="dated in the future"):
        open_manifest(note, KEY.vkey, NOW - timedelta(minutes=5))
    assert open_manifest(note, KEY.vkey, NOW - timedelta(seconds=30)).number == 3


def test_a_manifest_that_no_node_would_take_in_is_not_made() -> None:
    keys = {(f"00000099{number:08d}0000", "demo/een", "2026Q4"): random_element() for number in range(15_000)}
    with pytest.raises(KeysError, match="no node takes in more than 2097152: name fewer sources"):
        manifest(evaluation_keys=keys).text()


def test_tls_keys_are_pinned_in_one_order_and_a_manifest_without_them_pins_nothing() -> None:
    one, other, third = b"a" * 32, b"b" * 32, b"c" * 32
    pinning = manifest(tls_keys=(one, other))
    assert parse_manifest(pinning.text()) == pinning
    assert [pinning.pins(key) for key in (one, other, third)] == [True, True, False]
    assert "tls_keys" not in manifest().text()
    assert manifest().pins(third)
    for keys in ((other, one), (one, one)):
        with pytest.raises(KeysError, match="tls_keys"):
            manifest(tls_keys=keys).text()

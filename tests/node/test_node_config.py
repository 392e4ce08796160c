"""node.yaml and mappings: the samples load, and every mistake is named by file, line and remedy."""

import re
from importlib.resources import files
from pathlib import Path

import pytest
from bekend_node.config import load_config
from bekend_node.enrol.mapping import Mapping, load_mapping
from bekend_node.setup import configuration, draw_canary, sample_config
from bekend_policy.faults import YamlFaults
from bekend_policy.strict_yaml import load_yaml
from bekend_proto.errors import SignatureError
from bekend_proto.identifiers import parse_identifier
from bekend_proto.note import add_signature, sign_note, vkey_of
from nacl.signing import SigningKey

OIN = "00000099000000002000"


def written(folder: Path, text: str) -> Path:
    path = folder / "node.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_sample_loads_with_paths_relative_to_it(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, sample_config()))
    assert config.oin == "00000099000000000002"
    assert config.data == tmp_path / "data"
    assert config.registers["nazorg"].mapping == tmp_path / "mappings" / "nazorg.note"
    assert config.tls.key == tmp_path / "tls" / "node.key"
    assert (config.workers, config.registration_months, config.max_refused_percent) == (2, 24, 1.0)


def test_the_sample_of_the_pages_loads_without_its_hashes(tmp_path: Path) -> None:
    """They stand behind hashes: a node has no pages until somebody says how people sign in."""
    before, _, rest = sample_config().partition("\n# web:\n")
    block, _, after = f"# web:\n{rest}".partition("\n\n")
    lines = [line.removeprefix("# ") for line in block.split("\n")]
    # Those that stand behind two are choices that exclude each other or need a file.
    whole = [re.sub(r"^( +)# (?=[a-z_]+: (\S+|\[.*\])$)", r"\1", line) for line in lines]
    for variant in (lines, whole):
        text = "\n".join(variant)
        web = load_config(written(tmp_path, f"{before}\n{text}\n\n{after}")).web
        assert web is not None
        assert web.sign_in is not None
        assert web.sign_in.key == tmp_path / "keys" / "sign-in.pem"
        assert web.sign_in.roles["bekend-beheer"] == ("beheer",)
    assert web is not None
    assert web.sign_in is not None
    assert web.theme_css == tmp_path / "huisstijl.css"
    assert web.sign_in.levels.keys() == {"acr", "amr", "acrs"}


def test_the_sample_of_the_facade_loads_without_its_hashes(tmp_path: Path) -> None:
    """It stands behind hashes too: case systems ask nothing until somebody says whose tokens are taken."""
    before, _, rest = sample_config().partition("\n# rest:\n")
    block, _, after = f"# rest:\n{rest}".partition("\n\n")
    lines = [line.removeprefix("# ") for line in block.split("\n")]
    whole = [re.sub(r"^( +)# (?=[a-z_]+: (\S+|\[.*\])$)", r"\1", line) for line in lines]
    for variant in (lines, whole):
        text = "\n".join(variant)
        facade = load_config(written(tmp_path, f"{before}\n{text}\n\n{after}")).rest
        assert facade is not None
        assert facade.tokens.clients == ("gcos", "wijkteam")
    assert facade is not None
    assert facade.client_authorities == tmp_path / "tls" / "case-systems.pem"
    assert facade.tokens.authorities == tmp_path / "tls" / "internal-ca.pem"
    assert facade.tokens.levels.keys() == {"acr", "amr", "acrs"}
    assert load_config(written(tmp_path, sample_config())).rest is None


def test_every_key_of_the_sample_has_a_comment() -> None:
    lines = sample_config().splitlines()
    keys = [at for at, line in enumerate(lines) if line[:1].isalpha()]
    assert all(lines[at - 1].startswith("#") for at in keys)


def test_init_fills_in_the_answers(tmp_path: Path) -> None:
    text = configuration({"oin": OIN, "address": "[::1]:8443", "canary": draw_canary(), "covenant": "../afspraak"})
    config = load_config(written(tmp_path, text))
    assert (config.oin, config.brokers[0].address) == (OIN, "[::1]:8443")
    assert config.covenant == tmp_path / "../afspraak"
    assert config.canary_identifier.value.startswith("9999")


def test_the_sample_mapping_loads() -> None:
    text = files("bekend_node").joinpath("mapping.example.yaml").read_text(encoding="utf-8")
    assert load_yaml(text, Mapping).columns.identifier == "BSN"


def test_an_oin_keeps_its_zeros_quoted_or_not(tmp_path: Path) -> None:
    text = sample_config().replace('oin: "00000099000000000002"', "oin: 00000099000000000002")
    assert load_config(written(tmp_path, text)).oin == "00000099000000000002"


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("canary:", "kanarie:", "kanarie"),
        ("canary: bsn:999990019", "canary: bsn:999990018", "canary"),
        ('oin: "00000099000000000002"', "oin: 69025877504", "oin"),
        ("    size: 2000", "    size: veel", "size"),
        ("    size: 2000", "    size: 2000\n    size: 3000", "size"),
        ("data: data", "data: &here data", "anchor"),
        ("  - address: broker.example.nl:8443", "  - address: broker.example.nl", "address"),
        ("workers: 2", "workers: 0", "workers"),
        ('desk: "Team Zorg', 'desk: "Team \\"Zorg', "desk"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, old: str, new: str, what: str) -> None:
    text = sample_config()
    assert old in text
    line = text[: text.index(old)].count("\n") + 1
    with pytest.raises(YamlFaults) as fault:
        load_config(written(tmp_path, text.replace(old, new)))
    assert what in str(fault.value)
    assert f"node.yaml:{line}" in str(fault.value) or f"node.yaml:{line + 1}" in str(fault.value)


def test_an_empty_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(YamlFaults):
        load_config(written(tmp_path, ""))


# --- approvals

TEXT = "kind: bekend/1 mapping\nregister: nazorg\nidentifier_kind: bsn\ncolumns:\n  identifier: BSN\n"
ONE, OTHER = SigningKey.generate(), SigningKey.generate()
NAMES = ("bekend/x/een", "bekend/x/twee")
APPROVERS = tuple(vkey_of(name, bytes(key.verify_key)) for name, key in zip(NAMES, (ONE, OTHER), strict=True))


def approved(path: Path, *keys: tuple[str, SigningKey]) -> Path:
    note = b""
    for name, key in keys:
        note = add_signature(note, name, bytes(key)) if note else sign_note(TEXT, name, bytes(key))
    path.write_bytes(note)
    return path


def test_two_people_approve_a_mapping(tmp_path: Path) -> None:
    path = approved(tmp_path / "m.note", (NAMES[0], ONE), (NAMES[1], OTHER))
    found = load_mapping(path, "nazorg", APPROVERS)
    assert found.mapping.columns.identifier == "BSN"
    assert len(found.digest) == 64


def test_one_person_under_two_names_is_one(tmp_path: Path) -> None:
    path = approved(tmp_path / "m.note", (NAMES[0], ONE), (NAMES[1], ONE))
    twice = (APPROVERS[0], vkey_of(NAMES[1], bytes(ONE.verify_key)))
    with pytest.raises(SignatureError, match="1 of 2 approvals"):
        load_mapping(path, "nazorg", twice)


def test_a_mapping_of_one_signature_or_strangers_or_changed_is_refused(tmp_path: Path) -> None:
    path = approved(tmp_path / "m.note", (NAMES[0], ONE))
    with pytest.raises(SignatureError, match="1 of 2 approvals"):
        load_mapping(path, "nazorg", APPROVERS)
    stranger = SigningKey.generate()
    with pytest.raises(SignatureError, match="1 of 2 approvals"):
        load_mapping(approved(path, (NAMES[0], ONE), (NAMES[1], stranger)), "nazorg", APPROVERS)
    approved(path, (NAMES[0], ONE), (NAMES[1], OTHER))
    path.write_bytes(path.read_bytes().replace(b"identifier: BSN", b"identifier: KLANT"))
    with pytest.raises(SignatureError, match="0 of 2 approvals"):
        load_mapping(path, "nazorg", APPROVERS)


def test_a_mapping_of_another_register_or_without_signatures_is_refused(tmp_path: Path) -> None:
    path = approved(tmp_path / "m.note", (NAMES[0], ONE), (NAMES[1], OTHER))
    with pytest.raises(SignatureError, match="mapping of nazorg, not of wmo"):
        load_mapping(path, "wmo", APPROVERS)
    path.write_text(TEXT)
    with pytest.raises(SignatureError, match="not a signed note"):
        load_mapping(path, "nazorg", APPROVERS)
    with pytest.raises(SignatureError, match="cannot be read"):
        load_mapping(tmp_path / "none.note", "nazorg", APPROVERS)


def test_the_canary_is_a_reserved_number() -> None:
    kind, value = draw_canary().split(":")
    assert parse_identifier(kind, value).value == value
    assert value.startswith("9999")

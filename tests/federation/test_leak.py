"""A whole demo, and a search of everything that it left: no identifier, no hash of one, no key where it may not be.

FG-17 and FG-18 are tested on the same disks, with every one of the test numbers as candidate. That each search can find
something is shown beside it.
"""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from bekend_broker import keys as broker_keys
from bekend_deploy.partners import (
    COVENANT,
    HAARLEM,
    OM,
    POLITIE,
    RECLASSERING,
    SEVEN,
    VEILIG_THUIS,
    VELSEN,
    ZSM_LOCAL,
    ZVH,
    Partner,
    agreements,
)
from bekend_deploy.population import generate, valid_bsns
from bekend_deploy.questions import Truth, broken_question, questions, refused_question
from bekend_deploy.release_script import script
from bekend_node import pseudonym_file
from bekend_node.config import NodeConfig
from bekend_node.desk.matter import open_matter
from bekend_node.keys import NodeKeys
from bekend_node.serving import reopen
from bekend_node.store import Store
from bekend_node.store_desk import DeskStore
from bekend_policy.strict_yaml import load_yaml
from bekend_proto.clock import day_of, epoch_of
from bekend_proto.filter import tag
from bekend_proto.group import multiply
from bekend_proto.identifiers import parse_identifier
from bekend_proto.oprf import hash_identifier
from bekend_proto.secret_files import read_secret

from tests.support.search import Needles, files_under, forms, hashes

PERSONS, SEED = 60, 5
DESKS = (POLITIE, RECLASSERING, HAARLEM, VELSEN, VEILIG_THUIS, ZVH)
"""Where a colleague decides on something."""


@dataclass
class Demo:
    """A demo that stays up: its folder, what it printed, and its processes by the name of their folder."""

    folder: Path
    home: Path
    process: "subprocess.Popen[str]"
    printed: str
    truth: Truth
    pids: dict[str, int] = field(default_factory=dict)

    @property
    def inputs(self) -> list[Path]:
        """What the partners' own systems delivered, and the persons to practise with, who stand in no node's folder."""
        return [*self.folder.glob("*/import/*.csv"), self.folder / "oefenen.yaml"]

    @property
    def canaries(self) -> set[str]:
        """Reserved numbers of nobody, which stand in each configuration."""
        texts = (path.read_text(encoding="utf-8") for path in self.folder.glob("*/node.yaml"))
        return {number for text in texts for number in re.findall(r"bsn:([0-9]{9})", text)}

    @property
    def people(self) -> set[str]:
        """Everybody who was enrolled or asked about."""
        return set(self.truth.population.people) - self.canaries - _in_source()

    def asked_by(self, slug: str) -> set[str]:
        """About whom an officer of this partner asked."""
        by_hand = [one.question for one in script(self.truth)]
        all_ = [*questions(self.truth), *by_hand, broken_question(self.truth), refused_question(self.truth)]
        return {person for one in all_ if one.requester.slug == slug for person in one.persons}

    def named_to(self, slug: str) -> set[str]:
        """About whom a colleague at this partner's desk was asked: what it looks at is in memory, as on its screen."""
        oins = {one.oin for one in SEVEN if one.slug == slug}
        return {person for one in script(self.truth) if oins & one.acts.keys() for person in one.question.persons}

    def files(self, *, but: Collection[str] = ()) -> list[Path]:
        """Everything that the run left, but for the inputs and files of these names."""
        every = (*files_under(self.folder, but=self.inputs), *files_under(self.home))
        return [path for path in every if path.name not in but]


def _in_source() -> set[str]:
    """Test numbers that stand in the program itself, as examples: in the memory of each process."""
    root = Path(__file__).parents[2]
    rooms = (root / room for room in ("proto", "policy", "node", "broker", "deploy"))
    texts = (path.read_text(encoding="utf-8") for room in rooms for path in room.rglob("*.py"))
    return {number for text in texts for number in re.findall(r"9999[0-9]{5}", text)}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    folder, home = tmp_path_factory.mktemp("leak") / "kept", tmp_path_factory.mktemp("home")
    command = [sys.executable, "-m", "bekend_deploy.cli", "demo", "--json", "--serve", "--with-release"]
    options = ["--persons", str(PERSONS), "--seed", str(SEED), "--keep", str(folder)]
    today = day_of(datetime.now(UTC))
    with (home / "stderr").open("w", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [*command, *options], stdout=subprocess.PIPE, stderr=errors, text=True, env=_environment(home)
        )
    assert process.stdout is not None
    try:
        printed = process.stdout.readline()
        assert printed, (home / "stderr").read_text(encoding="utf-8")[-2000:]
        truth = Truth(
            SEVEN, agreements(SEVEN, with_release=True), generate([one.clients for one in SEVEN], PERSONS, SEED, today)
        )
        made = Demo(folder, home, process, printed, truth)
        made.pids = _pids(process.pid, folder)
        yield made
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _environment(home: Path) -> dict[str, str]:
    """A home and a place for temporary files of its own, so that what lands there is seen."""
    return {**os.environ, "HOME": str(home), "TMPDIR": str(home), "XDG_CACHE_HOME": str(home)}


def _pids(demo: int, folder: Path) -> dict[str, int]:
    """The processes that serve, by the folder of their configuration."""
    found = {}
    for child in Path(f"/proc/{demo}/task/{demo}/children").read_text(encoding="ascii").split():
        words = Path(f"/proc/{child}/cmdline").read_bytes().decode().split("\0")
        config = Path(words[words.index("--config") + 1])
        found[config.parent.relative_to(folder).parts[0]] = int(child)
    return found


def _needles(people: Iterable[str], salts: Iterable[bytes] = ()) -> Needles:
    """Every form of these people's numbers; by a running name, so that no report repeats one."""
    strings: dict[bytes, str] = {}
    known = tuple(salts)
    for index, person in enumerate(sorted(people)):
        strings.update(forms(person.encode(), f"person {index}"))
        for value in (person.encode(), b"bsn:" + person.encode()):
            strings.update(hashes(value, f"person {index}", known))
    return Needles(strings)


def _salts(truth: Truth) -> list[bytes]:
    """What anybody could take for a salt: OINs, purposes, the covenant, and the labels of the protocol."""
    purposes = {pair.purpose for pair in truth.pairs}
    return [
        *(member.oin.encode() for member in truth.members),
        *(purpose.encode() for purpose in sorted(purposes)),
        COVENANT.encode(),
        b"bekend/1",
        b"bekend",
    ]


@pytest.fixture(scope="module")
def needles(demo: Demo) -> Needles:
    return _needles(demo.people, _salts(demo.truth))


def test_the_demo_was_right_and_its_processes_run(demo: Demo) -> None:
    report = json.loads(demo.printed)
    assert all(question["correct"] for question in (*report["questions"], *report["release"]))
    assert report["release"]
    assert {"broker", "om-zsm", "politie", "reclassering", "haarlem", "veilig-thuis", "zvh"} <= set(demo.pids)


def test_must_12_and_fg_17_no_file_holds_a_number_or_a_hash_of_one(demo: Demo, needles: Needles) -> None:
    """Databases with their -wal, filters, pseudonyms, logs, configurations, metrics, temporary files.

    The one exception to "no identifier outside memory" is no exception here: an open item at a release desk stands in
    desk.db sealed under keys/desk.key, so that not even its file holds a number.
    """
    names = {path.name for path in demo.files()}
    databases = {"node.db", "node.db-wal", "desk.db", "broker.db", "broker.db-wal", "registers.db"}
    assert {*databases, "desk.key", "node.log", "broker.log"} <= names
    assert not needles.in_living(lambda: demo.files(but={"stderr"}))


def test_must_12_what_the_demo_prints_for_scripts_holds_no_number(demo: Demo, needles: Needles) -> None:
    assert not needles.within(demo.printed.encode())


def test_must_12_metrics_hold_no_number_and_no_outcome(demo: Demo, needles: Needles) -> None:
    for slug in demo.pids:
        text = _metrics(demo, slug)
        assert not needles.within(text.encode())
        assert "bekend_" in text
        assert not re.search(r'"(bekend|geen_uitsluitsel|hit|miss)"', text)


def _metrics(demo: Demo, slug: str) -> str:
    config = next((demo.folder / slug).glob("*.yaml")).read_text(encoding="utf-8")
    address = re.search(r"^metrics: (\S+)$", config, re.MULTILINE)
    assert address is not None
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://{address[1]}/metrics", timeout=10) as reply:
        return str(reply.read().decode())


@pytest.fixture
def memory(demo: Demo) -> None:
    """Memory that we may look at: its own processes' a user may, unless the machine forbids even that."""
    try:
        found = Needles({OM.oin.encode(): "an OIN"}).in_memory(demo.pids["broker"])
    except PermissionError:
        pytest.skip("this machine lets nobody look into the memory of a process")
    # What is surely there is found.
    assert found


@pytest.mark.usefixtures("memory")
def test_must_12_and_fg_13_the_broker_has_nobodys_number_in_memory(demo: Demo, needles: Needles) -> None:
    assert not needles.in_memory(demo.pids["broker"])


@pytest.mark.parametrize("slug", ["politie", "veilig-thuis", "om-zsm", "reclassering", "zvh"])
@pytest.mark.usefixtures("memory")
def test_fg_13_and_fg_15_a_node_has_at_most_those_that_it_asked_about_or_a_colleague_looked_at(
    demo: Demo, slug: str
) -> None:
    """No number that a partner enrolled is in the memory of its serving node, or of anybody else's."""
    others = demo.people - demo.asked_by(slug) - demo.named_to(slug)
    assert not _needles(others).in_memory(demo.pids[slug])


@pytest.mark.parametrize("partner", [one for one in DESKS if one is not VELSEN])
def test_must_12_the_desk_key_is_the_one_exception_and_opens_no_number_after_the_term(
    demo: Demo, partner: Partner
) -> None:
    """A number is on disk in an item only, sealed under a key in no database; decided or over, it is gone."""
    folder = demo.folder / partner.slug
    box = NodeKeys.load(folder / "keys", partner.oin).desk_box
    store = DeskStore.open(folder / "data")
    sealed = [one for exchange in store.exchanges() for one in store.matters(exchange.question_id)]
    store.close()
    assert sealed
    matters = [open_matter(box, one) for one in sealed]
    assert not [one for one in matters if one.message]
    key = (folder / "keys" / "desk.key").read_text(encoding="ascii").strip()
    held = {key.encode(): "desk key", bytes.fromhex(key): "desk key"}
    assert not Needles(held).in_living(lambda: demo.files(but={"desk.key"}))


PLANTED = "999900110"


def test_the_search_finds_what_is_planted_in_a_file(tmp_path: Path) -> None:
    """Each form by itself, in the middle of something else, at every offset."""
    strings = dict((*forms(PLANTED.encode(), "x"), *hashes(PLANTED.encode(), "x", [b"salt"])))
    needles = Needles(strings)
    file = tmp_path / "planted"
    assert len(strings) > 60
    for offset, (string, name) in enumerate(strings.items()):
        file.write_bytes(bytes(offset % 9) + string + b" after")
        assert name in needles.in_files([file])[str(file)]


def test_the_search_finds_what_is_planted_in_memory() -> None:
    """Text in the middle of a longer one, and a digest as an object of its own."""
    script = (
        "import hashlib, sys\n"
        "number = str(999900110)\n"
        "kept = [('{\"name\": \"' + number + '\"}').encode(), hashlib.sha256(number.encode()).digest()]\n"
        "print(flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        found = _needles([PLANTED]).in_memory(child.pid)
        child.kill()
    assert {"person 0 plain", "person 0 sha256"} <= found


def test_the_search_finds_the_numbers_in_the_lists_themselves(demo: Demo, needles: Needles) -> None:
    assert set(needles.in_files(demo.inputs)) == {str(path) for path in demo.inputs}


# --- with every test number as a candidate


def test_fg_17_a_dictionary_of_all_test_numbers_matches_no_hash(demo: Demo) -> None:
    """The scan of a 91 million dictionary, in miniature: all 9,000 numbers of the test range, unkeyed."""
    strings: dict[bytes, str] = {}
    for number in valid_bsns():
        for value in (number.encode(), b"bsn:" + number.encode()):
            strings.update((string, "somebody") for string, _ in hashes(value, ""))
    # Hashes only: canaries stand in configurations as plain numbers, by design.
    assert not Needles(strings).in_living(demo.files)


@dataclass
class Disk:
    """What stands on one partner's disk: keys, pseudonyms, filter."""

    k: bytes = field(repr=False)
    m: bytes = field(repr=False)
    version: int
    pseudonyms: set[bytes]
    tags: set[bytes]


@pytest.fixture(scope="module")
def disk(demo: Demo) -> Disk:
    """Haarlem's, under the purpose of the local context: everything that a thief of the whole disk has."""
    folder = demo.folder / HAARLEM.slug
    keys = NodeKeys.load(folder / "keys", HAARLEM.oin)
    store = Store.open(folder / "data")
    row = next(one for one in store.filters.present() if one.purpose == ZSM_LOCAL)
    store.close()
    serving = reopen(row, folder / "data" / "filters", keys)
    body = serving.tags.read_bytes()
    files = sorted((folder / "data" / "pseudonyms").glob("*.pseudonyms"))
    return Disk(
        k=keys.evaluation_key(ZSM_LOCAL, row.epoch).secret,
        m=serving.m,
        version=serving.version,
        pseudonyms={record[:32] for file in files for record in pseudonym_file.read(file)},
        tags={body[at : at + 8] for at in range(0, len(body), 8)},
    )


def _hits(disk: Disk, elements: Iterable[bytes]) -> int:
    """How many of these elements are a pseudonym, or have a tag in the filter, as they are or times m."""
    found = 0
    for element in elements:
        w = multiply(disk.m, element)
        tags = {tag(one, HAARLEM.oin, ZSM_LOCAL, disk.version) for one in (element, w)}
        found += element in disk.pseudonyms or w in disk.pseudonyms or not tags.isdisjoint(disk.tags)
    return found


@pytest.fixture(scope="module")
def candidates() -> dict[str, bytes]:
    """x of every test number."""
    return {number: hash_identifier(parse_identifier("bsn", number)) for number in valid_bsns()}


def _broker_key(demo: Demo) -> bytes:
    epoch = epoch_of(datetime.now(UTC))
    root = read_secret(broker_keys.evaluation_root(demo.folder / "broker" / "keys", epoch))
    return broker_keys.evaluation_key(root, HAARLEM.oin, ZSM_LOCAL, epoch).secret


def test_fg_18_a_nodes_whole_disk_does_not_tell_whom_it_knows(disk: Disk, candidates: dict[str, bytes]) -> None:
    assert disk.pseudonyms
    assert disk.tags
    assert _hits(disk, candidates.values()) == 0
    assert _hits(disk, (multiply(disk.k, x) for x in candidates.values())) == 0


def test_fg_18_the_brokers_whole_disk_fits_nothing(demo: Demo, disk: Disk, candidates: dict[str, bytes]) -> None:
    """Not its own files, and not the node's pseudonyms either: those take the node's key too."""
    secret = _broker_key(demo)
    evaluated = {multiply(secret, x) for x in candidates.values()}
    assert not evaluated & disk.pseudonyms
    strings = dict.fromkeys(evaluated, "b*x") | dict.fromkeys(candidates.values(), "x")
    assert not Needles(strings).in_living(lambda: files_under(demo.folder / "broker"))


def test_fg_18_a_requesters_whole_disk_fits_nothing(demo: Demo, disk: Disk, candidates: dict[str, bytes]) -> None:
    keys = NodeKeys.load(demo.folder / OM.slug / "keys", OM.oin)
    secret = keys.evaluation_key(ZSM_LOCAL, epoch_of(datetime.now(UTC))).secret
    assert _hits(disk, (multiply(secret, x) for x in candidates.values())) == 0
    needles = Needles(dict.fromkeys(candidates.values(), "x"))
    assert not needles.in_living(lambda: files_under(demo.folder / OM.slug, but=demo.inputs))


def test_fg_18_both_keys_together_do_tell_so_the_attempts_above_can_fail(
    demo: Demo, disk: Disk, candidates: dict[str, bytes]
) -> None:
    secret = _broker_key(demo)
    known = demo.truth.knows(ZSM_LOCAL, HAARLEM.oin)
    found = {
        number for number, x in candidates.items() if _hits(disk, [multiply(disk.k, multiply(secret, x))])
    } - demo.canaries
    # The pseudonym files also hold who has ended this month or before: those are in no filter.
    assert known
    assert known <= found
    assert not found - set(demo.truth.population.people)


# --- keys


def _parties(demo: Demo) -> Iterator[tuple[Path, list[bytes]]]:
    """Each party's folder and the secrets in its key files."""
    for folder in sorted(path for path in demo.folder.iterdir() if (path / "keys").is_dir()):
        yield folder, [bytes.fromhex(path.read_text(encoding="ascii")) for path in (folder / "keys").glob("*.key")]


def test_must_12_no_key_stands_in_data_logs_or_configuration(demo: Demo, disk: Disk) -> None:
    """A backup of the data holds no key, neither its own party's nor another's."""
    strings: dict[bytes, str] = {}
    for folder, secrets in _parties(demo):
        assert secrets
        for secret in secrets:
            strings |= {secret: folder.name, secret.hex().encode(): f"{folder.name} hex"}
    for secret, name in ((disk.k, "k"), (disk.m, "m"), (_broker_key(demo), "b")):
        strings |= {secret: name, secret.hex().encode(): f"{name} hex"}
    keys = [path for folder, _ in _parties(demo) for path in (folder / "keys").glob("*.key")]
    assert not Needles(strings).in_living(lambda: files_under(demo.folder, but=keys))
    assert set(Needles(strings).in_files(keys)) == {str(path) for path in keys}


def test_must_12_keys_and_databases_are_their_owners_alone(demo: Demo) -> None:
    kinds = {".key", ".db", ".pseudonyms", ".tags", ".clients"}
    modes = {}
    for path in files_under(demo.folder):
        # A filter goes when the next one takes its place.
        with suppress(FileNotFoundError):
            modes[path] = path.stat().st_mode
    private = {path: mode for path, mode in modes.items() if path.suffix in kinds}
    assert kinds == {path.suffix for path in private}
    assert not [path for path, mode in private.items() if mode & 0o077]


def test_must_12_no_core_of_a_process_is_left(demo: Demo) -> None:
    assert not [path for path in demo.files() if path.name.startswith("core")]


# --- canaries


@pytest.mark.parametrize("partner", [one for one in SEVEN if one.slug not in {"velsen", "zvh", "veilig-thuis"}])
def test_fg_22_every_source_finds_its_own_canary_over_the_broker(demo: Demo, partner: Partner) -> None:
    """Enrolled with every list, in every source; a source that missed it would miss others in silence."""
    config = demo.folder / partner.slug / "node.yaml"
    command = [sys.executable, "-m", "bekend_deploy.cli", "node", "check", "--json", "--config", str(config)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    report = json.loads(checked.stdout)
    # All is well but for what a demo has on purpose: short certificates, and no backup (exit code 6: warnings alone).
    assert checked.returncode == 6, report
    states = {one["what"]: one["state"] for one in report["checks"]}
    assert {what for what, state in states.items() if state != "ok"} == {"certificate", "backup"}, states
    canaries = [state for what, state in states.items() if "canary" in what]
    assert canaries, states
    assert set(canaries) == {"ok"}
    canary = load_yaml(config, NodeConfig).canary.removeprefix("bsn:")
    assert canary in demo.canaries


def test_after_the_demo_is_over_its_files_hold_no_number_either(demo: Demo, needles: Needles) -> None:
    """The last of this file: databases are closed and their -wal merged."""
    demo.process.send_signal(signal.SIGINT)
    assert demo.process.wait(60) == 0
    assert not needles.in_files(demo.files(but={"stderr"}))

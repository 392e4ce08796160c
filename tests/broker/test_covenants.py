"""Two versions of the covenant side by side at the broker, and none that goes back (FG-05)."""

import hashlib
import shutil
from pathlib import Path

import pytest
from bekend_broker import covenants
from bekend_broker.present import shelf_of
from bekend_deploy.partners import ZSM_CONTEXT
from bekend_policy.model import Covenant
from bekend_policy.versions import held, keep
from bekend_proto.errors import CovenantError, KeysError, MalformedError
from bekend_proto.note import add_signature, note_name
from bekend_proto.v1.broker_pb2 import GetCovenantRequest
from nacl.signing import SigningKey

from tests.support.federation import Federation, Party, told
from tests.support.suspensions import version_two


def write_second(federation: Federation) -> Path:
    """The next version beside the present one, signed by everybody; the parties still go by the present one."""
    federation.covenant_name = "convenant-2"
    federation.write_covenant(version_two)
    folder = federation.covenant_folder
    federation.covenant_name = "convenant"
    return folder


def add(federation: Federation, folder: Path) -> Covenant:
    return covenants.add(federation.config(), folder, federation.clock.now())


async def outcome(om: Party, source: Party) -> object:
    """One question under the version that the parties go by now."""
    lookup = await om.lookup(ZSM_CONTEXT).begin()
    await lookup.ask(lookup.question(source.oin))
    return (await lookup.replies())[source.oin]


async def test_two_versions_count_side_by_side_until_the_older_is_retired(
    federation: Federation, om: Party, politie: Party
) -> None:
    first = federation.covenant.hash
    second = write_second(federation)
    async with federation.broker() as broker, politie.attached() as source:
        added = add(federation, second)
        assert await broker.reload()
        assert list((await om.directory()).covenant_hashes) == [added.hash, first]
        await source.notices.get()
        # The source stays attached under the first, and is asked under either.
        assert not isinstance(await outcome(om, politie), str)
        federation.covenant_name = "convenant-2"
        assert not isinstance(await outcome(om, politie), str)
        covenants.retire(federation.config(), 1, federation.clock.now())
        assert await broker.reload()
        assert isinstance(await source.ended, CovenantError)
        federation.covenant_name = "convenant"
        with pytest.raises(CovenantError):
            await om.lookup(ZSM_CONTEXT).begin()
    # The configuration still names the folder of the first: it does not come back.
    async with federation.broker():
        federation.covenant_name = "convenant-2"
        assert list((await om.directory()).covenant_hashes) == [added.hash]


async def test_must_03_a_key_that_the_newest_version_replaced_publishes_nothing_new(
    federation: Federation, politie: Party
) -> None:
    stolen = politie.signer
    async with federation.broker() as broker:
        await politie.publish(politie.note)
        politie.signer = SigningKey.generate()
        second = write_second(federation)
        renewed, politie.signer = politie.signer, stolen
        add(federation, second)
        assert await broker.reload()
        politie.number += 1
        note = politie.make_manifest()
        with pytest.raises(KeysError):
            await politie.publish(note)
        await politie.publish(add_signature(note, note_name(politie.oin, "ondertekenaar"), bytes(renewed)))


async def test_a_lookup_is_under_one_version(federation: Federation, om: Party, politie: Party) -> None:
    second = write_second(federation)
    async with federation.broker() as broker, politie.attached():
        add(federation, second)
        assert await broker.reload()
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        federation.covenant_name = "convenant-2"
        await lookup.ask(lookup.question(politie.oin))
        assert (await lookup.replies())[politie.oin] == "ratio"


async def test_a_version_travels_as_the_exact_bytes_of_its_files(federation: Federation, om: Party) -> None:
    folder = federation.covenant_folder
    async with federation.broker():
        call = om.stub.GetCovenant(GetCovenantRequest(hash=federation.covenant.hash), timeout=10)
        found = {message.path: message.content async for message in call}
    assert found == {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
    assert hashlib.sha256(federation.covenant.manifest.encode()).digest() == federation.covenant.hash


async def test_a_version_that_is_not_in_service_is_not_given(federation: Federation, om: Party) -> None:
    async with federation.broker():
        for name in (b"", bytes(32)):
            with pytest.raises(CovenantError):
                await told(om.stub.GetCovenant(GetCovenantRequest(hash=name), timeout=10).read())


async def test_a_folder_that_changed_since_is_not_given_out(federation: Federation, om: Party) -> None:
    name = federation.covenant.hash
    async with federation.broker():
        agreement = federation.covenant_folder / "afspraken.yaml"
        agreement.write_text(agreement.read_text("utf-8") + "# later\n", "utf-8")
        with pytest.raises(CovenantError):
            await told(om.stub.GetCovenant(GetCovenantRequest(hash=name), timeout=10).read())


async def test_fg_05_an_older_version_is_not_added_again(federation: Federation, tmp_path: Path) -> None:
    older = shutil.copytree(federation.covenant_folder, tmp_path / "replayed")
    second = write_second(federation)
    async with federation.broker() as broker:
        add(federation, second)
        assert await broker.reload()
        covenants.retire(federation.config(), 1, federation.clock.now())
        assert await broker.reload()
        with pytest.raises(CovenantError, match="not newer"):
            add(federation, older)


async def test_fg_05_another_text_under_the_same_number_is_not_added(federation: Federation) -> None:
    federation.covenant_name = "anders"
    federation.write_covenant(_note)
    other = federation.covenant_folder
    federation.covenant_name = "convenant"
    async with federation.broker():
        with pytest.raises(CovenantError, match="not newer"):
            add(federation, other)


async def test_fg_05_a_version_without_the_signatures_that_it_demands_is_not_added(federation: Federation) -> None:
    second = write_second(federation)
    for note in list((second / "handtekeningen").iterdir())[:2]:
        note.unlink()
    with pytest.raises(CovenantError):
        add(federation, second)
    assert not held(shelf_of(federation.config()))


async def test_the_newest_version_is_not_retired_nor_the_older_before_the_newer_served(federation: Federation) -> None:
    second = write_second(federation)
    now = federation.clock.now()
    async with federation.broker() as broker:
        with pytest.raises(CovenantError):
            covenants.retire(federation.config(), 1, now)
        add(federation, second)
        for number in (1, 2):
            with pytest.raises(CovenantError):
                covenants.retire(federation.config(), number, now)
        assert await broker.reload()
        with pytest.raises(CovenantError):
            covenants.retire(federation.config(), 2, now)


async def test_a_damaged_copy_is_left_out_and_the_other_version_goes_on(federation: Federation) -> None:
    second = write_second(federation)
    add(federation, second)
    config = federation.config()
    for folder in held(shelf_of(config)).values():
        if "versie: '2'" in (folder / "afspraken.yaml").read_text("utf-8"):
            (folder / "afspraken.yaml").write_text("versie: nee\n", "utf-8")
    found = covenants.in_service(config, federation.clock.now())
    assert [version.covenant.version for version in found] == [1]


@pytest.mark.parametrize(
    "path", ["../boven", "a/b/c", "/etc/x", "doelen/../x", "", ".verborgen", "doelen/.x", "a\\b", "a\0"]
)
def test_a_version_with_an_impossible_path_is_refused(tmp_path: Path, path: str) -> None:
    shelf = tmp_path / "covenants"
    with pytest.raises(MalformedError):
        keep([(path, b"x")], shelf, bytes(32))
    assert not held(shelf)
    assert [it.name for it in tmp_path.rglob("*") if it.is_file()] == []


def _note(folder: Path) -> None:
    path = folder / "afspraken.yaml"
    path.write_text(path.read_text("utf-8") + "# anders\n", "utf-8")

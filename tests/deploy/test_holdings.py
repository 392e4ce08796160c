"""Who holds what: counted for real, and a number that stands anywhere is found."""

import os
import sqlite3
from pathlib import Path

import pytest
from bekend_deploy import holdings

NUMBER = "999990019"


def test_rows_bytes_and_keys_are_read_back(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "signing.key").write_bytes(bytes(32))
    (tmp_path / "list.pseudonyms").write_bytes(bytes(34 * 11))
    (tmp_path / "one.tags").write_bytes(bytes(8 * 1024))
    with sqlite3.connect(tmp_path / "node.db") as database:
        database.execute("CREATE TABLE log (entry BLOB)")
        database.executemany("INSERT INTO log VALUES (?)", [(b"x",), (b"y",)])
    database.close()
    found = holdings.read("node", tmp_path, os.getpid(), {NUMBER})
    assert found.rows == {"log": 2, holdings.PSEUDONYMS: 10, holdings.TAGS: 1024}
    assert found.keys == ("keys/signing.key",)
    assert found.disk_bytes == sum(found.files.values())
    assert found.resident_bytes > 1_000_000
    assert found.numbers_found == 0


@pytest.mark.parametrize("before", [0, 1, (1 << 20) - 4, 1 << 20])
def test_a_number_anywhere_in_a_file_is_found(tmp_path: Path, before: int) -> None:
    (tmp_path / "some.log").write_bytes(b"x" * before + NUMBER.encode() + b"x" * 100)
    assert holdings.read("node", tmp_path, None, {NUMBER}).numbers_found == 1


def test_a_longer_number_and_what_the_partner_delivers_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "some.log").write_text(f"1{NUMBER}")
    delivered = tmp_path / "list.csv"
    delivered.write_text(NUMBER)
    assert holdings.read("node", tmp_path, None, {NUMBER}, [delivered]).numbers_found == 0

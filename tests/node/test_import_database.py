"""A register in a database: PostgreSQL for real, and ODBC over SQLite's driver where this machine has one.

Nothing is written there, nothing of a value is shown, and each reading of an import sees the same rows.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import pytest
from bekend_deploy.partners import OM, POLITIE, ZSM_CONTEXT
from bekend_deploy.postgres_server import PostgresServer
from bekend_node.config import DatabaseAccess
from bekend_node.enrol import plan
from bekend_node.enrol.cells import NoTextError, text_of
from bekend_node.enrol.database import Asked, DatabaseList
from bekend_node.enrol.listing import ImportFaultError
from bekend_node.enrol.mapping import Mapping, PostgresqlSource
from bekend_node.enrol.odbc import OdbcConnection
from bekend_node.enrol.postgresql import PostgresqlConnection
from bekend_node.enrol.rows import Person, Refused, RowRules, read_rows
from bekend_node.enrol.survey import GuardError
from bekend_node.pseudonym_file import month_number
from bekend_policy.faults import YamlFaults
from bekend_policy.strict_yaml import load_yaml
from bekend_proto.errors import KeysError, UnreachableError
from bekend_proto.identifiers import NAME_BIRTH, parse_identifier
from bekend_proto.names import PersonData, combine
from hypothesis import given
from hypothesis import strategies as st

from tests.node.test_enrol import people, pseudonyms, stored
from tests.support.federation import Federation
from tests.support.nodes import NodeHome
from tests.support.pki import Authority

TODAY = date(2026, 11, 21)
ROWS = """CREATE TABLE rows (bsn text, skn bigint, einde date, gezien timestamptz, geheim boolean, mutatie text);
INSERT INTO rows VALUES
  ('999990019', 12345678, '2027-03-31', NULL, false, '+'), ('999990342', NULL, NULL, '2026-01-31 23:30+00', NULL, '+'),
  ('999993483', NULL, NULL, NULL, true, '+'), (NULL, 1234567, NULL, NULL, false, '+');
CREATE FUNCTION sneak() RETURNS text LANGUAGE plpgsql AS $$
  BEGIN DELETE FROM rows; RETURN '999990019'; END $$;"""


def mapping(database: dict[str, Any]) -> Mapping:
    return Mapping.model_validate(
        {
            "kind": "bekend/1 mapping",
            "register": "zaken",
            "identifiers": {"bsn": "bsn", "skn": "skn"},
            "columns": {"end": "einde", "last_involved": "gezien", "secret": "geheim", "change": "mutatie"},
            "database": {"query": "select 1", **database},
        }
    )


@dataclass
class Database:
    """One database of a running PostgreSQL, with rows."""

    server: PostgresServer
    name: str
    host: str
    port: int
    user: str = "postgres"
    access: DatabaseAccess = DatabaseAccess()  # noqa: RUF009 - immutable
    password: str = ""

    def opened(self, query: str, since: date | None = None, **more: Any) -> DatabaseList:
        facts = {"kind": "postgresql", "host": self.host, "port": str(self.port), "name": self.name, "user": self.user}
        its = mapping(facts | more)
        assert isinstance(its.database, PostgresqlSource)
        asked = Asked(its, query, TODAY, since, self.password)
        return DatabaseList(asked, PostgresqlConnection(its.database, self.access, asked))

    def read(self, query: str, since: date | None = None) -> list[Person | Refused]:
        with self.opened(query, since) as listing:
            its = listing._asked.mapping
            return list(read_rows(listing, RowRules(its, since is not None, TODAY, 24)))

    def refused(self, query: str) -> str:
        with pytest.raises(ImportFaultError) as fault, self.opened(query) as listing:
            list(listing.rows())
        return str(fault.value)

    def count(self) -> int:
        with self.server.admin(self.name) as connection:
            ((count,),) = connection.execute("SELECT count(*) FROM rows").fetchall()
            assert isinstance(count, int)
            return count


@pytest.fixture(scope="module")
def database(postgres: PostgresServer) -> Database:
    with postgres.admin() as connection:
        connection.execute("CREATE DATABASE zaken")
    with postgres.admin("zaken") as connection:
        connection.execute(ROWS.encode())
    return Database(postgres, "zaken", str(postgres.folder), postgres.port)


def test_rows_of_a_query_are_persons(database: Database) -> None:
    found = database.read("select * from rows order by bsn")
    assert found == [
        Person((b"bsn:999990019", b"skn:12345678"), month_number("2027-03"), 2),
        # In Amsterdam it was February already.
        Person((b"bsn:999990342",), month_number("2028-02"), 3),
        Person((b"bsn:999993483",), 0, 4, secret=True),
        Refused(5, "this SKN is stored as a number, which may have lost a zero: store it as text"),
    ]


def test_changes_are_asked_from_a_day_and_percent_signs_stay(database: Database) -> None:
    query = "select * from rows where bsn like '9999900%' and einde > :since::date order by bsn"
    assert [one.line for one in database.read(query, since=date(2027, 3, 30))] == [2]
    assert database.read(query, since=date(2027, 3, 31)) == []


HOSTILE = {
    "delete from rows returning *": "SQLSTATE 42601",
    "select 1; delete from rows": "SQLSTATE 42601",
    "with gone as (delete from rows returning *) select * from gone": "SQLSTATE 0A000",
    "select sneak() as bsn": "read-only transaction, SQLSTATE 25006",
    "select set_config('transaction_read_only', 'off', false), sneak() as bsn": "SQLSTATE 25001",
    "select bsn::int from rows order by bsn desc nulls last": "",
    "select nothing from rows": "SQLSTATE 42703",
    "select (bsn || 'x')::bigint as bsn from rows": "InvalidTextRepresentation, SQLSTATE 22P02",
}


@pytest.mark.parametrize("query", HOSTILE)
def test_nothing_is_written_there_and_no_value_is_shown(database: Database, query: str) -> None:
    if HOSTILE[query]:
        message = database.refused(query)
        assert HOSTILE[query] in message
        assert "9999" not in message
    assert database.count() == 4


def test_rows_that_differ_between_two_readings_stop_the_import(database: Database) -> None:
    with database.opened("select bsn, clock_timestamp()::text as skn from rows") as listing:
        rules = RowRules(mapping({"kind": "postgresql", "host": "/x", "name": "a", "user": "b"}), False, TODAY, 24)
        its = rules.mapping.model_copy(update={"columns": type(rules.mapping.columns)()})
        rules = RowRules(its, False, TODAY, 24)
        list(read_rows(listing, rules))
        with pytest.raises(ImportFaultError, match="changed while they were read"):
            list(read_rows(listing, rules))


def test_every_reading_sees_the_same_and_the_fingerprint_tells_another(database: Database) -> None:
    query = "select * from rows order by bsn"
    with database.opened(query) as listing, database.server.admin("zaken") as connection:
        before = listing.fingerprint(b"key")
        connection.execute("UPDATE rows SET einde = '2028-01-31' WHERE bsn = '999990342'")
        assert len(list(listing.rows())) == 5
        assert listing.fingerprint(b"key") == before
        assert listing.fingerprint(b"another key") != before
        with database.opened(query) as again:
            assert again.fingerprint(b"key") != before
        connection.execute("UPDATE rows SET einde = NULL WHERE bsn = '999990342'")


def test_a_list_stays_small_in_memory(database: Database) -> None:
    """The rows are of the server's making; here are some thousands at a time."""
    with database.opened("select lpad(n::text, 9, '0') as bsn, null as skn from generate_series(1, 9000) n") as listing:
        rows = listing.rows()
        next(rows)
        next(rows)
        assert "FETCH" in str(_statements(database))
        assert sum(1 for _ in rows) == 8_999


def _statements(database: Database) -> list[Any]:
    with database.server.admin() as connection:
        return connection.execute("SELECT query FROM pg_stat_activity WHERE application_name = 'bekend'").fetchall()


@pytest.fixture(scope="module")
def on_line(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Database, Authority]]:
    """The same over TLS, with a password."""
    authority = Authority(tmp_path_factory.mktemp("pki"))
    tls = authority.issue(OM.oin, name="database")
    with PostgresServer.running(postgres.bin, tls) as server:
        with server.admin() as connection:
            connection.execute("CREATE DATABASE zaken")
            connection.execute("CREATE ROLE lezer LOGIN PASSWORD 'geheim van lezer'")
        with server.admin("zaken") as connection:
            connection.execute(ROWS.encode())
            connection.execute("GRANT SELECT ON rows TO lezer")
        access = DatabaseAccess(authorities=authority.path)
        yield Database(server, "zaken", "localhost", server.port, "lezer", access, "geheim van lezer"), authority


def test_over_the_network_the_servers_certificate_is_verified(
    on_line: tuple[Database, Authority], tmp_path: Path
) -> None:
    database, _ = on_line
    assert len(database.read("select * from rows")) == 4
    stranger = Authority(tmp_path / "stranger")
    other = Database(database.server, "zaken", "localhost", database.port, "lezer",
                     DatabaseAccess(authorities=stranger.path), database.password)  # fmt: skip
    with pytest.raises(UnreachableError, match=r"SSL error|certificate"):
        other.read("select * from rows")
    with pytest.raises(UnreachableError, match="password") as fault:
        Database(database.server, "zaken", "localhost", database.port, "lezer", database.access, "mis").read("select 1")
    assert "mis" not in str(fault.value).replace("mission", "")
    with pytest.raises(KeysError, match="the line needs TLS"):
        Database(database.server, "zaken", "db.example.nl", database.port).read("select 1")


# --- ODBC


@pytest.fixture(scope="module")
def driver() -> str:
    """SQLite's, where this machine has it; there must be one where REQUIRE_TOOLS says so."""
    try:
        import pyodbc  # noqa: PLC0415 - its library belongs to the system

        found = "SQLite3" in pyodbc.drivers()
    except ImportError:
        found = False
    if not found:
        assert not os.environ.get("REQUIRE_TOOLS"), "ODBC is missing: apt-get install libodbc2 libsqliteodbc"
        pytest.skip("ODBC or SQLite's driver is not installed")
    return "SQLite3"


@pytest.fixture
def odbc(tmp_path: Path, driver: str) -> Path:
    path = tmp_path / "zaken.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "CREATE TABLE rows (bsn TEXT, skn INTEGER, einde DATE, gezien TEXT, geheim TEXT, mutatie TEXT);"
            "INSERT INTO rows VALUES ('999990019', 12345678, '2027-03-31', NULL, 'nee', '+'),"
            " ('999990342', NULL, NULL, '2026-02-01', '', '-');"
        )
    return path


def over_odbc(path: Path, query: str, since: date | None = None) -> list[Person | Refused]:
    its = mapping({"kind": "odbc", "connection": {"Driver": "SQLite3", "Database": str(path)}})
    asked = Asked(its, query, TODAY, since)
    assert its.database is not None
    with DatabaseList(asked, OdbcConnection(its.database, asked)) as listing:  # type: ignore[arg-type]
        return list(read_rows(listing, RowRules(its, since is not None, TODAY, 24)))


def test_rows_over_odbc_are_persons(odbc: Path) -> None:
    assert over_odbc(odbc, "select * from rows order by bsn") == [
        Person((b"bsn:999990019", b"skn:12345678"), month_number("2027-03"), 2),
        Person((b"bsn:999990342",), month_number("2028-02"), 3),
    ]
    changed = over_odbc(odbc, "select * from rows where coalesce(einde, :since) >= :since", since=date(2027, 3, 31))
    assert [one.added for one in changed if isinstance(one, Person)] == [True, False]


@pytest.mark.parametrize("query", ["delete from rows", "delete from rows returning *", "select nix from rows"])
def test_what_writes_over_odbc_is_undone(odbc: Path, query: str) -> None:
    with pytest.raises(ImportFaultError, match=r"gives no rows|the query failed|no column named") as fault:
        over_odbc(odbc, query)
    assert "9999" not in str(fault.value)
    with closing(sqlite3.connect(odbc)) as connection:
        assert connection.execute("SELECT count(*) FROM rows").fetchone() == (2,)


@pytest.mark.usefixtures("driver")
def test_a_database_over_odbc_that_is_not_there_is_named() -> None:
    its = mapping({"kind": "odbc", "connection": {"Driver": "None;PWD=x}", "Server": "localhost"}, "user": "lezer"})
    asked = Asked(its, "select 1", TODAY, password="geheim van lezer")
    with pytest.raises(UnreachableError, match="a database at localhost") as fault:
        OdbcConnection(its.database, asked)  # type: ignore[arg-type]
    assert "geheim" not in str(fault.value)


# --- mappings


@pytest.mark.parametrize(
    ("connection", "what"),
    [
        ("{Driver: X, Server: zaken.example.nl}", "no TLS that is verified"),
        ("{Driver: X, Server: zaken.example.nl, Encrypt: 'yes', TrustServerCertificate: 'yes'}", "no TLS"),
        ("{Driver: X, Servername: zaken.example.nl, SSLmode: require}", "no TLS"),
        ("{DSN: zaken}", "no TLS"),
        ("{Driver: X, Server: localhost, PWD: geheim}", "names no user or password"),
        ("{Driver: X, Server: zaken.example.nl, Encrypt: 'yes'}", None),
        ("{Driver: X, Servername: zaken.example.nl, SSLmode: verify-full}", None),
        ("{Driver: X, Server: 127.0.0.1}", None),
        ("{Driver: X, Database: /srv/zaken.db}", None),
    ],
)
def test_an_odbc_line_off_this_machine_needs_tls_that_its_driver_verifies(connection: str, what: str | None) -> None:
    text = "kind: bekend/1 mapping\nregister: a\nidentifiers:\n  bsn: b\ndatabase:\n  kind: odbc\n  query: select 1\n"
    lines = "".join(f"    {one.strip()}\n" for one in connection.strip("{}").split(","))
    if what is None:
        load_yaml(f"{text}  connection:\n{lines}", Mapping, name="mapping")
        return
    with pytest.raises(YamlFaults, match=what):
        load_yaml(f"{text}  connection:\n{lines}", Mapping, name="mapping")


@pytest.mark.parametrize("query", ["delete from a", "select 1; drop table a", "", "update a set b = 1", "call f()"])
def test_a_query_is_one_select(query: str) -> None:
    with pytest.raises(ValueError, match="a query is one SELECT"):
        mapping({"kind": "postgresql", "host": "/run", "name": "a", "user": "b", "query": query})


NUMBERS: st.SearchStrategy[Any] = st.one_of(
    st.integers(0, 10**12), st.decimals(0, 10**10, places=2), st.floats(0, 1e15)
)


@given(value=NUMBERS)
def test_a_number_is_its_digits_or_no_number_at_all(value: Any) -> None:
    text = text_of(value)
    assert text.isdigit() is (value == int(value))
    assert Decimal(text) == Decimal(repr(value) if isinstance(value, float) else value)


ODD: Final[tuple[Any, ...]] = (
    *map(Decimal, ("Infinity", "-Infinity", "NaN", "sNaN", "1E+6000", "1" * 40)),
    *(float("inf"), float("nan"), 1e300, 10**5000),
)


@pytest.mark.parametrize("place", range(len(ODD)))
def test_a_value_that_a_column_may_hold_and_no_list_has_leaves_its_row_out(place: int) -> None:
    """PostgreSQL's numeric has these."""
    with pytest.raises(NoTextError) as fault:
        text_of(ODD[place])
    assert not any(one.isdigit() for one in str(fault.value))


def test_what_is_no_text_number_or_date_is_refused() -> None:
    assert text_of(datetime(2026, 6, 30, 22, 30, tzinfo=UTC)) == "2026-07-01"
    # Moments that lie outside the calendar here: many systems write the first for no end.
    assert text_of(datetime.max.replace(tzinfo=UTC)) == "9999-12-31"
    assert text_of(datetime.min.replace(tzinfo=timezone(timedelta(hours=9)))) == "0001-01-01"
    others: list[Any] = [b"x", timedelta(days=1), ["x"], {}]
    for value in others:
        with pytest.raises(NoTextError, match="no text, number or date"):
            text_of(value)


# --- all the way: the sample mapping, and changes that the source system computes


SAMPLE = files("bekend_node")


def sample(server: PostgresServer) -> dict[str, Any]:
    text = SAMPLE.joinpath("mapping-database.example.yaml").read_text("utf-8")
    found = load_yaml(text, Mapping, name="sample")
    tree = found.model_dump(by_alias=True, exclude_none=True, mode="json")
    del tree["register"]
    tree["database"] |= {"host": str(server.folder), "port": str(server.port), "name": "bron"}
    return tree


CLIENTS = """CREATE TABLE clienten (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, bsn text, skn text, geslachtsnaam text, voorvoegsel text,
  voornamen text, geboortedatum text, einddatum date, laatste_contact date, geheim text, grond text
);"""


async def test_changes_that_the_source_system_computes_keep_the_list_as_it_is_there(
    tmp_path: Path, authority: Authority, postgres: PostgresServer
) -> None:
    with postgres.admin() as connection:
        connection.execute("CREATE DATABASE bron")
    source = postgres.admin("bron")
    source.execute(CLIENTS.encode())
    source.execute(SAMPLE.joinpath("changes.example.sql").read_bytes())

    federation = Federation.create(tmp_path, authority)
    home = NodeHome.create(federation, POLITIE.oin)
    register = home.registers[0]
    home.write_mapping(register, **(sample(postgres) | {"identifier_kind": None}))
    known = people(6)

    def told(number: int, name: str = "Jansen", ground: str = "8") -> None:
        source.execute(
            "INSERT INTO clienten (bsn, geslachtsnaam, voornamen, geboortedatum, grond) VALUES (%s, %s, %s, %s, %s)",
            (known[number].value, name, "Anna", "19800201", ground),
        )

    for number in range(5):
        told(number)
    async with federation.broker() as broker:

        async def enrol(**more: Any) -> plan.Report:
            return await home.enrol(broker.port, register, None, **more)

        with pytest.raises(GuardError, match="import the whole register first"):
            await enrol(changes=True)
        report = await enrol()
        assert (report.rows, report.persons) == (5, 5)
        source.execute("DELETE FROM bekend.geraakt")
        source.execute("DELETE FROM clienten WHERE bsn = %s", (known[0].value,))
        source.execute("UPDATE clienten SET geslachtsnaam = 'Bakker' WHERE bsn = %s", (known[1].value,))
        source.execute("UPDATE clienten SET geheim = '7' WHERE bsn = %s", (known[2].value,))
        told(5)
        report = await enrol(changes=True)
        assert report.left_out[plan.LeftOut.MARKED] == 1
        expected = pseudonyms(home, ZSM_CONTEXT, [known[1], *known[3:6]])
        assert set(stored(home, register, ZSM_CONTEXT)) == expected
        # Once more is the same once more, and what is gone from the source's own list is not missed here.
        await enrol(changes=True)
        assert set(stored(home, register, ZSM_CONTEXT)) == expected
        source.execute("DELETE FROM clienten WHERE bsn > %s", (known[0].value,))
        with pytest.raises(GuardError, match="leave --file out"):
            await home.enrol(broker.port, register, home.csv(register, known))
    source.close()


def test_the_sample_names_persons_without_a_number_too() -> None:
    found = load_yaml(SAMPLE.joinpath("mapping-database.example.yaml").read_text("utf-8"), Mapping, name="sample")
    assert found.kinds == {"bsn", "skn", NAME_BIRTH}
    assert found.label_of("T") == "toestemming"
    assert isinstance(found.database, PostgresqlSource)
    assert combine(NAME_BIRTH, PersonData(geslachtsnaam="Bakker", voornamen="Jan", geboortedatum="19820304"))
    assert parse_identifier("bsn", "999990019").kind in found.kinds

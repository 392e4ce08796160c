"""Opens the list that is to be imported: a file that somebody gives, or the database that the mapping names."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

from bekend_proto.clock import day_of

from bekend_node.config import SHIELDED, DatabaseAccess, NodeConfig
from bekend_node.enrol.csv_file import CsvFile
from bekend_node.enrol.database import Asked, Connection, DatabaseList
from bekend_node.enrol.excel import Workbook, is_workbook
from bekend_node.enrol.listing import ImportFaultError, Listing
from bekend_node.enrol.mapping import ApprovedMapping, Mapping, OdbcSource, PostgresqlSource, load_mapping
from bekend_node.enrol.odbc import OdbcConnection
from bekend_node.enrol.postgresql import PostgresqlConnection
from bekend_node.enrol.rows import RowRules
from bekend_node.enrol.survey import GuardError
from bekend_node.password_file import read_password
from bekend_node.store_registers import Generation

UNPACKED = 8
"""So much larger is a workbook than its file."""
OVERLAP = timedelta(days=1)
"""Changes are asked from so long before the list in service: what changed on its own day may not be in it."""


@dataclass(frozen=True)
class Wanted:
    """What the command line asks: a register from a file, or (None) from its database.

    `pinned` is the mapping's hash that a timer insists on.
    """

    register: str
    file: Path | None = None
    changes: bool = False
    as_of: date | None = None
    epoch: str = "current"
    confirm_shrink: bool = False
    pinned: str | None = None


def size_of(config: NodeConfig, wanted: Wanted) -> int:
    """Octets of the list, about: whether worker processes are worth their start. Of a database by the stated size."""
    if wanted.file is not None:
        size = wanted.file.stat().st_size if wanted.file.is_file() else 0
        return size * UNPACKED if is_workbook(wanted.file) else size
    register = config.registers.get(wanted.register)
    return 0 if register is None or wanted.changes else 20 * register.size


def no_register(config: NodeConfig, register: str) -> str:
    """Of a register that node.yaml does not have: which it has."""
    names = ", ".join(sorted(config.registers)) or "none"
    return f"node.yaml has no register {register!r}; it has: {names}"


def approved_mapping(config: NodeConfig, wanted: Wanted) -> ApprovedMapping:
    """The mapping of the register. Raises GuardError, SignatureError, YamlFaults."""
    register = config.registers.get(wanted.register)
    if register is None:
        raise GuardError("register", no_register(config, wanted.register))
    approved = load_mapping(register.mapping, wanted.register, config.approvers)
    if wanted.pinned is not None and wanted.pinned != approved.digest:
        raise GuardError(
            "mapping",
            f"the mapping of {wanted.register} has hash {approved.digest}, not the one given: who changed it?",
        )
    return approved


def row_rules(config: NodeConfig, wanted: Wanted, mapping: Mapping, as_of: date) -> RowRules:
    """What decides about the rows."""
    shielding = wanted.register == SHIELDED
    return RowRules(mapping, wanted.changes, as_of, config.registration_months, shielding=shielding)


@contextmanager
def open_list(
    config: NodeConfig, wanted: Wanted, mapping: Mapping, in_service: tuple[Generation, ...], now: datetime
) -> Iterator[Listing]:
    """The list, for as long as it is read. Raises GuardError, ImportFaultError, KeysError, UnreachableError."""
    source = mapping.database
    if wanted.file is not None:
        if source is not None:
            raise GuardError(
                "mapping", f"the mapping of {wanted.register} says that it comes from a database: leave --file out"
            )
        yield _file(wanted.file, mapping)
        return
    if source is None:
        raise GuardError("mapping", f"the mapping of {wanted.register} names no database: give --file")
    access = config.registers[wanted.register].database
    password = read_password(access.password, f"register {wanted.register}") if access.password else ""
    statement, since = _statement(wanted, source, in_service)
    asked = Asked(mapping, statement, day_of(now), since, password)
    with DatabaseList(asked, _connect(source, access, asked)) as listing:
        yield listing


def _file(path: Path, mapping: Mapping) -> Listing:
    if not path.is_file():
        what = "this is no file" if path.exists() else "there is no such file"
        raise ImportFaultError(path, 0, what, "Check --file.")
    return Workbook(path, mapping) if is_workbook(path) else CsvFile(path, mapping)


def _statement(
    wanted: Wanted, source: PostgresqlSource | OdbcSource, in_service: tuple[Generation, ...]
) -> tuple[str, date | None]:
    """The query, and in one of changes the day from which they are asked."""
    if not wanted.changes:
        return source.query, None
    if source.changes is None:
        raise GuardError("mapping", f"the mapping of {wanted.register} has no query of changes: import it whole")
    since = min((one.as_of for one in in_service if one.register == wanted.register), default=None)
    if since is None:
        raise GuardError("changes", f"import the whole register first: {wanted.register} has no list yet")
    return source.changes, since - OVERLAP


def _connect(source: PostgresqlSource | OdbcSource, access: DatabaseAccess, asked: Asked) -> Connection:
    if isinstance(source, PostgresqlSource):
        return PostgresqlConnection(source, access, asked)
    return OdbcConnection(source, asked)

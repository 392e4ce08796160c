"""The three databases of a node, opened and closed together."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bekend_proto.integrity import Check

from bekend_node.store import Store
from bekend_node.store_desk import DeskStore
from bekend_node.store_registers import Registers


@dataclass(frozen=True)
class Databases:
    """node.db, desk.db and registers.db of one data folder."""

    store: Store
    desk: DeskStore
    registers: Registers

    @classmethod
    def open(cls, folder: Path) -> "Databases":
        """Open all three and look at each. Raises StorageError, DamagedError; then none stays open."""
        with contextlib.ExitStack() as opened:
            store = Store.open(folder)
            opened.callback(store.close)
            desk = DeskStore.open(folder)
            opened.callback(desk.close)
            registers = Registers.open(folder)
            opened.callback(registers.close)
            for check in (store.database.quick_check, desk.quick_check, registers.quick_check):
                check()
            opened.pop_all()
        return cls(store, desk, registers)

    @property
    def checks(self) -> Sequence[Check]:
        """Reads each of them whole. Raises DamagedError."""
        return (self.store.database.check, self.desk.check, self.registers.check)

    def close(self) -> None:
        """Finish what waits and close the files."""
        self.registers.close()
        self.desk.close()
        self.store.close()

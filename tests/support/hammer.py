"""A process that spends one budget as fast as it can, as a replica does: `python -m tests.support.hammer SOCKET ...`.

Each line that it writes is the hash of a log entry that was durable before the line was written.
"""

import asyncio
import sys
from datetime import date
from pathlib import Path
from secrets import token_bytes

from bekend_broker.config import DatabaseServer
from bekend_broker.store_budgets import Account, spend
from bekend_broker.store_postgres import PostgresDatabase
from bekend_deploy.partners import BROKER_OIN
from bekend_proto.errors import BudgetError
from bekend_proto.log_table import append_log
from bekend_proto.sql import Connection

ACCOUNT = Account(date(2026, 11, 26), "00000099000000001000", "*")


async def hammer(database: PostgresDatabase, tries: int, persons: int, limit: int) -> None:
    async def once() -> None:
        name = token_bytes(32)

        def work(connection: Connection) -> None:
            append_log(connection, "begin", name, 1)
            # What is refused after it was written is undone.
            if not spend(connection, ACCOUNT, persons, limit):
                raise BudgetError("used up")

        try:
            await database.write(work)
        except BudgetError:
            sys.stdout.write("refused\n")
        else:
            sys.stdout.write(f"{name.hex()}\n")
        sys.stdout.flush()

    await asyncio.gather(*(once() for _ in range(tries)))


def main() -> None:
    folder, name, user = sys.argv[1:4]
    tries, persons, limit = map(int, sys.argv[4:])
    database = PostgresDatabase.open(DatabaseServer(socket=Path(folder), name=name, user=user), BROKER_OIN, "main")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    asyncio.run(hammer(database, tries, persons, limit))
    database.close()


if __name__ == "__main__":
    main()

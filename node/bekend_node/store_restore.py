"""What does not come back with `node.db`: whatever others may have ended since the backup was made.

filter, filter_before   the m of then: requesters saw later versions, and never go back
pending                 answers still to come: their case may have lapsed, their consent may have been withdrawn
awaiting                questions that a colleague here decides on: desk.db is in no backup
"""

from sqlite3 import Connection
from typing import Final

from bekend_proto import log_table
from bekend_proto.log_table import Closed

_ENDED: Final = ("filter", "filter_before", "pending", "awaiting")


def settle(connection: Connection, origin: str, *, taken: int, at: int) -> Closed:
    """End what may have ended since, and close the log under the name that it had. Moments in milliseconds."""
    for table in _ENDED:
        connection.execute(f"DELETE FROM {table}")  # noqa: S608 - fixed names
    return log_table.close_log(connection, origin, taken=taken, at=at)

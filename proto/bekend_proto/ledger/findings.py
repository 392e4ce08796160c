"""What can be wrong with a log, or between two."""

from dataclasses import asdict, dataclass
from enum import StrEnum


class Kind(StrEnum):
    """Kinds of finding. README.md says what each means and what to do."""

    UNREADABLE = "unreadable"
    SIGNATURE = "signature"
    ROOT = "root"
    GAP = "gap"
    DUPLICATE = "duplicate"
    REORDERED = "reordered"
    REWRITTEN = "rewritten"
    HIDDEN = "hidden"
    ALTERED = "altered"
    PROMISE = "promise"
    RECORD = "record"


@dataclass(frozen=True, order=True)
class Finding:
    """One thing that is wrong. `log`: the log at fault, or the file; `hash`: of the entry, in hex, if there is one."""

    kind: Kind
    log: str
    hash: str
    detail: str

    def to_json(self) -> dict[str, str]:
        """The fields as JSON values."""
        return {name: str(value) for name, value in asdict(self).items()}

    def __str__(self) -> str:
        about = f" {self.hash[:16]}" if self.hash else ""
        return f"{self.kind.upper()} {self.log}{about}: {self.detail}"

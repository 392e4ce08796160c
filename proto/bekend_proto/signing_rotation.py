"""What `rotate --signing` does and says, for a node as for the broker.

    next key made -> manifest signed that names both -> the party signs with the next one by itself
                  -> a theft: manifest signed that names the key before no more

It may be run again at any time: each step looks at what is there.
"""

from collections.abc import Callable, Collection, Iterator
from datetime import date
from pathlib import Path

from bekend_proto.errors import KeysError
from bekend_proto.findings import Finding, ok, warn
from bekend_proto.secret_files import create_secret
from bekend_proto.signing_files import (
    KNOWN_AFTER,
    MOST,
    NEXT,
    announced,
    before,
    destroy_gone,
    forget_before,
    next_public,
    went_over,
)


def rotate_signing(
    folder: Path,
    named: Collection[bytes],
    *,
    today: date,
    draft: Callable[[str], Finding],
    emergency: bool = False,
) -> Iterator[Finding]:
    """One finding per step, up to the first that somebody has to take.

    `named`: signing keys of the signed manifest in its place; `draft` writes the next one, says with these words what
    is new in it, and who signs it. `emergency`: the present key may be known to others, so nothing that it signed
    counts once another took its place. Raises KeysError.
    """
    destroy_gone(folder)
    went = went_over(folder, today)
    if next_public(folder) is None and went is None:
        if len(announced(folder, today)) >= MOST:
            raise KeysError(f"a manifest names {MOST} signing keys at most: one of those before has to end first")
        create_secret(folder / NEXT)
        yield ok("next key", "made")
    under_way = next_public(folder) is not None
    if emergency and not under_way:
        forget_before(folder)
    if set(named) != set(announced(folder, today)):
        yield draft("with the next signing key beside the present one" if under_way else "without the key before")
        return
    yield ok("signing keys", f"the manifest names {len(named)}")
    if under_way:
        minutes = int(KNOWN_AFTER.total_seconds() // 60)
        yield warn(
            "signing key",
            f"the next one signs by itself {minutes} minutes after that manifest came into service",
            "Wait until then, and run this again.",
        )
        return
    assert went is not None
    yield ok("signing key", f"the present one signs since {went:%Y-%m-%d}; the seed before it is destroyed")
    kept = [one.until for one in before(folder) if one.until > today]
    told = f"named until {max(kept):%Y-%m-%d}, for what it signed" if kept else "named by no manifest any more"
    yield ok("the key before", told)

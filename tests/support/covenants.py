"""The example covenant with keys that the tests hold, so that they can sign it and change it."""

import re
import shutil
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from bekend_policy.keys import SigningKey
from bekend_policy.load import load_covenant
from bekend_policy.model import Covenant
from bekend_policy.sign import add_line, verify_covenant
from bekend_proto.note import note_name, vkey_of
from nacl.signing import SigningKey as Ed25519

CATALOGUE = Path(__file__).parents[2] / "policy" / "convenant" / "kennemerland"
"""The shipped catalogue: every purpose, every kind of partner."""
EXAMPLE = Path(__file__).parent / "convenant" / "kennemerland"
"""Seven of its partners and three of its purposes, small enough to reason about."""
EVIL = Path(__file__).parents[1] / "evil" / "covenants"
NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)

OM = "00000099000000001000"
POLITIE = "00000099000000002000"
RECLASSERING = "00000099000000003000"
HAARLEM = "00000099000000004000"
VELSEN = "00000099000000005000"
VEILIG_THUIS = "00000099000000006000"
ZVH = "00000099000000007000"
OPERATOR = "00000099000000009000"
PARTNERS = (OM, POLITIE, RECLASSERING, HAARLEM, VELSEN, VEILIG_THUIS, ZVH)

YOUTH = (
    "id: jeugd, tekst: de persoon is 12 tot en met 17 jaar, controle: vrager, vorm: leeftijd, van: 12, tot_en_met: 17"
)
ZSM = "kennemerland/zsm-context"
ZSM_LOCAL = "kennemerland/zsm-lokale-context"
ZVH_WEIGHING = "kennemerland/zvh-weging-betrokkenheid"


def key_of(oin: str, generation: int = 1, role: str = "ondertekenaar") -> SigningKey:
    """The off-line key of a partner, or of the operator: the same in every run."""
    name = note_name(oin, "beheerder" if oin == OPERATOR else role)
    seed = sha256(f"test key {generation} of {name}".encode()).digest()
    return SigningKey(name, vkey_of(name, bytes(Ed25519(seed).verify_key)), seed)


def example(folder: Path, *, overlay: Path | None = None) -> Path:
    """A copy of the example with the tests' keys, not signed; `overlay` holds files that replace or join it."""
    shutil.copytree(EXAMPLE, folder)
    (folder / "handtekeningen").mkdir(exist_ok=True)
    for path in [folder / "afspraken.yaml", *(folder / "deelnemers").iterdir()]:
        found = re.search(r'oin: "(\d{20})"', path.read_text())
        assert found is not None
        edit(path, r"bekend/\d{20}/(ondertekenaar|beheerder)\+[^\"]+", key_of(found[1]).vkey)
    if overlay is not None:
        shutil.copytree(overlay, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("VERWACHT"))
    return folder


def edit(path: Path, pattern: str, replacement: str) -> None:
    """Replace the one place in a file that the pattern finds."""
    text, count = re.subn(pattern, lambda _match: replacement, path.read_text())
    assert count == 1, f"{pattern} is {count} times in {path}"
    path.write_text(text)


def sign_all(folder: Path, oins: Iterable[str] = (*PARTNERS, OPERATOR)) -> Path:
    """Sign as each of these."""
    unsigned = load_covenant(folder)
    for oin in oins:
        add_line(folder, unsigned, key_of(oin))
    return folder


def signed(folder: Path, change: Callable[[Path], object] = lambda _: None) -> Covenant:
    """The example, changed, signed by everybody and verified by the OM."""
    change(example(folder))
    return verify_covenant(load_covenant(sign_all(folder)), key_of(OM).vkey, NOW)


def all_of(*changes: Callable[[Path], object]) -> Callable[[Path], None]:
    """Several changes, one after another."""

    def change(folder: Path) -> None:
        for one in changes:
            one(folder)

    return change


def with_combinations(folder: Path) -> None:
    """The weighing may be asked by a name and date of birth too, and by surname, date of birth and address."""
    kinds = "naam-geboortedatum, naam-postcode"
    edit(folder / "afspraken.yaml", r"\Z", f"combinaties: [{kinds}]\n")
    edit(
        folder / "doelen" / "zvh-weging-betrokkenheid.yaml",
        r"identificatie: \[bsn, test\]\n",
        f"identificatie: [bsn, test, {kinds}]\nmogelijk: {{reactietermijn: PT24H, levensduur: PT48H}}\n",
    )


def with_consent(folder: Path) -> None:
    """Veilig Thuis is asked with consent under the weighing."""
    edit(
        folder / "doelen" / "zvh-weging-betrokkenheid.yaml",
        r"  veilig_thuis:\n    modus: handmatig\n",
        "  veilig_thuis:\n    modus: toestemming\n    mits: [toestemming-ggz]\n",
    )


def with_ages(folder: Path) -> None:
    """Under the weighing the reclassering is asked about minors alone, from 12 to 17 on the day of asking."""
    file = folder / "doelen" / "zvh-weging-betrokkenheid.yaml"
    edit(file, r"    registers: \[clienten\]\n", "    registers: [clienten]\n    mits: [jeugd]\n")
    edit(file, r"voorwaarden:\n", f"voorwaarden:\n  - {{{YOUTH}, peildag: vraag}}\n")


def with_ages_everywhere(folder: Path) -> None:
    """Everybody is asked about minors alone."""
    with_ages(folder)
    edit(folder / "doelen" / "zvh-weging-betrokkenheid.yaml", r"    mits: \[jeugd\]\n", "")


def with_ages_on_a_date(folder: Path) -> None:
    """The same, on the day of the fact, which the officer states."""
    with_ages(folder)
    file = folder / "doelen" / "zvh-weging-betrokkenheid.yaml"
    edit(file, r"mits: \[jeugd\]", "mits: [dag-feit, jeugd]")
    date = "id: dag-feit, tekst: dag van het feit, controle: vrager, vorm: datum, maanden_terug: 60, maanden_vooruit: 0"
    edit(file, r"peildag: vraag\}\n", f"peildag: dag-feit}}\n  - {{{date}}}\n")

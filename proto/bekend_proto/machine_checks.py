"""What `doctor` looks at on every machine, whichever service runs there: clock, certificate, folders, disk."""

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from bekend_proto.backup import last_success
from bekend_proto.clock import FRESHNESS, Clock
from bekend_proto.findings import Finding, fail, look, ok, warn
from bekend_proto.identity import TlsFiles, TlsFilesError, read_pair, read_tls
from bekend_proto.revocation import RevocationLists, chain_of
from bekend_proto.telemetry import free_bytes

CERTIFICATE_SOON: Final = timedelta(days=30)
"""How long beforehand the end of a certificate is reported: a new one takes an authority days."""
LIST_SOON: Final = timedelta(hours=6)
"""The same of a list of revoked certificates: authorities give out a new one every day or so."""
BACKUP_AGE: Final = timedelta(hours=26)
"""A day, and the time that a backup may take."""
NO_SPACE: Final = 256 << 20
LITTLE_SPACE: Final = 2 << 30
"""Free bytes below which the data folder fails, or wants attention: a filter of five million persons is 64 MiB."""
SKEW: Final = timedelta(seconds=10)
"""How far two clocks may differ before it wants attention. An `HTTP-date` counts whole seconds."""

_SECONDS = 5.0


def time_service() -> Iterator[Finding]:
    """Whether this machine's clock follows a time server, where systemd knows that."""
    program = shutil.which("timedatectl")
    if program is None:
        return
    command = [program, "show", "--property=NTPSynchronized", "--value"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        # No systemd here, as in a container: the machine that carries it keeps the clock.
        return
    if said.stdout.strip() == "yes":
        yield ok("time server", "the clock follows one")
    else:
        yield warn(
            "time server",
            "the clock of this machine follows none",
            "Run `timedatectl set-ntp true`, or start chrony; a clock that is a minute off is `geen antwoord`.",
        )


def clock_against(other: str, theirs: datetime, ours: datetime) -> Finding:
    """The own clock beside that of somebody else."""
    difference = ours - theirs
    seconds = round(difference.total_seconds())
    what = f"clock beside {other}"
    if abs(difference) <= SKEW:
        return ok(what, "less than ten seconds apart" if seconds else "the same")
    told = f"{abs(seconds)} s {'ahead' if seconds > 0 else 'behind'}"
    remedy = "Set the clock by a time server: `timedatectl set-ntp true`. If this one is right, tell the other side."
    if abs(difference) < FRESHNESS:
        return warn(what, told, remedy)
    return fail(what, f"{told}: questions older than {FRESHNESS.seconds} s are refused", remedy)


def certificate(files: TlsFiles, oin: str, clock: Clock) -> Iterator[Finding]:
    """The own certificate: usable, in the name of this organisation, how long, and of an authority that counts."""
    yield look("certificate", lambda: _certificate(files, oin, clock))
    yield look("certificate chain", lambda: _chain(files, clock))
    if (lists := files.revocation(clock)) is not None:
        yield look("list of revoked certificates", lambda: _revocation(files, lists, clock))


def _certificate(files: TlsFiles, oin: str, clock: Clock) -> Finding | str:
    material = read_tls(files, clock)
    if material.oin != oin:
        raise TlsFilesError(
            f"{files.certificate} names {material.oin}, the configuration {oin}: use the own certificate"
        )
    return _lasts("certificate", f"names {oin}, ", files.certificate, material.certificate, clock)


def site(what: str, certificate: Path, key: Path, clock: Clock) -> Finding:
    """The certificate of a site of the own node, which browsers or case systems see: usable, and how long."""
    return look(what, lambda: _lasts(what, "", certificate, read_pair(certificate, key, clock)[0], clock))


def _lasts(what: str, named: str, path: Path, chain: bytes, clock: Clock) -> Finding | str:
    end = x509.load_pem_x509_certificate(chain).not_valid_after_utc
    told = f"{named}until {end:%Y-%m-%d}"
    if end - clock.now() < CERTIFICATE_SOON:
        remedy = f"Ask the authority for a new one, put it in the place of {path} with its key: no restart."
        return warn(what, told, remedy)
    return told


def _chain(files: TlsFiles, clock: Clock) -> Finding | str:
    leaf, *between = x509.load_pem_x509_certificates(files.certificate.read_bytes())
    authorities = x509.load_pem_x509_certificates(files.authorities.read_bytes())
    # Which extensions an authority gives its certificates is its own affair: only who signed what counts here.
    anything = ExtensionPolicy.permit_all()
    authority = anything.require_present(x509.BasicConstraints, Criticality.AGNOSTIC, None)
    policy = (
        PolicyBuilder()
        .store(Store(authorities))
        .time(clock.now().astimezone(UTC).replace(tzinfo=None))
        .extension_policies(ca_policy=authority, ee_policy=anything)
    )
    try:
        policy.build_client_verifier().verify(leaf, between)
    except VerificationError:
        issuer = leaf.issuer.rfc4514_string()
        remedy = (
            f"Put the intermediate certificates behind the own one in {files.certificate}. If they are there: partners "
            f"trust the authorities in {files.authorities}, so ask for a certificate of one of those."
        )
        return warn("certificate chain", f"issued by {issuer}, which leads to none of the own authorities", remedy)
    return f"of {leaf.issuer.rfc4514_string()}"


def _revocation(files: TlsFiles, lists: RevocationLists, clock: Clock) -> Finding | str:
    # Raises what is wrong with the lists, and whether the own certificate stands in one.
    lists.check(chain_of(files.certificate.read_bytes()))
    found = revoked("list of revoked certificates", lists, clock)
    return replace(found, detail=f"{found.detail}; the own certificate is not in it")


def revoked(what: str, lists: RevocationLists, clock: Clock) -> Finding:
    """Until when lists of revoked certificates count."""
    until = lists.next_update()
    if until is None:
        return fail(what, f"{lists.file} holds no list that can be used", "Put the authorities' lists there (PEM).")
    told = f"counts until {until:%Y-%m-%d %H:%M} UTC"
    remedy = f"Look at the timer that fetches it to {lists.file}: once it is over nobody is believed."
    if until <= clock.now():
        return fail(what, told, remedy)
    return warn(what, told, remedy) if until - clock.now() < LIST_SOON else ok(what, told)


def backup(age_of: Path, clock: Clock) -> Finding:
    """How old the last backup of a data folder is."""
    last = last_success(age_of)
    remedy = "Run the command `backup` of this service, and look at its timer; docs/backup.md shows both."
    if not last:
        return warn("backup", f"none of {age_of} was ever made", remedy)
    taken = datetime.fromtimestamp(last, UTC)
    told = f"last made {taken:%Y-%m-%d %H:%M} UTC"
    return warn("backup", told, remedy) if clock.now() - taken > BACKUP_AGE else ok("backup", told)


def folders(*paths: Path) -> Iterator[Finding]:
    """Nobody but the service's own user may read keys and data, and it must be able to write where it keeps data."""
    for path in paths:
        yield look(f"folder {path}", lambda path=path: _folder(path))  # type: ignore[misc]


def _folder(path: Path) -> Finding | str:
    what = f"folder {path}"
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return "not there yet; made when it is needed"
    open_files = sorted(one.name for one in path.iterdir() if stat.S_IMODE(one.lstat().st_mode) & 0o007)
    if mode & 0o007 and open_files:
        remedy = f"Run `chmod -R o= {path}`."
        return fail(what, f"others may read {', '.join(open_files[:3])} (mode {mode:04o})", remedy)
    if not os.access(path, os.W_OK | os.X_OK):
        return fail(what, "this user may not write there", f"Run `chown -R` on {path} to the user of the service.")
    return "closed to others"


def disk(data: Path) -> Finding:
    """The space left where the log grows: no space, no log, no answer."""
    return look("disk", lambda: _disk(data))


def _disk(data: Path) -> Finding | str:
    folder, free = free_bytes(data)
    told = f"{free / (1 << 30):.1f} GiB free at {folder}"
    remedy = f"Free space on the disk of {folder}, or give it a larger one; nothing else needs repair afterwards."
    if free < NO_SPACE:
        return fail("disk", f"{told}: what cannot be logged is not answered", remedy)
    return warn("disk", told, remedy) if free < LITTLE_SPACE else told

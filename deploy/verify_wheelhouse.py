"""Verify a wheelhouse before anything of it is run: the publisher's signature, every file's hash, and no file besides.

Run: python3 verify_wheelhouse.py FOLDER KEY. KEY is the publisher's public key, name+hash+base64, that you got another
way than the folder. Needs Python 3.11 and `openssl` 1.1.1 or later, and nothing of bekend. Exit code 0: it is what was
signed.
"""

import base64
import hashlib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

DER_ED25519 = bytes.fromhex("302a300506032b6570032100")
"""What stands before the 32 octets of an Ed25519 public key in a SubjectPublicKeyInfo (RFC 8410 section 4)."""


def main() -> None:
    """Say that it is good, or stop with what is wrong."""
    if len(sys.argv) != 3:
        sys.exit("use: python3 verify_wheelhouse.py FOLDER KEY")
    folder, key = Path(sys.argv[1]), sys.argv[2].strip()
    try:
        text = signed_text((folder / "wheelhouse.note").read_bytes(), key)
    except FileNotFoundError:
        sys.exit(f"{folder} holds no wheelhouse.note: nothing says that these files are those of the publisher")
    named = dict(re.findall(r"^  (\S+): ([0-9a-f]{64})$", text, re.MULTILINE))
    if not text.startswith("kind: bekend/1 wheelhouse\n") or not named:
        sys.exit("wheelhouse.note is about something else than a wheelhouse")
    present = {path.name: path for path in folder.iterdir() if path.name not in {"wheelhouse", "wheelhouse.note"}}
    wrong = [f"{name}: missing" for name in sorted(named.keys() - present.keys())]
    wrong += [f"{name}: nobody signed for it" for name in sorted(present.keys() - named.keys())]
    for name in sorted(present.keys() & named.keys()):
        if hashlib.sha256(present[name].read_bytes()).hexdigest() != named[name]:
            wrong.append(f"{name}: not the file that was signed")
    if wrong:
        sys.exit("\n".join([*wrong, "Install nothing from this folder: get it anew, and tell the publisher."]))
    print(f"good: {len(named)} files, as {key.split('+')[0]} signed them")


def signed_text(note: bytes, key: str) -> str:
    """The text of a signed note (C2SP signed-note) that this key signed; stops when it did not."""
    name, key_hash, encoded = key.split("+", 2) if key.count("+") >= 2 else ("", "", "")
    raw = base64.b64decode(encoded or "AA==")
    public = raw[1:]
    if raw[:1] != b"\x01" or len(public) != 32 or key_hash != key_id(name, public).hex():
        sys.exit("the key is no public key of a publisher: give the whole line, name+hash+base64")
    text, _, lines = note.rpartition(b"\n\n")
    text += b"\n"
    for line in lines.decode("utf-8", "replace").splitlines():
        found = re.fullmatch(r"— (\S+) ([A-Za-z0-9+/=]+)", line)
        if found and found[1] == name:
            octets = base64.b64decode(found[2])
            if octets[:4] == key_id(name, public) and verifies(text, octets[4:], public):
                return text.decode("utf-8")
    sys.exit(f"wheelhouse.note has no valid signature of {name}: install nothing from this folder")


def key_id(name: str, public: bytes) -> bytes:
    """What a signature line carries of its key."""
    return hashlib.sha256(name.encode() + b"\n\x01" + public).digest()[:4]


def verifies(text: bytes, signature: bytes, public: bytes) -> bool:
    """Whether openssl takes the signature for this text and key."""
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder) / name for name in ("text", "signature", "key")}
        for name, octets in (("text", text), ("signature", signature), ("key", DER_ED25519 + public)):
            files[name].write_bytes(octets)
        command = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-keyform", "DER", "-inkey", str(files["key"])]
        command += ["-sigfile", str(files["signature"]), "-in", str(files["text"])]
        try:
            done = subprocess.run(command, capture_output=True, check=False)
        except FileNotFoundError:
            sys.exit("openssl is not there: install your system's package `openssl`")
        return done.returncode == 0


if __name__ == "__main__":
    main()

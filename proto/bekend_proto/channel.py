"""Signatures, and the end-to-end channel between requester and source (section 7): sign, then seal.

    requester                                                       source
    ---------                                                       ------
    X25519 key pair, ML-KEM-768 key pair, fresh per message
                       ---- Question{x25519, mlkem} ---->           X25519 key pair, fresh
                                                                    shared, ciphertext = ML-KEM.Encapsulate(mlkem)
                       <--- x25519, ciphertext, box ----            box = SecretBox(Signed{Answer})
    shared = ML-KEM.Decapsulate(ciphertext)

    (rx, tx)   = crypto_kx, the requester as client
    transcript = BLAKE2b(both OINs, question id, both X25519 keys, ML-KEM key, ciphertext)
    one key per direction = BLAKE2b(key: rx or tx || shared, transcript); nonce = number of the message

Each direction has its own key, so that a message sent back to its sender does not open (must-list 17).
A Fetch uses the same channel with its fetch_id in place of the question id.

A signature covers lp(label) || payload: the label keeps one kind of payload from passing for another, and
the payload is the bytes that travel, never a re-serialisation (must-list 16).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self, TypeVar

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from google.protobuf.message import DecodeError, Message
from nacl.bindings import (
    crypto_kx_client_session_keys,
    crypto_kx_keypair,
    crypto_kx_server_session_keys,
    crypto_secretbox,
    crypto_secretbox_open,
)
from nacl.exceptions import BadSignatureError, CryptoError
from nacl.signing import SigningKey, VerifyKey

from bekend_proto.errors import InternalError, MalformedError, SignatureError
from bekend_proto.octets import blake, i2osp, lp
from bekend_proto.shape import check_shape
from bekend_proto.v1.signed_pb2 import Signed

LABEL_BEGIN = b"bekend/1 begin"
LABEL_QUESTION = b"bekend/1 question"
LABEL_ANSWER = b"bekend/1 answer"
LABEL_FILTER = b"bekend/1 filter"
LABEL_FETCH = b"bekend/1 fetch"
LABEL_ENROLMENT = b"bekend/1 enrolment"
LABEL_RECEIPT = b"bekend/1 receipt"
LABEL_RELEASE = b"bekend/1 release"
LABEL_COLLECTED = b"bekend/1 collected"
LABEL_PROMISE = b"bekend/1 promise"
LABEL_ACCESS = b"bekend/1 access"

LABELS = frozenset(
    {
        LABEL_BEGIN,
        LABEL_QUESTION,
        LABEL_ANSWER,
        LABEL_FILTER,
        LABEL_FETCH,
        LABEL_ENROLMENT,
        LABEL_RECEIPT,
        LABEL_RELEASE,
        LABEL_COLLECTED,
        LABEL_PROMISE,
        LABEL_ACCESS,
    }
)
"""Every label of protocol version 1."""

X25519_LENGTH = 32
MLKEM_PUBLIC_LENGTH = 1184
MLKEM_CIPHERTEXT_LENGTH = 1088
SIGNATURE_LENGTH = 64
KEPT_LENGTH = 96
BOX_OVERHEAD = 16
"""Octets by which a box is longer than what it holds."""

AnyMessage = TypeVar("AnyMessage", bound=Message)


def sign(key: SigningKey, label: bytes, payload: bytes) -> Signed:
    """`payload` with an Ed25519 signature over lp(label) || payload."""
    return Signed(payload=payload, signature=key.sign(lp(label) + payload).signature)


def sign_message(key: SigningKey, label: bytes, message: Message) -> Signed:
    """The message in its one encoding, signed."""
    return sign(key, label, message.SerializeToString(deterministic=True))


def verify(signed: Signed, label: bytes, keys: Iterable[bytes]) -> None:
    """Raises SignatureError unless one of `keys` (Ed25519, from a manifest) signed exactly this payload."""
    data = lp(label) + signed.payload
    for key in keys:
        try:
            VerifyKey(key).verify(data, signed.signature)
        except (BadSignatureError, ValueError):
            continue
        return
    raise SignatureError("no signing key of the manifest made this signature")


def parse_strict(cls: type[AnyMessage], payload: bytes) -> AnyMessage:
    """The message in `payload`.

    Raises MalformedError for an unknown field (also inside a nested message), for an encoding other than the
    one deterministic one, and for a field of another length than proto/README.md says.
    """
    message = cls()
    try:
        message.ParseFromString(payload)
    except DecodeError as error:
        raise MalformedError(f"not a {cls.DESCRIPTOR.name}") from error
    message.DiscardUnknownFields()
    if message.SerializeToString(deterministic=True) != payload:
        raise MalformedError(f"a {cls.DESCRIPTOR.name} with an unknown field, or not in its one encoding")
    check_shape(message)
    return message


def open_signed(cls: type[AnyMessage], signed: Signed, label: bytes, keys: Iterable[bytes]) -> AnyMessage:
    """The signed message. Raises SignatureError first, then MalformedError: nothing unsigned is parsed."""
    verify(signed, label, keys)
    return parse_strict(cls, signed.payload)


def question_hash(signed: Signed) -> bytes:
    """BLAKE2b-256 of a signed Question: its name in all logs and in the Answer."""
    return blake(32, b"bekend1-question", signed.payload + signed.signature)


def begin_hash(signed: Signed) -> bytes:
    """BLAKE2b-256 of a signed Begin: its name in the broker's log."""
    return blake(32, b"bekend1-begin", signed.payload + signed.signature)


def case_commitment(salt: bytes, case: str, officer: str) -> bytes:
    """BLAKE2b-256 commitment to case reference and officer. Raises InternalError unless the salt has 32 octets."""
    data = lp(case.encode("utf-8")) + lp(officer.encode("utf-8"))
    return blake(32, b"bekend1-case", data, _salt(salt))


def outcome_commitment(salt: bytes, question: bytes, person: int, outcome: str) -> bytes:
    """BLAKE2b-256 commitment of a receipt to one outcome, as `question` (its hash, or empty) gave it for `person`."""
    data = lp(question) + i2osp(person, 2) + lp(outcome.encode("ascii"))
    return blake(32, b"bekend1-outcome", data, _salt(salt))


def _salt(salt: bytes) -> bytes:
    # A shorter salt could be tried: few cases, officers and outcomes exist (must-list 13).
    if len(salt) != 32:
        raise InternalError("a commitment takes a salt of 32 random octets")
    return salt


def transcript_of(
    requester: str, source: str, question_id: bytes, x25519: tuple[bytes, bytes], mlkem: tuple[bytes, bytes]
) -> bytes:
    """BLAKE2b-256 over all that both sides sent in the clear.

    `x25519` are the requester's and the source's public keys, `mlkem` the public key and the ciphertext.
    """
    names = (requester.encode("ascii"), source.encode("ascii"), question_id)
    return blake(32, b"bekend1-chan", b"".join(map(lp, (*names, *x25519, *mlkem))))


@dataclass(slots=True)
class OpenChannel:
    """One side of an open channel. Each counter seals once: a SecretBox nonce never comes back.

    Use the two methods of your own side; the other two exist at the peer.
    """

    transcript: bytes
    _to_source: bytes = field(repr=False)
    _to_requester: bytes = field(repr=False)
    _next: int = field(default=0, repr=False)

    @classmethod
    def of(cls, client_rx: bytes, client_tx: bytes, shared: bytes, transcript: bytes) -> Self:
        """The channel under crypto_kx's keys, named from the requester's side, and the ML-KEM shared secret."""
        return cls(
            transcript,
            blake(32, b"bekend1-r2n", transcript, client_tx + shared),
            blake(32, b"bekend1-n2r", transcript, client_rx + shared),
        )

    @classmethod
    def restore(cls, kept: bytes, first: int) -> Self:
        """The channel that `keep` gave, over a restart; it seals from counter `first` on. Raises InternalError."""
        if len(kept) != KEPT_LENGTH:
            raise InternalError("a kept channel has 96 octets")
        return cls(kept[:32], kept[32:64], kept[64:], first)

    def keep(self) -> bytes:
        """Transcript and keys, 96 octets: they touch a disk only under a key that is elsewhere.

        Which counters sealed already is the keeper's to know: a counter that comes back would show two messages.
        """
        return self.transcript + self._to_source + self._to_requester

    def seal_to_requester(self, counter: int, data: bytes) -> bytes:
        """The source's message number `counter`: 16 octets longer than `data`."""
        return self._seal(self._to_requester, counter, data)

    def open_from_source(self, counter: int, box: bytes) -> bytes:
        """What the source sealed as number `counter`. Raises MalformedError for anything else."""
        return _open(self._to_requester, counter, box)

    def seal_to_source(self, counter: int, data: bytes) -> bytes:
        """The requester's message number `counter`: 16 octets longer than `data`."""
        return self._seal(self._to_source, counter, data)

    def open_from_requester(self, counter: int, box: bytes) -> bytes:
        """What the requester sealed as number `counter`. Raises MalformedError for anything else."""
        return _open(self._to_source, counter, box)

    def _seal(self, key: bytes, counter: int, data: bytes) -> bytes:
        if counter < self._next:
            raise InternalError("this counter sealed a message before")
        self._next = counter + 1
        return crypto_secretbox(data, i2osp(counter, 24), key)


def _open(key: bytes, counter: int, box: bytes) -> bytes:
    try:
        return crypto_secretbox_open(box, i2osp(counter, 24), key)
    except (CryptoError, ValueError) as error:
        raise MalformedError("a box that this channel's peer did not seal under this number") from error


class RequesterChannel:
    """The requester's ephemeral keys for one message; `x25519` and `mlkem` travel inside it, signed."""

    __slots__ = ("_mlkem_secret", "_secret", "mlkem", "x25519")

    def __init__(self) -> None:
        self.x25519, self._secret = crypto_kx_keypair()
        self._mlkem_secret = MLKEM768PrivateKey.generate()
        self.mlkem = self._mlkem_secret.public_key().public_bytes_raw()

    def open(self, requester: str, source: str, question_id: bytes, x25519: bytes, ciphertext: bytes) -> OpenChannel:
        """The channel that the source answered with `x25519` and `ciphertext`. Raises MalformedError.

        A false ciphertext opens a channel too (ML-KEM rejects implicitly): the first box then does not open.
        """
        if len(x25519) != X25519_LENGTH or len(ciphertext) != MLKEM_CIPHERTEXT_LENGTH:
            raise MalformedError("the source's half of the channel has another length")
        try:
            rx, tx = crypto_kx_client_session_keys(self.x25519, self._secret, x25519)
        except CryptoError as error:
            raise MalformedError("the source's X25519 key is of small order") from error
        shared = self._mlkem_secret.decapsulate(ciphertext)
        halves = (self.x25519, x25519), (self.mlkem, ciphertext)
        return OpenChannel.of(rx, tx, shared, transcript_of(requester, source, question_id, *halves))


def respond(
    requester: str, source: str, question_id: bytes, x25519: bytes, mlkem: bytes
) -> tuple[OpenChannel, bytes, bytes]:
    """The source's side of the channel, its own X25519 public key and the ML-KEM ciphertext. Raises MalformedError."""
    if len(x25519) != X25519_LENGTH or len(mlkem) != MLKEM_PUBLIC_LENGTH:
        raise MalformedError("the requester's half of the channel has another length")
    public, secret = crypto_kx_keypair()
    try:
        server_rx, server_tx = crypto_kx_server_session_keys(public, secret, x25519)
    except CryptoError as error:
        raise MalformedError("the requester's X25519 key is of small order") from error
    try:
        shared, ciphertext = MLKEM768PublicKey.from_public_bytes(mlkem).encapsulate()
    except ValueError as error:
        raise MalformedError("the requester's ML-KEM key is no key") from error
    transcript = transcript_of(requester, source, question_id, (x25519, public), (mlkem, ciphertext))
    # What the server sends, the client receives.
    return OpenChannel.of(server_tx, server_rx, shared, transcript), public, ciphertext

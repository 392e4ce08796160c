"""Steps (2), (4) and (5) on the requester's side: one seed, and everything that follows from it.

Blinds and the ephemeral keys of the sealed records derive from one fresh 32-byte seed per lookup (protocol section 7),
which is kept only inside the requester's own sealed record. `derive` takes the seed back, so an audit reproduces
`A0`, `A_i`, `U` and `E_i` byte for byte (protocol section 8).

Nothing here is ever logged, and no object here shows its content.
"""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from bekend_proto import group, oprf, records
from bekend_proto.identifiers import Identifier


@dataclass(frozen=True, slots=True)
class SourceBlinds:
    """What belongs to one source: `r_ij`, `A_ij`, `r_ij / r0_j` for the broker, and `1 / r_ij` for unblinding."""

    blinds: tuple[bytes, ...] = field(repr=False)
    elements: tuple[bytes, ...] = field(repr=False)
    ratios: tuple[bytes, ...] = field(repr=False)
    inverses: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True)
class Blinds:
    """The secrets of one lookup. Person j stands at index j everywhere."""

    seed: bytes = field(repr=False)
    identifiers: tuple[Identifier, ...] = field(repr=False)
    sources: tuple[str, ...] = field(repr=False)
    begin_elements: tuple[bytes, ...] = field(repr=False)
    _begin_blinds: tuple[bytes, ...] = field(repr=False)
    _points: tuple[bytes, ...] = field(repr=False)

    @cached_property
    def _scalars(self) -> dict[str, tuple[tuple[bytes, bytes], ...]]:
        """`r_ij` and `1 / r_ij` by source, and those of Begin.

        All inversions happen at once, and after Begin left: one costs as much as half a multiplication.
        """
        persons = range(len(self.identifiers))
        own = {oin: tuple(oprf.lookup_blind(self.seed, oin, j) for j in persons) for oin in self.sources}
        own[oprf.TARGET_BEGIN] = self._begin_blinds
        inverses = iter(group.batch_invert([blind for blinds in own.values() for blind in blinds]))
        return {target: tuple((blind, next(inverses)) for blind in blinds) for target, blinds in own.items()}

    def finalize(self, evaluated: Sequence[bytes]) -> tuple[bytes, ...]:
        """`U_j = Finalize(identifier, u * x)` (RFC 9497 section 3.3.2), 64 bytes each, from `u * A0_j`."""
        return tuple(
            oprf.finalize(identifier.canonical, oprf.unblind_with_inverse(inverse, element))
            for identifier, (_, inverse), element in zip(
                self.identifiers, self._scalars[oprf.TARGET_BEGIN], evaluated, strict=True
            )
        )

    def source(self, oin: str) -> SourceBlinds:
        """What belongs to this source; computed when it is asked for, since Begin does not wait for it.

        Raises InternalError as `derive` does.
        """
        scalars = self._scalars[oin]
        return SourceBlinds(
            blinds=tuple(blind for blind, _ in scalars),
            elements=tuple(oprf.blind(point, blind) for point, (blind, _) in zip(self._points, scalars, strict=True)),
            ratios=tuple(
                group.scalar_multiply(blind, inverse)
                for (blind, _), (_, inverse) in zip(scalars, self._scalars[oprf.TARGET_BEGIN], strict=True)
            ),
            inverses=tuple(inverse for _, inverse in scalars),
        )

    def seals(self, oin: str, privacy_officer: bytes) -> tuple[records.Seal, ...]:
        """What the records for one source are sealed with, one per person: it needs no `U_j` yet."""
        persons = range(len(self.identifiers))
        return tuple(records.make_seal(self.seed, oin, person, privacy_officer) for person in persons)

    def sealed_records(
        self,
        keys: Sequence[bytes],
        *,
        requester: str,
        source: str,
        purpose: str,
        question_id: bytes,
        privacy_officer: bytes,
    ) -> list[bytes]:
        """`E_ij` for one source, 80 bytes each; `keys` are the `U_j` of `finalize` (protocol section 8)."""
        seals = self.seals(source, privacy_officer)
        return close(seals, keys, requester=requester, source=source, purpose=purpose, question_id=question_id)


def close(
    seals: Sequence[records.Seal],
    keys: Sequence[bytes],
    *,
    requester: str,
    source: str,
    purpose: str,
    question_id: bytes,
) -> list[bytes]:
    """`E_ij` for one source, from `Blinds.seals` and the `U_j` of `Blinds.finalize` (protocol section 8)."""
    sealed = []
    for person, (seal, key) in enumerate(zip(seals, keys, strict=True)):
        context = records.record_context(requester, source, purpose, question_id, person)
        sealed.append(seal.close(records.record_value(key, context)))
    return sealed


def draw(identifiers: Sequence[Identifier], sources: Iterable[str]) -> Blinds:
    """Fresh blinds for one lookup (protocol section 12, item 8). Raises as `derive` does."""
    return derive(secrets.token_bytes(32), identifiers, sources)


def derive(seed: bytes, identifiers: Sequence[Identifier], sources: Iterable[str]) -> Blinds:
    """All that follows from a seed. Raises InternalError when a blind is zero (one seed in 2^252): draw another."""
    points = tuple(oprf.hash_identifier(identifier) for identifier in identifiers)
    begin = tuple(oprf.lookup_blind(seed, oprf.TARGET_BEGIN, j) for j in range(len(identifiers)))
    return Blinds(
        seed=seed,
        identifiers=tuple(identifiers),
        sources=tuple(sources),
        begin_elements=tuple(oprf.blind(point, blind) for point, blind in zip(points, begin, strict=True)),
        _begin_blinds=begin,
        _points=points,
    )

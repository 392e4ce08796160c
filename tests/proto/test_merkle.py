"""The tree is that of RFC 6962 and 9162: known answers, the definition itself, another implementation, hostility."""

from hashlib import sha256

import pymerkle
import pytest
from bekend_proto import merkle
from bekend_proto.errors import ProofError
from hypothesis import given, settings
from hypothesis import strategies as st

# Leaves and roots of the test suite of Certificate Transparency (RFC 6962), google/certificate-transparency.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
    )
]  # fmt: skip
ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)

sizes = st.integers(1, 70)


def grown(size: int, leaves: list[bytes] | None = None) -> list[bytes]:
    """The stored hashes of a log with so many entries."""
    store: list[bytes] = []
    for index in range(size):
        entry = leaves[index] if leaves else index.to_bytes(4, "big")
        store += merkle.completed(index, merkle.leaf_hash(entry), store.__getitem__)
    return store


STORE = grown(70)
read = STORE.__getitem__


def mth(entries: list[bytes]) -> bytes:
    """RFC 9162 section 2.1.1, word for word."""
    if not entries:
        return sha256(b"").digest()
    if len(entries) == 1:
        return sha256(b"\x00" + entries[0]).digest()
    k = 1
    while 2 * k < len(entries):
        k *= 2
    return sha256(b"\x01" + mth(entries[:k]) + mth(entries[k:])).digest()


def path(m: int, entries: list[bytes]) -> list[bytes]:
    """RFC 9162 section 2.1.3.1, word for word."""
    if len(entries) == 1:
        return []
    k = 1
    while 2 * k < len(entries):
        k *= 2
    if m < k:
        return [*path(m, entries[:k]), mth(entries[k:])]
    return [*path(m - k, entries[k:]), mth(entries[:k])]


def subproof(m: int, entries: list[bytes], *, whole: bool) -> list[bytes]:
    """RFC 9162 section 2.1.4.1, word for word."""
    if m == len(entries):
        return [] if whole else [mth(entries)]
    k = 1
    while 2 * k < len(entries):
        k *= 2
    if m <= k:
        return [*subproof(m, entries[:k], whole=whole), mth(entries[k:])]
    return [*subproof(m - k, entries[k:], whole=False), mth(entries[:k])]


def numbered(size: int) -> list[bytes]:
    return [index.to_bytes(4, "big") for index in range(size)]


def test_roots_are_those_of_certificate_transparency() -> None:
    store = grown(8, LEAVES)
    assert merkle.root(0, store.__getitem__) == bytes.fromhex(
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )
    assert tuple(merkle.root(size, store.__getitem__).hex() for size in range(1, 9)) == ROOTS


def test_every_root_and_proof_is_the_definitions() -> None:
    for size in range(1, 34):
        entries = numbered(size)
        assert merkle.root(size, read) == mth(entries)
        for index in range(size):
            assert merkle.inclusion_proof(index, size, read) == path(index, entries)
        for older in range(1, size):
            assert merkle.consistency_proof(older, size, read) == subproof(older, entries, whole=True)


def test_another_implementation_agrees_with_every_root() -> None:
    """Its proofs hold other hashes than the RFC names, so they are held against our roots."""
    oracle = pymerkle.InmemoryTree(algorithm="sha256")
    for size in range(1, 40):
        oracle.append_entry((size - 1).to_bytes(4, "big"))
        head = merkle.root(size, read)
        assert oracle.get_root() == head
        for index in range(size):
            leaf = merkle.leaf_hash(index.to_bytes(4, "big"))
            pymerkle.verify_inclusion(leaf, head, oracle.prove_inclusion(index + 1, size))
        for older in range(1, size):
            pymerkle.verify_consistency(merkle.root(older, read), head, oracle.prove_consistency(older, size))


@given(sizes, st.data())
def test_proofs_verify(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    older = data.draw(st.integers(0, size))
    leaf = merkle.leaf_hash(index.to_bytes(4, "big"))
    merkle.verify_inclusion(leaf, index, size, merkle.inclusion_proof(index, size, read), merkle.root(size, read))
    proof = merkle.consistency_proof(older, size, read)
    merkle.verify_consistency(older, merkle.root(older, read), size, merkle.root(size, read), proof)


@settings(max_examples=300)
@given(sizes, st.data())
def test_a_changed_proof_fails(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    older = data.draw(st.integers(1, size))
    leaf, head = merkle.leaf_hash(index.to_bytes(4, "big")), merkle.root(size, read)
    inclusion = merkle.inclusion_proof(index, size, read)
    consistency = merkle.consistency_proof(older, size, read)
    for spoilt in spoilings(inclusion, data):
        with pytest.raises(ProofError):
            merkle.verify_inclusion(leaf, index, size, spoilt, head)
    for spoilt in spoilings(consistency, data):
        with pytest.raises(ProofError):
            merkle.verify_consistency(older, merkle.root(older, read), size, head, spoilt)
    other = data.draw(st.integers(0, size - 1).filter(lambda one: one != index) if size > 1 else st.just(-1))
    with pytest.raises(ProofError):
        merkle.verify_inclusion(leaf, other, size, inclusion, head)


def spoilings(proof: list[bytes], data: st.DataObject) -> list[list[bytes]]:
    """The proof with one hash more, one less, one bit turned."""
    made = [[*proof, bytes(32)], [bytes(32), *proof], [*proof, b"short"]]
    if proof:
        place = data.draw(st.integers(0, len(proof) - 1))
        bit = data.draw(st.integers(0, 255))
        turned = (int.from_bytes(proof[place], "big") ^ (1 << bit)).to_bytes(32, "big")
        made += [proof[:-1], proof[1:], [*proof[:place], turned, *proof[place + 1 :]]]
    return made


def test_a_log_that_shrank_or_forked_is_not_consistent() -> None:
    proof = merkle.consistency_proof(20, 40, read)
    forked = grown(40, [*numbered(19), b"another", *numbered(40)[20:]])
    with pytest.raises(ProofError):
        merkle.verify_consistency(40, merkle.root(40, read), 20, merkle.root(20, read), proof)
    with pytest.raises(ProofError):
        merkle.verify_consistency(20, merkle.root(20, read), 40, merkle.root(40, forked.__getitem__), proof)
    with pytest.raises(ProofError):
        merkle.verify_consistency(40, merkle.root(40, read), 40, merkle.root(40, forked.__getitem__), [])
    with pytest.raises(ProofError):
        merkle.verify_consistency(0, bytes(32), 40, merkle.root(40, read), [])


def test_the_store_only_grows_and_has_no_gaps() -> None:
    for size in range(60):
        assert len(grown(size)) == merkle.stored(size)
    for size in (1, 7, 64, 70):
        for level, index in merkle.subtrees(0, size):
            entries = numbered(size)[index << level : (index + 1) << level]
            assert read(merkle.position(level, index)) == mth(entries)


@given(st.integers(0, 70), st.integers(0, 70), st.integers(0, 70))
def test_a_span_with_its_neighbours_gives_every_root(a: int, b: int, c: int) -> None:
    first, end, size = sorted((a, b, c))

    def hashes(start: int, stop: int) -> list[tuple[int, bytes]]:
        return [(level, read(merkle.position(level, index))) for level, index in merkle.subtrees(start, stop)]

    frontier = merkle.Frontier(hashes(0, first))
    for index in range(first, end):
        assert frontier.root() == merkle.root(index, read)
        frontier.add(0, merkle.leaf_hash(index.to_bytes(4, "big")))
    for level, value in hashes(end, size):
        frontier.add(level, value)
    assert frontier.root() == merkle.root(size, read)


def test_what_an_append_and_a_proof_cost_is_bounded_by_the_logarithm() -> None:
    """In a log of 2^20 entries: counted, not timed."""
    size, reads = 1 << 20, 0

    def count(_position: int) -> bytes:
        nonlocal reads
        reads += 1
        return bytes(32)

    total = 0
    for index in range(size - 1024, size):
        total += len(merkle.completed(index, bytes(32), count))
    assert total == merkle.stored(size) - merkle.stored(size - 1024)
    assert reads == total - 1024
    for cost, work in ((40, merkle.inclusion_proof), (40, merkle.consistency_proof)):
        reads = 0
        work(777_777, size - 3, count)
        assert reads <= cost

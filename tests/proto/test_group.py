"""Group: what is refused on decoding, and the arithmetic that everything else stands on."""

import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import pytest
from bekend_proto import group, sodium
from bekend_proto.errors import MalformedError
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.vectors import CHAIN, unhex

G = group.multiply_base((1).to_bytes(32, "little"))
scalars = st.integers(1, group.ORDER - 1).map(lambda number: number.to_bytes(32, "little"))


def number(scalar: bytes) -> int:
    return int.from_bytes(scalar, "little")


@pytest.mark.parametrize("bad", CHAIN["must_fail"]["elements"])
def test_must_01_decode_refuses_identity_and_non_canonical_elements(bad: str) -> None:
    with pytest.raises(MalformedError):
        group.decode_element(unhex(bad))


@pytest.mark.parametrize("bad", CHAIN["must_fail"]["scalars"])
def test_must_01_decode_refuses_zero_and_scalars_from_the_order_up(bad: str) -> None:
    with pytest.raises(MalformedError):
        group.decode_scalar(unhex(bad))


@pytest.mark.parametrize("length", [0, 1, 31, 33, 64])
def test_must_01_decode_refuses_other_lengths(length: int) -> None:
    for decode in (group.decode_element, group.decode_scalar):
        with pytest.raises(MalformedError):
            decode(b"\x01" * length)


def test_must_01_decode_refuses_the_identity_that_libsodium_calls_valid() -> None:
    assert sodium.is_valid_point(group.ZERO)
    with pytest.raises(MalformedError):
        group.decode_element(group.ZERO)


def test_must_01_decode_takes_the_largest_scalar_and_refuses_the_next() -> None:
    largest = (group.ORDER - 1).to_bytes(32, "little")
    assert group.decode_scalar(largest) == largest
    with pytest.raises(MalformedError):
        group.decode_scalar(group.ORDER.to_bytes(32, "little"))


def decodes(data: bytes) -> bool:
    """RFC 9496 section 4.3.1 over Python's integers, the identity refused: the oracle for `decode_element`."""
    p = 2**255 - 19
    d = -121665 * pow(121666, -1, p) % p
    s = int.from_bytes(data, "little")
    if s >= p or s % 2 or s == 0:
        return False
    u1, u2 = (1 - s * s) % p, (1 + s * s) % p
    v = (-d * u1 * u1 - u2 * u2) % p
    square = v * u2 * u2 % p
    if pow(square, (p - 1) // 2, p) != 1:
        return False
    root = next(
        r for r in (pow(pow(square, -1, p), (p + 3) // 8, p) * pow(2, k * (p - 1) // 4, p) % p for k in (0, 1))
        if r * r * square % p == 1
    )  # fmt: skip
    x = 2 * s * root * u2 % p
    x = x if x % 2 == 0 else p - x
    y = u1 * root * root * u2 * v % p
    t = x * y % p
    return t % 2 == 0 and y != 0


@settings(max_examples=200)
@given(st.binary(min_size=32, max_size=32), st.booleans())
def test_must_01_decode_takes_exactly_what_rfc_9496_does(data: bytes, even: bool) -> None:
    if even:  # half of all encodings fail on the first bit alone, which would leave the rest untried
        data = bytes([data[0] & 0xFE]) + data[1:31] + bytes([data[31] & 0x7F])
    try:
        taken = bool(group.decode_element(data))
    except MalformedError:
        taken = False
    assert taken == decodes(data)


@settings(max_examples=50)
@given(st.integers(0, 255), scalars)
def test_must_01_no_operation_takes_a_second_encoding_of_an_element(bit: int, scalar: bytes) -> None:
    spoiled = bytearray(group.multiply_base(scalar))
    spoiled[bit // 8] ^= 1 << bit % 8
    other = bytes(spoiled)
    if decodes(other):
        return
    for call in (group.decode_element, lambda e: group.multiply(scalar, e), lambda e: group.add(G, e)):
        with pytest.raises(MalformedError):
            call(other)


def test_must_01_decode_refuses_the_highest_bit_that_libsodium_1_0_18_ignores() -> None:
    element = group.random_element()
    with pytest.raises(MalformedError):
        group.decode_element(element[:31] + bytes([element[31] | 0x80]))


@pytest.mark.parametrize(
    "call",
    [
        lambda: group.multiply(group.ZERO, G),
        lambda: group.multiply(group.random_scalar(), group.ZERO),
        lambda: group.multiply(group.random_scalar(), b"\xff" * 32),
        lambda: group.multiply(group.random_scalar()[:31], G),
        lambda: group.multiply(group.random_scalar(), G + b"\x00"),
        lambda: group.multiply_base(group.ZERO),
        lambda: group.multiply_base(b""),
        lambda: group.add(G, b"\xff" * 32),
        lambda: group.add(b"\xff" * 32, G),
        lambda: group.add(G, G[:31]),
        lambda: group.add(G, group.multiply_base((group.ORDER - 1).to_bytes(32, "little"))),
        lambda: group.scalar_invert(group.ZERO),
        lambda: group.scalar_invert(b"\x01"),
        lambda: group.scalar_multiply(b"", group.random_scalar()),
        lambda: group.scalar_add(group.random_scalar(), b"\x01"),
        lambda: group.scalar_subtract(group.random_scalar(), b"\x01"),
        lambda: group.scalar_reduce(bytes(32)),
        lambda: group.batch_invert([group.random_scalar(), group.ZERO, group.random_scalar()]),
        lambda: group.batch_invert([group.random_scalar(), b"\x01"]),
    ],
)
def test_no_operation_reads_past_its_arguments_or_returns_the_identity(call: object) -> None:
    assert callable(call)
    with pytest.raises(MalformedError):
        call()


@settings(max_examples=30)
@given(scalars, scalars)
def test_scalar_arithmetic_is_that_of_integers_mod_order(a: bytes, b: bytes) -> None:
    order = group.ORDER
    assert number(group.scalar_multiply(a, b)) == number(a) * number(b) % order
    assert number(group.scalar_add(a, b)) == (number(a) + number(b)) % order
    assert number(group.scalar_subtract(a, b)) == (number(a) - number(b)) % order
    assert number(group.scalar_invert(a)) == pow(number(a), -1, order)


@settings(max_examples=30)
@given(st.binary(min_size=64, max_size=64))
def test_reduction_is_that_of_integers(wide: bytes) -> None:
    assert number(group.scalar_reduce(wide)) == number(wide) % group.ORDER


@settings(max_examples=20)
@given(scalars, scalars)
def test_multiplication_distributes_over_addition(a: bytes, b: bytes) -> None:
    total = group.scalar_add(a, b)
    if total != group.ZERO:
        assert group.add(group.multiply_base(a), group.multiply_base(b)) == group.multiply_base(total)
    assert group.multiply(a, group.multiply_base(b)) == group.multiply_base(group.scalar_multiply(a, b))


@settings(max_examples=20)
@given(st.lists(scalars, max_size=12))
def test_batch_inversion_equals_inversion_one_by_one(many: list[bytes]) -> None:
    assert group.batch_invert(many) == [group.scalar_invert(scalar) for scalar in many]


def test_must_08_random_scalars_and_elements_do_not_repeat() -> None:
    assert len({group.random_scalar() for _ in range(200)}) == 200
    elements = {group.random_element() for _ in range(200)}
    assert len(elements) == 200
    assert all(group.decode_element(element) for element in elements)


def test_results_of_threads_do_not_mix() -> None:
    many = [group.random_scalar() for _ in range(200)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(group.multiply_base, many)) == [group.multiply_base(scalar) for scalar in many]


def test_without_a_system_library_the_bundled_one_gives_the_same_results() -> None:
    program = textwrap.dedent(
        """
        import ctypes, ctypes.util, glob, os, sys, tempfile
        before = set(glob.glob(tempfile.gettempdir() + "/*"))
        real = ctypes.CDLL
        class Missing(real):
            def __init__(self, name, *rest, **more):
                if name is not None and "sodium" in os.path.basename(str(name)):
                    raise OSError("none here")
                super().__init__(name, *rest, **more)
        ctypes.CDLL = Missing
        ctypes.util.find_library = lambda name: None
        from bekend_proto import group, sodium
        assert "rbcl" in sys.modules
        assert not [p for p in set(glob.glob(tempfile.gettempdir() + "/*.so")) - before], "temporary file left"
        print(group.hash_to_group(b"bsn:999990019").hex())
        """
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == CHAIN["x"][0]


def test_with_a_system_library_the_bundled_one_is_not_imported() -> None:
    program = "import sys; from bekend_proto import sodium; print('rbcl' in sys.modules, sodium.VERSION)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    if sodium._system() is not None:
        assert done.stdout.startswith("False")

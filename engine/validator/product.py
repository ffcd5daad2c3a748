"""Checking a product of two seeded matrices without computing it: sampled rows, and Freivalds' test on them.

The node commits to all rows with a Merkle root, which chooses the rows that it must show; so nothing less than the
whole product will do, except by luck: with a part f of the rows right, f to the power of the rows shown. The shown rows
are then tested together: for secret random factors w, (sum of w_i A_i) B must be the sum of w_i C_i. That is one
vector times one matrix for all rows of all GPUs, exact in whole numbers; wrong rows pass with a chance of one in 2^30.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from engine.errors import AttestationRefused
from engine.validator.hostile_json import Reader

FACTOR_BITS = 30
LIMB = 8
"""Bytes for each entry of the mixed row: 64 GPUs x 32 rows x 2^8 x 2^30 stay below 2^64. The last comparison is one of
whole numbers, in which limbs may carry without changing its truth."""
MAX_SIZE = 8192
MAX_ROWS = 32


@dataclass(frozen=True, slots=True)
class ProductTask:
    """``size`` is a power of two from 16 to 8192."""

    size: int = 4096
    rows: int = 16

    def __post_init__(self) -> None:
        if not 16 <= self.size <= MAX_SIZE or self.size & (self.size - 1):
            raise ValueError("size must be a power of two from 16 to 8192")
        if not 1 <= self.rows <= MAX_ROWS:
            raise ValueError("rows must be 1 to 32")


def seeded_matrix(challenge: str, gpu: int | str, name: str, size: int) -> bytes:
    """The matrix that the program makes: bytes, row by row."""
    return hashlib.shake_128(f"BASILICA_MATRIX_V1:{challenge}:{gpu}:{name}".encode()).digest(size * size)


def sampled_rows(challenge: str, gpu: int, root: str, size: int, count: int) -> list[int]:
    """The rows that a commitment must be opened at."""
    found: set[int] = set()
    number = 0
    while len(found) < min(count, size):
        digest = hashlib.sha256(f"BASILICA_ROWS_V1:{challenge}:{gpu}:{root}:{number}".encode()).digest()
        found.add(int.from_bytes(digest[:8], "big") % size)
        number += 1
    return sorted(found)


@dataclass(frozen=True, slots=True)
class ShownRows:
    """Rows of one GPU's product that fit its commitment."""

    gpu: int
    places: tuple[int, ...]
    rows: tuple[bytes, ...]


def read_rows(item: Reader, challenge: str, gpu: int, task: ProductTask) -> ShownRows | str:
    """One GPU's rows, or what is wrong with them. Raises AttestationRefused for a bad form."""
    root = item.text("root", 64)
    wanted = sampled_rows(challenge, gpu, root, task.size, task.rows)
    shown = item.children("rows", task.rows)
    if [row.whole("row", task.size) for row in shown] != wanted:
        return "other rows are shown than the commitment asks for"
    rows = []
    for place, row in zip(wanted, shown, strict=True):
        data = _row_bytes(row, task.size)
        if _root(data, place, row.texts("path", 16), task.size) != root:
            return f"row {place} is not the one that was committed to"
        rows.append(data)
    return ShownRows(gpu, tuple(wanted), tuple(rows))


def are_products(shown: Sequence[ShownRows], challenge: str, size: int) -> bool:
    """Freivalds' test over all GPUs at once: the right-hand matrix is the same for all of them."""
    mixed = expected = 0
    for one in shown:
        left = seeded_matrix(challenge, one.gpu, "A", size)
        factors = [1 + secrets.randbelow((1 << FACTOR_BITS) - 1) for _ in one.places]
        mixed += _combined([_spread(left[place * size : (place + 1) * size], 1) for place in one.places], factors)
        expected += _combined([_spread(data, 4) for data in one.rows], factors)
    vector = mixed.to_bytes(size * LIMB, "little")
    right = seeded_matrix(challenge, "all", "B", size)
    total = 0
    for place in range(size):
        scale = int.from_bytes(vector[place * LIMB : (place + 1) * LIMB], "little")
        total += scale * _spread(right[place * size : (place + 1) * size], 1)
    return total == expected


def _spread(data: bytes, width: int) -> int:
    """Little-endian numbers of ``width`` bytes as one large number with a limb for each."""
    buffer = bytearray(len(data) // width * LIMB)
    for offset in range(width):
        buffer[offset::LIMB] = data[offset::width]
    return int.from_bytes(buffer, "little")


def _combined(numbers: Sequence[int], factors: Sequence[int]) -> int:
    return sum(number * factor for number, factor in zip(numbers, factors, strict=True))


def _row_bytes(row: Reader, size: int) -> bytes:
    text = row.text("data", size * 6)
    try:
        data = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise AttestationRefused("a row is not base64", reason="malformed") from None
    if len(data) != size * 4:
        raise AttestationRefused("a row has the wrong length", reason="malformed")
    return data


def _root(data: bytes, place: int, path: Sequence[str], size: int) -> str:
    if len(path) != size.bit_length() - 1:
        return ""
    digest = hashlib.sha256(b"\x00" + data).digest()
    for step in path:
        try:
            other = bytes.fromhex(step)
        except ValueError:
            return ""
        pair = other + digest if place & 1 else digest + other
        digest = hashlib.sha256(b"\x01" + pair).digest()
        place >>= 1
    return digest.hex()

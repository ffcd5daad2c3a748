"""The sealed file: what opens it, and that nothing but the right bytes and the right passphrase does."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import BackupDamaged, BackupFailed, BackupPassphraseWrong
from engine.lifecycle.sealed import CHUNK_BYTES, MAGIC, MODERATE, Cost, seal, unseal

CHEAP = Cost(1, 64)
HEADER_BYTES = 62


def sealed(plain: bytes, passphrase: str = "correct horse") -> bytes:
    out = io.BytesIO()
    seal([plain], passphrase, out, cost=CHEAP)
    return out.getvalue()


def opened(data: bytes, passphrase: str = "correct horse") -> bytes:
    return b"".join(unseal(io.BytesIO(data), passphrase))


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES])
def test_what_goes_in_comes_out(size: int) -> None:
    """Content of every size around the chunk's comes back as it was, and is nowhere readable in the file."""
    plain = bytes(index % 251 for index in range(size))
    data = sealed(plain)
    assert opened(data) == plain
    assert data.startswith(MAGIC)
    if size > 100:
        assert plain[:64] not in data


def test_the_default_cost_is_argon2id_moderate() -> None:
    """A guess costs 3 passes over 256 MiB, unless a test asks for less."""
    assert Cost(3, 256 * 1024) == MODERATE


def test_two_seals_differ() -> None:
    """The same content under the same passphrase never gives the same file."""
    assert sealed(b"x" * 100) != sealed(b"x" * 100)


def test_a_wrong_passphrase_is_said_to_be_one() -> None:
    """It is known before any content is read."""
    with pytest.raises(BackupPassphraseWrong):
        opened(sealed(b"secret"), "correct hors")


@pytest.mark.parametrize("left", [0, 4, 8, HEADER_BYTES, HEADER_BYTES + 16, HEADER_BYTES + 48, -1, -17, -CHUNK_BYTES])
def test_a_truncated_file_is_said_to_be_one(left: int) -> None:
    """Cut anywhere, also exactly between two chunks, it is damaged; a cut into the proof looks like a wrong word."""
    data = sealed(b"y" * (2 * CHUNK_BYTES + 100))
    with pytest.raises((BackupDamaged, BackupPassphraseWrong)) as caught:
        opened(data[:left])
    assert isinstance(caught.value, BackupDamaged) or left == HEADER_BYTES + 16


def test_chunks_cannot_be_left_out_or_swapped() -> None:
    """Each chunk is bound to its place."""
    data = sealed(b"".join(bytes([n]) * CHUNK_BYTES for n in range(4)))
    start, size = HEADER_BYTES + 16 + 32, CHUNK_BYTES + 17
    chunks = [data[at : at + size] for at in range(start, len(data), size)]
    for order in ([0, 2, 3], [1, 0, 2, 3], [0, 1, 2, 2, 3], [0, 1, 2]):
        with pytest.raises(BackupDamaged):
            opened(data[:start] + b"".join(chunks[index] for index in order))


def test_appended_bytes_are_noticed() -> None:
    """The file ends where the seal says."""
    with pytest.raises(BackupDamaged):
        opened(sealed(b"z") + b"!")


def test_a_later_format_is_named() -> None:
    """A file of a newer program is not called damaged."""
    data = bytearray(sealed(b"z"))
    data[9] = 2
    with pytest.raises(BackupFailed, match="format 2"):
        opened(bytes(data))


def test_something_else_is_no_backup() -> None:
    """Any other file is refused at its first bytes, without stretching the passphrase."""
    with pytest.raises(BackupDamaged, match="not a backup"):
        opened(b"SQLite format 3\0" * 100)


@given(at=st.integers(min_value=0, max_value=200), bit=st.integers(min_value=0, max_value=7))
@settings(max_examples=60)
def test_no_single_bit_can_be_flipped(at: int, bit: int) -> None:
    """Whatever bit changes, nothing of the content is handed out as if it were whole."""
    data = bytearray(SAMPLE)
    data[at % len(data)] ^= 1 << bit
    with pytest.raises((BackupDamaged, BackupPassphraseWrong, BackupFailed)):
        opened(bytes(data))


SAMPLE = sealed(b"0123456789" * 9)

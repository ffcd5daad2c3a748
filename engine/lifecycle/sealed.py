"""The sealed file: bytes under a passphrase, so that whoever holds the file alone learns nothing and changes nothing.

Layout, all numbers big-endian; docs/backup.md describes it for other programs:

* header: magic ``BSLCBKUP``, version, Argon2id cost (passes, KiB), salt, stream header, chunk size;
* SHA-256 of the header cut to 16 bytes, which tells accident from a wrong passphrase;
* a keyed BLAKE2b of the header: proof of the passphrase, so that a wrong one is known at once;
* chunks of an XChaCha20-Poly1305 secretstream, each bound to the header; the last one is marked as the last.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from nacl import bindings, pwhash, utils
from nacl.encoding import RawEncoder
from nacl.exceptions import CryptoError
from nacl.hash import blake2b

from engine.errors import BackupDamaged, BackupFailed, BackupPassphraseWrong

MAGIC = b"BSLCBKUP"
VERSION = 1
CHUNK_BYTES = 64 * 1024
_HEADER = struct.Struct(">8sHII16s24sI")
_CHECK_BYTES = 16
_PROOF_BYTES = 32
_OVERHEAD = bindings.crypto_secretstream_xchacha20poly1305_ABYTES
_LAST = bindings.crypto_secretstream_xchacha20poly1305_TAG_FINAL
_MORE = bindings.crypto_secretstream_xchacha20poly1305_TAG_MESSAGE
_MOST_PASSES = 64
_MOST_KIB = 4 * 1024 * 1024
_LARGEST_CHUNK = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Cost:
    """What one guess of the passphrase costs: passes of Argon2id over so much memory."""

    passes: int
    kib: int


MODERATE = Cost(pwhash.argon2id.OPSLIMIT_MODERATE, pwhash.argon2id.MEMLIMIT_MODERATE // 1024)


def seal(plain: Iterable[bytes], passphrase: str, out: BinaryIO, *, cost: Cost = MODERATE) -> None:
    """Write ``plain`` sealed to ``out``. The caller gives the file its place and its mode."""
    salt = utils.random(pwhash.argon2id.SALTBYTES)
    key, proof_key = _keys(passphrase, salt, cost)
    state = bindings.crypto_secretstream_xchacha20poly1305_state()
    stream = bindings.crypto_secretstream_xchacha20poly1305_init_push(state, key)
    header = _HEADER.pack(MAGIC, VERSION, cost.passes, cost.kib, salt, stream, CHUNK_BYTES)
    out.write(header + _check(header) + _proof(header, proof_key))
    for chunk, is_last in _chunks(plain):
        tag = _LAST if is_last else _MORE
        out.write(bindings.crypto_secretstream_xchacha20poly1305_push(state, chunk, header, tag))


def unseal(sealed: BinaryIO, passphrase: str) -> Iterator[bytes]:
    """The plain bytes, each chunk proven before it is handed out; only the end proves that nothing is missing.

    Raises:
        BackupPassphraseWrong: the passphrase is not the one.
        BackupDamaged: truncated, changed, or not a sealed file.
        BackupFailed: a later version of the format.
    """
    header, cost, salt, stream, chunk_bytes = _read_header(sealed)
    key, proof_key = _keys(passphrase, salt, cost)
    if not hmac.compare_digest(sealed.read(_PROOF_BYTES), _proof(header, proof_key)):
        raise BackupPassphraseWrong("the passphrase does not open this backup", hint="nothing was written; try again")
    state = bindings.crypto_secretstream_xchacha20poly1305_state()
    bindings.crypto_secretstream_xchacha20poly1305_init_pull(state, stream, key)
    while True:
        block = sealed.read(chunk_bytes + _OVERHEAD)
        if len(block) < _OVERHEAD:
            raise _damaged("it ends too early: it was truncated")
        try:
            plain, tag = bindings.crypto_secretstream_xchacha20poly1305_pull(state, block, header)
        except (CryptoError, RuntimeError, ValueError):
            raise _damaged("its content was changed or cut off") from None
        yield plain
        if tag == _LAST:
            break
    if sealed.read(1):
        raise _damaged("something was appended to it")


def _read_header(sealed: BinaryIO) -> tuple[bytes, Cost, bytes, bytes, int]:
    header = sealed.read(_HEADER.size)
    if header[: len(MAGIC)] != MAGIC:
        raise _damaged("it is not a backup of this program")
    if len(header) < _HEADER.size:
        raise _damaged("it ends too early: it was truncated")
    _, version, passes, kib, salt, stream, chunk_bytes = _HEADER.unpack(header)
    if version != VERSION:
        raise BackupFailed(
            f"the backup has format {version}, this program reads format {VERSION}", hint="use a newer version"
        )
    check = sealed.read(_CHECK_BYTES)
    if len(check) < _CHECK_BYTES:
        raise _damaged("it ends too early: it was truncated")
    is_sane = 1 <= passes <= _MOST_PASSES and 8 <= kib <= _MOST_KIB and 1 <= chunk_bytes <= _LARGEST_CHUNK
    if not hmac.compare_digest(check, _check(header)) or not is_sane:
        raise _damaged("its first bytes were changed")
    return header, Cost(passes, kib), salt, stream, chunk_bytes


def _keys(passphrase: str, salt: bytes, cost: Cost) -> tuple[bytes, bytes]:
    size = bindings.crypto_secretstream_xchacha20poly1305_KEYBYTES
    try:
        both = pwhash.argon2id.kdf(size * 2, passphrase.encode(), salt, opslimit=cost.passes, memlimit=cost.kib * 1024)
    except (CryptoError, RuntimeError, MemoryError) as error:
        raise BackupFailed(
            f"the passphrase cannot be stretched: {cost.kib // 1024} MiB of memory are needed",
            hint="free memory, or do this on another machine",
        ) from error
    return both[:size], both[size:]


def _check(header: bytes) -> bytes:
    return hashlib.sha256(header).digest()[:_CHECK_BYTES]


def _proof(header: bytes, key: bytes) -> bytes:
    return blake2b(header, digest_size=_PROOF_BYTES, key=key, person=b"basilica-backup", encoder=RawEncoder)


def _chunks(plain: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Exactly CHUNK_BYTES each, only the last one shorter; an empty last one where the sizes come out even."""
    waiting = bytearray()
    for part in plain:
        waiting += part
        while len(waiting) > CHUNK_BYTES:
            yield bytes(waiting[:CHUNK_BYTES]), False
            del waiting[:CHUNK_BYTES]
    yield bytes(waiting), True


def _damaged(why: str) -> BackupDamaged:
    return BackupDamaged(f"the backup cannot be used: {why}", hint="nothing was written; take another copy of it")

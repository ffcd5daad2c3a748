"""Broken requests made from correct ones, repeatably: the same seed makes the same bytes."""

from __future__ import annotations

import random
from collections.abc import Callable

Mutator = Callable[[random.Random, bytes, list[bytes]], bytes]


def mutate(chance: random.Random, body: bytes, others: list[bytes]) -> bytes:
    """One to three mutations of ``body``; ``others`` are correct requests to take parts from."""
    for _ in range(chance.randint(1, 3)):
        body = chance.choice(MUTATORS)(chance, body, others)
    return body[: 64 * 1024]


def _flip_bit(chance: random.Random, body: bytes, _others: list[bytes]) -> bytes:
    if not body:
        return b"\x00"
    changed = bytearray(body)
    changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _cut(chance: random.Random, body: bytes, _others: list[bytes]) -> bytes:
    return body[: chance.randrange(len(body) + 1)]


def _drop_head(chance: random.Random, body: bytes, _others: list[bytes]) -> bytes:
    return body[chance.randrange(len(body) + 1) :]


def _insert(chance: random.Random, body: bytes, _others: list[bytes]) -> bytes:
    at = chance.randrange(len(body) + 1)
    return body[:at] + chance.randbytes(chance.choice((1, 2, 9, 200))) + body[at:]


def _huge_varint(chance: random.Random, body: bytes, _others: list[bytes]) -> bytes:
    """A length or number that goes beyond 64 bits, or to the very edge of them."""
    tag = bytes([chance.randrange(1, 9) << 3 | chance.choice((0, 2))])
    number = chance.choice((b"\xff" * 9 + b"\x01", b"\xff" * 9 + b"\x7f", b"\xff" * 12, b"\x80" * 10 + b"\x01"))
    at = chance.choice((0, len(body)))
    return body[:at] + tag + number + body[at:]


def _splice(chance: random.Random, body: bytes, others: list[bytes]) -> bytes:
    other = chance.choice(others)
    return body[: chance.randrange(len(body) + 1)] + other[chance.randrange(len(other) + 1) :]


def _append_field(chance: random.Random, body: bytes, _others: list[bytes]) -> bytes:
    """The last of a field counts, so this replaces one: with text, no text, or bytes that are no UTF-8."""
    text = chance.choice((b"", b"\x00", b"\xff\xfe", b"5" * 48, b"0" * 128, b"BASILICA", "é".encode() * 30))
    return body + bytes([chance.randrange(1, 9) << 3 | 2, len(text)]) + text


def _swap_fields(chance: random.Random, body: bytes, _others: list[bytes]) -> bytes:
    fields = split_fields(body)
    if len(fields) < 2:
        return body[::-1]
    first, second = chance.sample(range(len(fields)), 2)
    # The contents change places, the numbers stay.
    (tag_a, rest_a), (tag_b, rest_b) = fields[first], fields[second]
    fields[first], fields[second] = (tag_a, rest_b), (tag_b, rest_a)
    return b"".join(tag + rest for tag, rest in fields)


def _nest(chance: random.Random, body: bytes, _others: list[bytes]) -> bytes:
    """Messages within messages, deeper than a parser follows."""
    deep = b""
    for _ in range(chance.choice((3, 90, 120))):
        deep = (
            b"\x0b" + deep + b"\x0c"
            if chance.random() < 0.5 or len(deep) > 120
            else b"\x22" + bytes([len(deep)]) + deep
        )
    return body + deep


def _noise(chance: random.Random, _body: bytes, _others: list[bytes]) -> bytes:
    return chance.randbytes(chance.choice((0, 1, 7, 64, 500, 5000)))


MUTATORS: tuple[Mutator, ...] = (
    _flip_bit,
    _flip_bit,
    _cut,
    _drop_head,
    _insert,
    _huge_varint,
    _splice,
    _append_field,
    _swap_fields,
    _nest,
    _noise,
)


def split_fields(body: bytes) -> list[tuple[bytes, bytes]]:
    """Tag and rest (length and content) of each field of a message made of short text fields; [] for others."""
    fields = []
    at = 0
    while at + 1 < len(body):
        length, size = body[at + 1], 2
        if length & 0x80:
            if at + 2 >= len(body) or body[at + 2] & 0x80:
                return []
            length, size = length & 0x7F | body[at + 2] << 7, 3
        if body[at] & 7 != 2 or at + size + length > len(body):
            return []
        fields.append((body[at : at + 1], body[at + 1 : at + size + length]))
        at += size + length
    return fields

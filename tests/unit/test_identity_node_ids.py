"""Node ids must equal those of the deployed network, or every migrated node starts its ramp again."""

from __future__ import annotations

import struct
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.identity.node_ids import (
    chacha12_block,
    expand_seed,
    node_id_for,
    node_id_from_text,
    parse_address,
    siphash_1_3,
)

VECTORS = [
    (
        "basilica@192.168.1.100:22",
        4818859616050634641,
        "8ecbaf833c96e913f2a4e9147948bd8ae6c5d93bdefb0bee0ef999fd34447ee3",
        "ca02cf98-b31a-4ccc-ab1c-9d5596bde209",
    ),
    (
        "root@10.0.0.50:2222",
        10799047348062130264,
        "2a25bf2af1f303f1540b52df57f7d9f0f61a42d3a50899d5a5873bc92bc988e0",
        "5d59ab7c-7ed8-474f-95c3-86c0f4cbc955",
    ),
    (
        "192.168.1.100",
        10848991964590412893,
        "87d6259f8669f4c744c3bcf27b17e4d8f3cc463218a476df9d009a95d1fca76d",
        "c99618f3-8cdb-496d-8970-078aec5cfc5e",
    ),
    (
        "test-seed-123",
        7915343306280856443,
        "45342989f3784d9ca72f95db154be6aee4f838e55e3a8cc7017286f2ed9c4040",
        "b5efb60f-fc16-4886-bfe4-98b7089d6d3e",
    ),
]


@pytest.mark.parametrize(("text", "seed", "key", "node_id"), VECTORS)
def test_every_step_reproduces_the_published_vectors(text: str, seed: int, key: str, node_id: str) -> None:
    """Hash, expanded key and id equal the vectors of the wire document, one by one."""
    assert siphash_1_3(text.encode() + b"\xff") == seed
    assert expand_seed(seed).hex() == key
    assert node_id_from_text(text) == node_id


def test_chacha_reproduces_the_check_word() -> None:
    """The first word of the published ChaCha12 check comes out."""
    key = bytes.fromhex("0100000017000000c8010000d21e0000") + bytes(16)
    assert struct.unpack("<Q", chacha12_block(key)[:8]) == (10719222850664546238,)


def test_the_triple_is_joined_as_configured() -> None:
    """User, host and port are joined without any normalisation."""
    assert node_id_for("basilica", "192.168.1.100", 22) == "ca02cf98-b31a-4ccc-ab1c-9d5596bde209"
    assert node_id_for("basilica", "GPU1.example", 22) != node_id_for("basilica", "gpu1.example", 22)
    assert node_id_for("u", "::1", 22) == node_id_from_text("u@::1:22")


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40))
def test_every_id_is_a_version_4_uuid(text: str) -> None:
    """Whatever the text, the id has the form that validators parse."""
    parsed = uuid.UUID(node_id_from_text(text))
    assert parsed.version == 4
    assert parsed.variant == uuid.RFC_4122


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("basilica@192.168.1.100:22", ("basilica", "192.168.1.100", 22)),
        ("root@2001:db8::1:2222", ("root", "2001:db8::1", 2222)),
        ("a@b@host:1", ("a@b", "host", 1)),
    ],
)
def test_addresses_are_split_as_configured(text: str, parts: tuple[str, str, int]) -> None:
    """The last @ and the last colon separate user, host and port; nothing is normalised."""
    assert parse_address(text) == parts


@pytest.mark.parametrize("text", ["", "host:22", "user@host", "user@:22", "user@host:0", "user@host:70000", "u@h:²"])
def test_incomplete_addresses_are_refused(text: str) -> None:
    """Whatever is not USER@HOST:PORT is an error, never a guess."""
    with pytest.raises(ValueError, match=r"USER@HOST:PORT|port"):
        parse_address(text)

"""The converter: what is written is read back, and what is no message is refused."""

from __future__ import annotations

import contextlib
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import WireMalformed
from engine.wire import convert
from engine.wire.messages import AuthAnswer, AuthCall, Dialect, DiscoverCall, WireNode

DIALECTS = get_args(Dialect)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("timestamp", [None, 0, -5, 1_700_000_000, 2**63 - 1])
def test_calls_survive_the_wire(dialect: Dialect, timestamp: int | None) -> None:
    """Every field arrives as it left; a timestamp of zero is not an absent one."""
    auth = AuthCall(dialect, "v", "s", "n", timestamp, "t", "key" if dialect == "B" else "")
    assert convert.read_auth_call(dialect, convert.write_auth_call(auth)) == auth
    discover = DiscoverCall(dialect, "v", "s", "n", timestamp, "t", "key", "token" if dialect == "B" else "")
    assert convert.read_discover_call(dialect, convert.write_discover_call(discover)) == discover


@pytest.mark.parametrize("dialect", DIALECTS)
def test_answers_survive_the_wire(dialect: Dialect) -> None:
    """An authentication answer arrives as it left."""
    answer = AuthAnswer(True, "token", 1_700_003_600, "m", "sig", "n", "why")
    assert convert.read_auth_answer(dialect, convert.write_auth_answer(dialect, answer)) == answer


def test_nodes_survive_both_forms() -> None:
    """The list of dialect A and the messages of dialect B carry the same; a missing price stays missing."""
    nodes = [WireNode("id", "h", "22", "u"), WireNode("id2", "h2", "2222", "u", "-v", "available", 0)]
    listed = convert.write_nodes("B", nodes)
    assert convert.read_nodes(listed, 10) == nodes
    assert convert.read_nodes(listed, 1) == nodes[:1]
    assert [convert.read_node(part) for part in convert.split_nodes(listed)] == nodes


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_malformed(data: bytes) -> None:
    """Nothing else can come out of a stranger's bytes."""
    for read in (convert.read_auth_call, convert.read_discover_call, convert.read_auth_answer):
        for dialect in DIALECTS:
            with contextlib.suppress(WireMalformed):
                read(dialect, data)

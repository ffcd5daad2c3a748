"""Rows whose columns hold what no engine writes."""

from __future__ import annotations

import dataclasses

import pytest

from engine.store.records import Grant
from engine.store.soundness import fault_in

GRANT = Grant("g1", "n1", "5V", "ssh-ed25519", "AAAA", "SHA256:x", 1.0, 1.0, 2.0)


@pytest.mark.parametrize(
    "changed", [{}, {"expires_at": 2}, {"deployed_exp": 7, "ended_at": 3.0}, {"removed_at": None}, {"wrapped": True}]
)
def test_what_the_engine_writes_is_sound(changed: dict[str, object]) -> None:
    """Whole numbers are numbers, and what is optional may lack."""
    assert fault_in(dataclasses.replace(GRANT, **changed)) == ""  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"expires_at": "soon"}, "expires_at is 'soon'"),
        ({"expires_at": float("inf")}, "expires_at is 'inf'"),
        ({"expires_at": None}, "expires_at is 'None'"),
        ({"wrapped": "yes"}, "wrapped is 'yes'"),
        ({"hotkey": b"x"}, "hotkey is"),
        ({"deployed_exp": 1.5}, "deployed_exp is '1.5'"),
        ({"hotkey": 7, "end_reason": None}, "hotkey is '7'"),
    ],
)
def test_what_no_engine_writes_is_named(changed: dict[str, object], named: str) -> None:
    """The first field that is wrong, with what it holds."""
    assert fault_in(dataclasses.replace(GRANT, **changed)).startswith(named)  # type: ignore[arg-type]

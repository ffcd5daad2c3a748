"""What a node's name and addresses are told as, by table."""

from __future__ import annotations

import pytest

from engine.validator.network_step import network_evidence


@pytest.mark.parametrize(
    ("addresses", "host", "words"),
    [
        (("8.8.4.4", "10.0.0.2"), "8.8.4.4", "rig 8.8.4.4 10.0.0.2 machine 0123456789abcdef"),
        (("10.0.0.2",), "8.8.4.4",
         "rig 10.0.0.2 (no public address of its own, reached at 8.8.4.4) machine 0123456789abcdef"),
        (("10.0.0.2",), "10.0.0.2", "rig 10.0.0.2 (no public address of its own) machine 0123456789abcdef"),
        (("192.168.7.7", "fe80::1", "fd00::1"), "gpu.example",
         "rig 192.168.7.7 fe80::1 fd00::1 (no public address of its own) machine 0123456789abcdef"),
        (("10.0.0.2", "2606:4700:4700::1111"), "8.8.4.4",
         "rig 10.0.0.2 2606:4700:4700::1111 machine 0123456789abcdef"),
        ((), "8.8.4.4",
         "rig no address (no public address of its own, reached at 8.8.4.4) machine 0123456789abcdef"),
        (("not an address", "$(reboot)"), "8.8.4.4",
         "rig no address (no public address of its own, reached at 8.8.4.4) machine 0123456789abcdef"),
        (tuple(f"8.8.8.{n}" for n in range(10)), "8.8.8.1",
         "rig " + " ".join(f"8.8.8.{n}" for n in range(8)) + " and 2 more machine 0123456789abcdef"),
    ],
    ids=["public", "behind NAT", "private network", "link local and a name", "IPv6", "none", "noise", "many"],
)  # fmt: skip
def test_what_is_said_of_a_node(addresses: tuple[str, ...], host: str, words: str) -> None:
    """A node without a public address says so, and where it is reached; what is no address is left out."""
    assert network_evidence("rig", addresses, "0123456789abcdef0123", host) == words


def test_a_node_that_says_nothing() -> None:
    """No name, no address, no id: in words."""
    assert (
        network_evidence("", (), "", "gpu.example") == "no name no address (no public address of its own) no machine id"
    )

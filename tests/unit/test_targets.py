"""Which neurons a validator calls, by table."""

from __future__ import annotations

import pytest

from engine.chain import Axon, Metagraph, Neuron
from engine.validator.targets import MinerTarget, Outsider, survey


def metagraph(axon: Axon | None, *, permit: bool = False) -> Metagraph:
    neuron = Neuron(
        uid=4,
        hotkey="5M",
        coldkey="5C",
        stake_tao=0.0,
        validator_permit=permit,
        axon=axon,
        active=True,
        incentive=0.0,
        dividends=0.0,
        trust=0.0,
        consensus=0.0,
        emission_tao=0.0,
        last_update=0,
    )
    return Metagraph(39, 1, (neuron,))


def callable_miners(
    graph: Metagraph, *, is_local: bool, is_public: bool = False, port_offset: int = 0
) -> tuple[MinerTarget, ...]:
    """The ones that are called; everybody else has a reason."""
    called, others = survey(graph, is_local=is_local, is_public=is_public, port_offset=port_offset)
    assert len(called) + len(others) == len(graph.neurons)
    assert all(other.reason for other in others)
    return called


@pytest.mark.parametrize(
    ("axon", "is_local", "endpoint"),
    [
        (Axon("203.0.113.7", 8080), False, "203.0.113.7:8080"),
        (Axon("10.1.2.3", 8080), False, "10.1.2.3:8080"),
        (Axon("127.0.0.1", 8080), False, None),
        (Axon("127.0.0.1", 8080), True, "127.0.0.1:8080"),
        (Axon("0.0.0.0", 8080), True, None),
        (Axon("2001:db8:0:0:0:0:0:1", 8080), True, None),
        (Axon("nonsense", 8080), True, None),
        (None, True, None),
    ],
)
def test_endpoints(axon: Axon | None, is_local: bool, endpoint: str | None) -> None:
    """IPv4 endpoints are called, the loopback only on a local chain, anything else never."""
    found = [t.endpoint for t in callable_miners(metagraph(axon), is_local=is_local)]

    assert found == ([] if endpoint is None else [endpoint])


@pytest.mark.parametrize(
    ("ip", "is_called"),
    [
        ("203.0.113.7", True),
        ("172.15.0.1", True),
        ("172.16.0.1", False),
        ("172.31.255.254", False),
        ("172.32.0.1", True),
        ("10.1.2.3", False),
        ("192.168.1.1", False),
        ("192.169.1.1", True),
        ("100.64.0.1", False),
        ("100.128.0.1", True),
        ("169.254.1.1", False),
        ("127.0.0.1", False),
    ],
)
def test_addresses_behind_nat_are_not_tried_on_public_networks(ip: str, is_called: bool) -> None:
    """Nobody outside reaches them there; on a private chain they may be neighbours."""
    assert bool(callable_miners(metagraph(Axon(ip, 8080)), is_local=False, is_public=True)) == is_called
    assert bool(callable_miners(metagraph(Axon(ip, 8080)), is_local=True)) is True


def test_validators_are_not_miners() -> None:
    """A neuron with a permit is never called."""
    assert callable_miners(metagraph(Axon("203.0.113.7", 1), permit=True), is_local=False) == ()


@pytest.mark.parametrize(("port", "offset", "found"), [(8091, 0, 8091), (8091, 1000, 9091), (65000, 1000, None)])
def test_port_offset(port: int, offset: int, found: int | None) -> None:
    """The configured offset moves the port, and an impossible port is not called."""
    targets = callable_miners(metagraph(Axon("203.0.113.7", port)), is_local=False, port_offset=offset)

    assert [t.port for t in targets] == ([] if found is None else [found])


@pytest.mark.parametrize(
    ("axon", "permit", "word", "endpoint"),
    [
        (Axon("203.0.113.7", 80), True, "permit", "203.0.113.7:80"),
        (None, False, "no axon", ""),
        (Axon("203.0.113.7", 0), False, "no axon", "203.0.113.7:0"),
        (Axon("0.0.0.0", 80), False, "zero", "0.0.0.0:80"),
        (Axon("0:0:0:0:0:0:0:0", 80), False, "zero", "[0:0:0:0:0:0:0:0]:80"),
        (Axon("2001:db8:0:0:0:0:0:1", 80), False, "IPv6", "[2001:db8:0:0:0:0:0:1]:80"),
        (Axon("224.0.0.1", 80), False, "multicast", "224.0.0.1:80"),
        (Axon("127.0.0.1", 80), False, "loopback", "127.0.0.1:80"),
        (Axon("10.0.0.7", 80), False, "NAT", "10.0.0.7:80"),
        (Axon("host name", 80), False, "no IP address", "host name:80"),
        (Axon("203.0.113.7", 65535), False, "no port 65536", "203.0.113.7:65535"),
    ],
)
def test_why_a_neuron_is_not_called(axon: Axon | None, permit: bool, word: str, endpoint: str) -> None:
    """Each rule of the filter has words of its own, for the operator who asks why a miner is missing."""
    called, (other,) = survey(metagraph(axon, permit=permit), is_local=False, is_public=True, port_offset=1)
    assert called == ()
    assert word in other.reason
    assert other == Outsider(4, "5M", endpoint, other.reason)

"""Reading the runtime's metagraph record, and what a metagraph answers."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from engine.chain import Axon, Metagraph, Neuron, chain_endpoint_for, metagraph_from_json, metagraph_to_json
from engine.chain.decode import decode_axon, decode_metagraph, ip_text
from engine.errors import ConfigInvalid


def _neuron(uid: int, *, stake: float = 0.0, permit: bool = False, axon: Axon | None = None) -> Neuron:
    return Neuron(
        uid=uid,
        hotkey=f"hot{uid}",
        coldkey=f"cold{uid}",
        stake_tao=stake,
        validator_permit=permit,
        axon=axon,
        active=True,
        incentive=0.25,
        dividends=0.0,
        trust=1.0,
        consensus=0.0,
        emission_tao=1.5,
        last_update=7,
    )


@pytest.mark.parametrize(
    ("value", "ip_type", "text"),
    [
        (0xC0A80101, 4, "192.168.1.1"),
        (0xFFFF_C0A8_0101, 4, "192.168.1.1"),
        (0x7F000001, 4, "127.0.0.1"),
        (0x20010DB8000000000000000000000001, 6, "2001:db8:0:0:0:0:0:1"),
        (1, 6, "0:0:0:0:0:0:0:1"),
        ((1 << 128) - 1, 6, ":".join(["ffff"] * 8)),
        (0, 4, None),
        (0, 6, None),
        (1 << 32, 4, None),
        (0xC0A80101, 5, None),
        (-1, 4, None),
        (1 << 128, 6, None),
    ],
)
def test_ip_text(value: int, ip_type: int, text: str | None) -> None:
    """Addresses are printed as the network prints them; what is no address is None."""
    assert ip_text(value, ip_type) == text


@pytest.mark.parametrize(
    "record",
    [
        None,
        "text",
        {},
        {"ip": 0, "port": 8091, "ip_type": 4},
        {"ip": 1, "port": 0, "ip_type": 4},
        {"ip": 1, "port": 65536, "ip_type": 4},
        {"ip": 1, "port": 8091, "ip_type": 7},
        {"ip": "1.2.3.4", "port": 8091, "ip_type": 4},
    ],
)
def test_no_axon(record: object) -> None:
    """An axon that cannot be dialled is no axon."""
    assert decode_axon(record) is None


def test_axon_endpoint_and_comparison() -> None:
    """Endpoints bracket IPv6, and addresses compare by value, not by text."""
    four, six = Axon("10.0.0.1", 8091), Axon("2001:db8:0:0:0:0:0:1", 9000)
    assert (four.endpoint, six.endpoint) == ("10.0.0.1:8091", "[2001:db8:0:0:0:0:0:1]:9000")
    assert six.is_at("2001:db8::1", 9000)
    assert four.is_at("10.0.0.1", 8091)
    assert not four.is_at("10.0.0.1", 8092)
    assert not four.is_at("miner.example", 8091)


def test_decode_metagraph_scales_units_and_survives_a_bad_row() -> None:
    """Rao and u16 become TAO and fractions; short columns and one broken axon cost only their own row."""
    record: dict[str, Any] = {
        "block": 1234,
        "hotkeys": ["a", "b"],
        "coldkeys": ["c", "d"],
        "total_stake": [1_500_000_000, 0],
        "validator_permit": [True, False],
        "axons": [{"ip": "broken"}, {"ip": 0x0A000001, "port": 1, "ip_type": 4, "protocol": 4, "version": 9}],
        "incentives": [65535],
        "emission": [0, 2_000_000_000],
        "last_update": [3, 4],
        "active": [True, True],
    }
    metagraph = decode_metagraph(39, record)
    first, second = metagraph.neurons
    assert (metagraph.netuid, metagraph.block) == (39, 1234)
    assert (first.stake_tao, first.incentive, first.axon, first.validator_permit) == (1.5, 1.0, None, True)
    assert second.axon == Axon("10.0.0.1", 1, protocol=4, version=9)
    assert (second.incentive, second.emission_tao, second.last_update) == (0.0, 2.0, 4)


@pytest.mark.parametrize("record", [{}, {"block": 1}, {"hotkeys": []}, {"hotkeys": "ab", "block": 1}])
def test_decode_metagraph_refuses_another_record(record: dict[str, object]) -> None:
    """A record that is not a metagraph is an error, never an empty subnet."""
    with pytest.raises(ValueError, match="metagraph"):
        decode_metagraph(39, record)


def test_validators_and_miners() -> None:
    """Validators come by stake, ties by uid; miners are those without permit that serve an axon."""
    axon = Axon("10.0.0.1", 1)
    metagraph = Metagraph(
        39,
        1,
        (
            _neuron(0, stake=5, permit=True),
            _neuron(1, stake=9, permit=True, axon=axon),
            _neuron(2, stake=5, permit=True),
            _neuron(3, stake=100),
            _neuron(4, axon=axon),
        ),
    )
    assert [neuron.uid for neuron in metagraph.validators()] == [1, 0, 2]
    assert [neuron.uid for neuron in metagraph.miners()] == [4]
    assert metagraph.by_hotkey("hot3") is metagraph.neurons[3]
    assert metagraph.by_hotkey("nobody") is None


def test_json_round_trip() -> None:
    """A metagraph survives JSON text unchanged."""
    metagraph = Metagraph(39, 5, (_neuron(0, stake=2), _neuron(1, axon=Axon("::1", 2, 3, 4))))
    assert metagraph_from_json(json.loads(json.dumps(metagraph_to_json(metagraph)))) == metagraph


@pytest.mark.parametrize(
    "damage",
    [
        lambda value: value.pop("block"),
        lambda value: value["neurons"][0].pop("hotkey"),
        lambda value: value["neurons"][0].update(validator_permit=1),
        lambda value: value["neurons"][0].update(stake_tao="5"),
        lambda value: value["neurons"][0].update(axon={"ip": "1.2.3.4"}),
        lambda value: value.update(neurons=["x"]),
    ],
)
def test_json_refuses_what_it_did_not_write(damage: Any) -> None:
    """A damaged saved metagraph is an error, not a guess."""
    value = metagraph_to_json(Metagraph(39, 5, (_neuron(0),)))
    damage(value)
    with pytest.raises(ValueError, match="expected"):
        metagraph_from_json(value)


@pytest.mark.parametrize(
    ("network", "given", "endpoint"),
    [
        ("finney", None, "wss://entrypoint-finney.opentensor.ai:443"),
        ("test", "", "wss://test.finney.opentensor.ai:443"),
        ("local", None, "ws://127.0.0.1:9944"),
        ("finney", "wss://own.example", "wss://own.example"),
        ("mine", "ws://own.example:1", "ws://own.example:1"),
        ("local", "file:chain.db", "file:chain.db"),
    ],
)
def test_endpoint_choice(network: str, given: str | None, endpoint: str) -> None:
    """A configured endpoint wins; the known networks have one of their own."""
    assert chain_endpoint_for(network, given) == endpoint


@pytest.mark.parametrize(
    ("network", "given"), [("mine", None), ("finney", "file:x"), ("local", "file:"), ("local", "http://x")]
)
def test_endpoint_refused(network: str, given: str | None) -> None:
    """An endpoint that cannot be meant is a configuration error."""
    with pytest.raises(ConfigInvalid):
        chain_endpoint_for(network, given)


def test_import_is_cheap() -> None:
    """Importing the room and its file chain does not import the SDK."""
    program = "import sys, engine.chain, engine.chain.filechain; print('bittensor' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

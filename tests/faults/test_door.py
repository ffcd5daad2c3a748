"""The door over the real wire: replays, restarts, clocks, spellings, keys that are none, and a permit that goes."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress

import pytest
from bittensor.sp_core import Keypair
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ed25519, rsa

from engine.identity import payloads, ss58
from engine.identity.signatures import hotkey_bytes
from engine.identity.tokens import new_nonce
from engine.ssh.keys import ClientKey
from tests.faults.common import OPEN, await_view, discover, eventually, ready, voice
from tests.faults.conftest import Subnets
from tests.faults.observe import Baseline, await_event, database, events, grant_rows, open_rows, our_lines
from tests.support.miner_subnet import NETUID, OPERATOR_KEY, ssh_login
from tests.support.sshd import NodeSshd

pytestmark = pytest.mark.sshd
Nodes = Callable[..., NodeSshd]
AUTH, NODES = "AuthenticateValidator", "DiscoverNodes"


@pytest.mark.core
@pytest.mark.fault(23, 24, 25)
def test_replays_across_a_restart(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """Identical bytes get the stored answer; changed or late ones are refused, also after SIGKILL."""
    node = sshd_nodes()
    subnet = subnets([node], validator_assignment=OPEN)
    baseline = Baseline(subnet)
    subnet.start()
    ready(subnet)
    caller = voice(subnet)
    login, nonce, at = caller.auth(), new_nonce(), int(time.time())
    question = caller.discovery(nonce=nonce, at=at)
    changed = caller.discovery(nonce=nonce, at=at + 1)

    answers = [caller.say(AUTH, login), caller.say(AUTH, login)]
    offers = [caller.say(NODES, question), caller.say(NODES, question)]
    assert answers[0] == answers[1]
    assert offers[0] == offers[1]
    assert caller.refused(NODES, changed) == "UNAUTHENTICATED"
    eventually(lambda: len(events(subnet, "door.refused")) == 1, what="refusal recorded")
    subnet.kill()
    subnet.start()
    ready(subnet)

    assert caller.say(AUTH, login) == answers[0]
    assert caller.refused(NODES, changed) == "UNAUTHENTICATED"
    assert caller.refused(AUTH, caller.auth(nonce=nonce)) == "UNAUTHENTICATED"
    eventually(lambda: len(events(subnet, "door.refused")) == 3, what="refusals recorded")
    subnet.kill()
    with closing(sqlite3.connect(database(subnet))) as connection:
        connection.execute("update engine_nonces set accepted_at = accepted_at - 31")
        connection.commit()
    subnet.start()
    ready(subnet)
    assert caller.refused(AUTH, login) == "UNAUTHENTICATED"
    assert caller.refused(NODES, question) == "UNAUTHENTICATED"
    assert len(grant_rows(subnet)) == len(our_lines(node)) == 1
    assert await_event(subnet, "door.refused", status="UNAUTHENTICATED", call=NODES)
    eventually(lambda: len(events(subnet, "door.refused")) == 5, what="five refusals recorded")
    assert len(events(subnet, "door.discovery_answered")) == 1
    assert baseline.violations() == []


@pytest.mark.core
@pytest.mark.fault(26, 27)
def test_clocks_and_spellings(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """Absurd times, foreign prefixes, wrapped and misshapen signatures: refused as such, never an internal error."""
    node = sshd_nodes()
    subnet = subnets([node], validator_assignment=OPEN)
    baseline = Baseline(subnet)
    subnet.start()
    ready(subnet)
    caller = voice(subnet)
    now = int(time.time())
    absurd = (0, -1, now - 305, now + 305, now * 1000, 2**63 - 1, -(2**63))
    assert {caller.refused(AUTH, caller.auth(at=at)) for at in absurd} == {"UNAUTHENTICATED"}
    pair = caller.signer
    nonce = new_nonce()
    wrapped = pair.sign(b"<Bytes>" + payloads.auth_v1(nonce, caller.miner_hotkey, now) + b"</Bytes>")
    for signature in (wrapped, "", "00", "zz" * 64, pair.sign(b"something else"), "ab" * 63, "é" * 64, "ab" * 5000):
        status = caller.refused(AUTH, caller.auth(nonce=nonce, at=now, signature=signature))
        assert status in {"UNAUTHENTICATED", "INVALID_ARGUMENT"}, (signature[:20], status)
    time.sleep(2)  # the door's own limit per hotkey is not what is asked here
    other_spelling = ss58.encode(hotkey_bytes(pair.hotkey), 0)
    assert other_spelling != pair.hotkey
    nonce = new_nonce()
    assert caller.refused(AUTH, caller.auth(nonce=nonce, validator_hotkey=other_spelling)) == "OK"
    assert caller.refused(AUTH, caller.auth(nonce=nonce)) == "UNAUTHENTICATED"
    assert caller.refused(AUTH, caller.auth(target_miner_hotkey=pair.hotkey)) == "PERMISSION_DENIED"
    stranger = Keypair.create_from_uri("//Nobody").ss58_address
    assert caller.refused(AUTH, caller.auth(validator_hotkey=stranger)) == "UNAUTHENTICATED"
    assert {str(event["status"]) for event in events(subnet, "door.refused")} <= {
        "UNAUTHENTICATED", "INVALID_ARGUMENT", "PERMISSION_DENIED",
    }  # fmt: skip
    assert grant_rows(subnet) == []
    assert len(asyncio.run(subnet.snapshot()).views["sessions"]) == 1
    assert baseline.violations() == []


@pytest.mark.core
@pytest.mark.fault(12, 13)
def test_keys_that_are_none(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """Injected lines, options, weak, private and others' keys: refused, nothing written or logged."""
    node = sshd_nodes()
    subnet = subnets([node], validator_assignment=OPEN)
    before = node.keys()
    subnet.start()
    ready(subnet)
    caller = voice(subnet)
    caller.authenticate()
    good = caller.key_line
    private = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    secret = private.decode().splitlines()[2]
    bad = [
        good + "\n" + ClientKey.generate("x").public_line,
        'command="sh" ' + good,
        good.split()[0] + " " + "A" * 60_000,
        good + " \0",
        good + "\r\nssh-rsa AAAA",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA",
        _line(rsa.generate_private_key(65537, 1024).public_key()),
        _line(dsa.generate_private_key(1024).public_key()),
        private.decode(),
        "ssh-ed25519-cert-v01@openssh.com " + good.split()[1],
        OPERATOR_KEY.public_line,
        (subnet.root / "node_key.pub").read_text() if (subnet.root / "node_key.pub").exists()
        else ClientKey.from_file(subnet.root / "node_key").public_line,
    ]  # fmt: skip

    statuses = []
    for key in bad:
        statuses.append(caller.refused(NODES, caller.discovery(key=key)))
        time.sleep(0.3)

    assert statuses == ["INVALID_ARGUMENT"] * len(bad)
    assert node.keys() == before
    assert open_rows(subnet) == []
    eventually(lambda: len(events(subnet, "door.refused")) == len(bad), what="all refusals recorded")
    recorded = subnet.log() + repr(events(subnet))
    assert secret not in recorded
    assert "PRIVATE KEY" not in recorded
    assert asyncio.run(subnet.snapshot()).counters["refusals"] == len(bad)


@pytest.mark.fault(28)
def test_strangers_on_the_port(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """Silent, half-sent and garbage connections do not keep a validator out, before, during or after."""
    node = sshd_nodes()
    subnet = subnets([node], validator_assignment=OPEN)
    subnet.start()
    ready(subnet)
    strangers = []
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    for number in range(300):
        # Some from the validator's own address, fewer than its share; the others from elsewhere, as a flood does.
        source = "127.0.0.1" if number < 40 else f"127.9.{number % 7}.{1 + number % 50}"
        stranger = socket.create_connection(("127.0.0.1", subnet.grpc_port), source_address=(source, 0))
        with suppress(OSError):
            stranger.sendall((b"", preface, b"\xff" * 4096, b"GET / HTTP/1.1\r\n")[number % 4])
        strangers.append(stranger)
    try:
        assert discover(subnet) == {node.port}
        assert ssh_login(node, subnet.validators[0].key_path).returncode == 0
    finally:
        for stranger in strangers:
            stranger.close()
    assert discover(subnet) == {node.port}
    assert len(our_lines(node)) == 1
    assert asyncio.run(subnet.snapshot()).views["engine"]["engine"].started_at is not None  # type: ignore[union-attr]


@pytest.mark.fault(29)
def test_a_permit_is_lost_and_comes_back(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """Without permit: keys gone at the next reading, refused at the door, recorded; with it again: let in again."""
    node = sshd_nodes()
    subnet = subnets([node], validator_assignment=OPEN)
    baseline = Baseline(subnet)
    subnet.start()
    ready(subnet)
    discover(subnet)
    hotkey = subnet.validators[0].hotkey

    subnet.admin.set_permit(NETUID, hotkey, False)

    assert await_event(subnet, "key.removed")["reason"] == "validator lost its permit"
    assert our_lines(node) == []
    (row,) = grant_rows(subnet)
    assert row.removed_at is not None
    assert voice(subnet).refused(AUTH, voice(subnet).auth()) == "PERMISSION_DENIED"
    await_view(subnet, node.port, lambda n: n.keys_in_place == 0)
    subnet.admin.set_permit(NETUID, hotkey, True)
    eventually(lambda: voice(subnet).refused(AUTH, voice(subnet).auth()) == "OK", what="permit read again")
    assert discover(subnet) == {node.port}
    assert baseline.violations() == []


def _line(key: object) -> str:
    return key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()  # type: ignore[attr-defined,no-any-return]

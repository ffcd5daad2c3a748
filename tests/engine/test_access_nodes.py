"""Access on real sshd nodes, end to end: enrolment, ended sessions, drift, leftovers, inventory and the node key."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from engine.errors import ControlRefused
from engine.ssh.keys import ClientKey
from tests.support.miner_subnet import OPERATOR_KEY, MinerSubnet, Validator, operator_line, ssh_login
from tests.support.sshd import NodeSshd
from tests.support.subnets import Subnets

pytestmark = pytest.mark.sshd
Nodes = Callable[..., NodeSshd]


def start(subnet: MinerSubnet) -> None:
    subnet.start()
    asyncio.run(subnet.until(lambda s: engine_of(s).assigned_hotkey != ""))


def engine_of(snapshot: Any) -> Any:
    return snapshot.views["engine"]["engine"]


def our_lines(node: NodeSshd) -> list[str]:
    lines = node.keys().decode().splitlines()
    return [line for line in lines if " grant=" in line and " renter-canary " not in line]


def node_view(subnet: MinerSubnet, number: int = 0) -> Any:
    port = subnet.nodes[number].port
    nodes: Any = asyncio.run(subnet.snapshot()).views["nodes"]
    return next(n for n in nodes.values() if n.port == port)


def act(subnet: MinerSubnet, verb: str, **args: object) -> Mapping[str, Any]:
    result: Any = asyncio.run(subnet.act(verb, **args))
    return cast("Mapping[str, Any]", result)


def wait_for(subnet: MinerSubnet, condition: Callable[[Any], bool]) -> Any:
    """Until the first node's view fulfils the condition."""
    port = subnet.nodes[0].port

    def holds(snapshot: Any) -> bool:
        return any(n.port == port and condition(n) for n in snapshot.views["nodes"].values())

    asyncio.run(subnet.until(holds))
    return node_view(subnet)


def hold_session(node: NodeSshd, validator: Validator, command: str) -> subprocess.Popen[bytes]:
    """A validator's command that goes on for minutes, through the real ssh program."""
    return subprocess.Popen(
        [
            "ssh", "-F", "none", "-i", str(validator.key_path), "-p", str(node.port),
            "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "IdentitiesOnly=yes",
            "-o", "BatchMode=yes", "-o", "LogLevel=ERROR", f"{node.username}@{node.host}", command,
        ],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={"PATH": os.environ["PATH"]},
    )  # fmt: skip


def commands_on(node: NodeSshd) -> str:
    found = []
    for path in Path(node.inside(Path("/proc"))).glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return "\n".join(found)


def test_enrolment_proves_expiry_once_and_says_so(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """The canary's two logins happen once per node and banner, leave no line, and a restart does not repeat them."""
    subnet = subnets([sshd_nodes()])
    before = subnet.nodes[0].keys()
    start(subnet)
    view = wait_for(subnet, lambda n: n.expiry_enforced != "")
    assert view.expiry_enforced == "proved"
    facts = json.loads(view.capability_json)
    assert facts["expiry_form"] == "utc" and facts["can_wrap"] and facts["refusal"] == ""
    assert abs(facts["clock_skew_s"]) < 60 and facts["key_file"].endswith(".ssh/authorized_keys")
    assert subnet.nodes[0].keys() == before
    refused = subnet.nodes[0].log().count("Failed publickey") + subnet.nodes[0].log().count("expired")
    assert refused >= 1
    subnet.stop()
    start(subnet)
    wait_for(subnet, lambda n: n.expiry_enforced == "proved")
    log = subnet.nodes[0].log()
    assert log.count("Failed publickey") + log.count("expired") == refused


def test_a_node_slower_than_its_deadline_is_enrolled_all_the_same(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """A trial login that alone takes longer than the node deadline: a call goes on without the node, the background
    comes to the end of it, once, and the validator's key follows."""
    slow = sshd_nodes(options=("AuthorizedKeysCommand /bin/sleep 2.5", "AuthorizedKeysCommandUser root"))
    subnet = subnets([slow, sshd_nodes()], access={"node_deadline": 2})
    start(subnet)

    given_up_at = time.monotonic() + 100
    while subnet.nodes[1].port not in {
        n.port for n in asyncio.run(subnet.discover(subnet.validators[0])).nodes
    }:  # on a busy machine the good node's enrolment, too, may take longer than one call waits
        assert time.monotonic() < given_up_at
        time.sleep(1.0)  # a validator's own rate is limited
    assert wait_for(subnet, lambda n: n.expiry_enforced != "" and n.keys_in_place == 1).expiry_enforced == "proved"
    assert len(our_lines(slow)) == 1 and b"renter-canary" not in slow.keys()  # noqa: SIM118 - a file, not a dictionary
    assert ssh_login(slow, subnet.validators[0].key_path).stdout == "in\n"
    again = asyncio.run(subnet.discover(subnet.validators[0]))
    assert slow.port in {n.port for n in again.nodes}


def test_a_canary_that_a_crash_left_is_removed(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """Killed while its lines are in the file: the next start takes them out, long before they would expire."""
    subnet = subnets([sshd_nodes(options=("AuthorizedKeysCommand /bin/sleep 0.5", "AuthorizedKeysCommandUser root"))])
    node, before = subnet.nodes[0], subnet.nodes[0].keys()
    subnet.start()
    deadline = time.monotonic() + 100
    while b"renter-canary" not in node.keys():  # noqa: SIM118 - a file, not a dictionary
        assert time.monotonic() < deadline
        time.sleep(0.002)  # the canary's lines stay for a login that takes half a second at least
    subnet.kill()
    assert b"renter-canary" in node.keys()  # noqa: SIM118 - as above
    start(subnet)
    wait_for(subnet, lambda n: n.expiry_enforced == "proved" and n.operator_keys is not None)
    assert node.keys() == before


def test_a_node_that_reads_another_file_gets_no_key(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """The canary finds out that sshd reads elsewhere; the validator is not offered the node, and the reason is said."""
    node = sshd_nodes(options=("AuthorizedKeysFile elsewhere",))
    if not node.is_private:
        pytest.skip("the key file's place is set by the test set-up without root")
    good = sshd_nodes()
    subnet = subnets([node, good])
    (node.home / "elsewhere").write_bytes(node.keys())
    node.own(node.home / "elsewhere")
    before = node.keys()
    start(subnet)
    offer = asyncio.run(subnet.discover(subnet.validators[0]))
    assert [n.port for n in offer.nodes] == [good.port]
    view = wait_for(subnet, lambda n: n.key_error != "")
    assert "does not open" in view.key_error
    assert json.loads(view.capability_json)["refusal"] == "other_key_file"
    assert node.keys() == before


def test_sessions_of_an_ended_grant_are_ended_and_others_are_not(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """The operator's word ends what the validator runs, escapes too; the operator's own session and ours go on."""
    subnet = subnets([sshd_nodes()])
    node = subnet.nodes[0]
    desk = ClientKey.generate("operator@laptop")
    desk.save(subnet.root / "desk")
    node.authorize(node.keys() + desk.public_line.encode() + b"\n")
    start(subnet)
    validator = subnet.validators[0]
    asyncio.run(subnet.discover(validator, "B"))
    assert "command=" in our_lines(node)[0]
    mine = hold_session(node, Validator(validator.wallet, desk, subnet.root / "desk"), "echo up; exec sleep 301")
    theirs = hold_session(node, validator, "setsid -f sleep 302; echo up; sleep 303; sleep 304")
    for process in (mine, theirs):
        assert process.stdout is not None and process.stdout.readline() == b"up\n"
    result = act(subnet, "session.end", hotkey=validator.hotkey)
    assert result["keys_left"] == 0
    assert theirs.wait(60) != 0
    running = commands_on(node)
    assert "sleep 302" not in running and "sleep 303" not in running and "sleep 304" not in running
    assert "sleep 301" in running and mine.poll() is None
    view = wait_for(subnet, lambda n: n.processes_ended > 0 and n.live_sessions == 1)
    assert view.live_sessions_oldest_s is not None
    mine.terminate()
    mine.wait(60)
    assert "processes_ended" in subnet.log()


def test_sessions_are_found_by_key_where_sshd_tells(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """Without the wrapper, ExposeAuthInfo names the key of each session, and those of the ended grant are ended."""
    subnet = subnets([sshd_nodes(options=("ExposeAuthInfo yes",))], access={"session_wrapper": "off"})
    node = subnet.nodes[0]
    start(subnet)
    validator = subnet.validators[0]
    asyncio.run(subnet.discover(validator, "B"))
    assert "command=" not in our_lines(node)[0]
    theirs = hold_session(node, validator, "echo up; sleep 305")
    assert theirs.stdout is not None and theirs.stdout.readline() == b"up\n"
    act(subnet, "session.end", hotkey=validator.hotkey)
    assert theirs.wait(60) != 0
    assert "sleep 305" not in commands_on(node)


def test_what_cannot_be_attributed_is_shown(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """A session without mark outlives its key: it is not killed on suspicion, but counted with its age."""
    subnet = subnets([sshd_nodes()])
    node = subnet.nodes[0]
    start(subnet)
    validator = subnet.validators[0]
    asyncio.run(subnet.discover(validator, "A"))
    assert "command=" not in our_lines(node)[0]
    theirs = hold_session(node, validator, "echo up; sleep 306")
    assert theirs.stdout is not None and theirs.stdout.readline() == b"up\n"
    act(subnet, "session.end", hotkey=validator.hotkey)
    view = wait_for(subnet, lambda n: n.live_sessions == 1)
    assert view.live_sessions_of_grants == 0
    assert theirs.poll() is None
    theirs.kill()
    theirs.wait(60)


def test_drift_is_reported_and_settled_by_the_operator(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """A line that a guest adds is shown, in the second file too, never deleted by itself; the operator decides."""
    subnet = subnets([sshd_nodes()])
    node = subnet.nodes[0]
    start(subnet)
    wait_for(subnet, lambda n: n.baseline_keys == 1)
    extra, second, tagged = (ClientKey.generate(name) for name in ("evil\x1b[31m@guest", "second@guest", "validator-x"))
    node.authorize(node.keys() + f"{extra.public_line}\n{tagged.public_line}\n".encode())
    (node.inside(node.home) / ".ssh" / "authorized_keys2").write_text(second.public_line + "\n")
    node.own(node.inside(node.home) / ".ssh" / "authorized_keys2")
    content = node.keys()
    view = wait_for(subnet, lambda n: n.drift == 3)
    assert "\x1b" not in "".join(view.drift_lines)
    assert {line.split()[0] for line in view.drift_lines} == {k.fingerprint for k in (extra, second, tagged)}
    assert node.keys() == content
    with pytest.raises(ControlRefused):
        act(subnet, "node.remove_key", node_id=view.id, fingerprint=second.fingerprint)
    assert act(subnet, "node.accept_keys", node_id=view.id, fingerprint=tagged.fingerprint)["accepted"]
    act(subnet, "node.remove_key", node_id=view.id, fingerprint=extra.fingerprint)
    assert node.keys() == content.replace(extra.public_line.encode() + b"\n", b"")
    view = wait_for(subnet, lambda n: n.drift == 1)
    for key in (ClientKey.from_file(subnet.root / "node_key"), OPERATOR_KEY):
        with pytest.raises(ControlRefused):
            act(subnet, "node.remove_key", node_id=view.id, fingerprint=key.fingerprint)
    subnet.stop()
    start(subnet)
    assert wait_for(subnet, lambda n: n.drift == 1).drift_lines[0].startswith(second.fingerprint)


def test_leftovers_are_listed_with_their_validator_and_removed_on_the_operators_word(
    sshd_nodes: Nodes, subnets: Subnets
) -> None:
    """What an earlier miner left stays until somebody says so; everything else stays in any case."""
    subnet = subnets([sshd_nodes()])
    node, validator = subnet.nodes[0], subnet.validators[1]
    left = [ClientKey.generate(f"validator-{validator.hotkey}"), ClientKey.generate("validator-validator")]
    before = node.keys()
    node.authorize(before + "".join(k.public_line + "\n" for k in left).encode())
    start(subnet)
    view = wait_for(subnet, lambda n: n.leftovers == 2)
    lines = act(subnet, "node.inventory", node_id=view.id)["lines"]
    assert [(e["holder"], e["fingerprint"]) for e in lines if e["kind"] == "leftover"] == [
        (k.comment, k.fingerprint) for k in left
    ]
    assert act(subnet, "node.adopt_leftovers", node_id=view.id) == {"removed": 2}
    assert node.keys() == before


def test_the_inventory_names_every_key_its_holder_and_its_times(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """The audit verb prints for every node which keys open it, whose, since when and until when."""
    subnet = subnets([sshd_nodes(), sshd_nodes()])
    start(subnet)
    validator = subnet.validators[0]
    asyncio.run(subnet.discover(validator, "B"))
    printed = subprocess.run(
        [sys.executable, "-m", "basilica_tui", "keys", "audit", "--json", "--socket", str(subnet.socket)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert printed.returncode == 0, printed.stderr
    for node in json.loads(printed.stdout)["nodes"]:
        by_kind = {line["kind"]: line for line in node["lines"]}
        assert set(by_kind) == {"operator", "own", "grant"}
        grant = by_kind["grant"]
        assert grant["holder"] == f"validator-{validator.hotkey}" and grant["fingerprint"] == validator.key.fingerprint
        assert grant["since"] <= time.time() < grant["until"] and grant["wrapped"]
        assert by_kind["operator"]["comment"].endswith("validator- in it")
        assert by_kind["operator"]["since"] <= time.time() and by_kind["operator"]["until"] is None
    text = subprocess.run(
        [sys.executable, "-m", "basilica_tui", "keys", "audit", "--socket", str(subnet.socket)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert validator.key.fingerprint in text.stdout and "proved" in text.stdout


def test_a_dead_node_does_not_keep_the_audit_from_the_others(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """A node that does not answer is named with its reason, and the verb's status says that something is missing."""
    subnet = subnets([sshd_nodes(), sshd_nodes()])
    start(subnet)
    wait_for(subnet, lambda n: n.expiry_enforced != "")
    subnet.nodes[1].stop()
    printed = subprocess.run(
        [sys.executable, "-m", "basilica_tui", "keys", "audit", "--json", "--socket", str(subnet.socket)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    nodes = json.loads(printed.stdout)["nodes"]
    assert printed.returncode == 1
    assert sorted(bool(node["error"]) for node in nodes) == [False, True]


def test_the_node_key_is_rotated_everywhere(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """Every node takes the new key in the old one's place; a node that is down follows when it is back."""
    subnet = subnets([sshd_nodes(), sshd_nodes(), sshd_nodes()])
    path = subnet.root / "node_key"
    old = ClientKey.from_file(path)
    start(subnet)
    wait_for(subnet, lambda n: n.expiry_enforced != "")
    down = subnet.nodes[2]
    down.stop()
    with_options = subnet.nodes[1]
    line = old.public_line
    with_options.authorize(
        with_options.keys().replace(line.encode(), b'no-x11-forwarding,from="127.0.0.0/8" ' + line.encode())
    )
    result = act(subnet, "node_key.rotate")
    new = ClientKey.from_file(path)
    assert new.fingerprint == result["fingerprint"] != old.fingerprint
    assert (
        len(result["pending"]) == 1
        and ClientKey.from_file(path.with_name("node_key.old")).fingerprint == old.fingerprint
    )
    assert subnet.nodes[0].keys().decode() == operator_line() + new.public_line + "\n"
    assert with_options.keys().decode() == operator_line() + f'no-x11-forwarding,from="127.0.0.0/8" {new.public_line}\n'
    assert "waiting" in engine_of(asyncio.run(subnet.snapshot())).node_key_rotation
    down.start()
    subnet.kill()
    start(subnet)
    asyncio.run(
        subnet.until(lambda s: engine_of(s).node_key_rotation == "" and not path.with_name("node_key.old").exists())
    )
    # A slow machine may look at the node a second time, with lines of its own for that long.
    rotated = operator_line() + new.public_line + "\n"
    asyncio.run(subnet.until(lambda _: down.keys().decode() == rotated))
    assert (path.with_name("node_key.pub")).read_text() == new.public_line + "\n"
    assert ssh_login(subnet.nodes[0], path).stdout == "in\n"
    assert len(asyncio.run(subnet.discover(subnet.validators[0])).nodes) == 3


@pytest.mark.parametrize("step", ["started", "deployed", "switched", "cleaned"])
def test_a_rotation_killed_at_any_step_is_finished_by_the_next_start(
    sshd_nodes: Nodes, subnets: Subnets, step: str
) -> None:
    """Killed right after each step: the engine always finds a key that opens the node, and ends with one line."""
    subnet = subnets([sshd_nodes()])
    path = subnet.root / "node_key"
    old = ClientKey.from_file(path)
    subnet.start(die_at=f"node_key.rotated:{step}")
    wait_for(subnet, lambda n: n.expiry_enforced != "")
    with pytest.raises(Exception):  # noqa: B017 - whatever the call ends with, the engine is gone
        act(subnet, "node_key.rotate")
    assert subnet.wait_dead() == -9
    start(subnet)
    deadline = time.monotonic() + 100
    old_file = path.with_name("node_key.old")

    def is_done() -> bool:
        is_new = ClientKey.from_file(path).fingerprint != old.fingerprint
        return is_new and len(subnet.nodes[0].keys().splitlines()) == 2 and not old_file.exists()

    while not is_done():
        assert time.monotonic() < deadline, subnet.log()[-3000:]
        time.sleep(0.2)
    new = ClientKey.from_file(path)
    assert new.fingerprint != old.fingerprint
    assert subnet.nodes[0].keys().decode() == operator_line() + new.public_line + "\n"
    assert not path.with_name("node_key.new").exists()
    assert ssh_login(subnet.nodes[0], path).stdout == "in\n"


def test_whoever_leaves_a_rotation_is_told_that_it_goes_on(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """Ctrl-C ends the command with 130, not the engine's change of key; --status says how far that is."""
    subnet = subnets([sshd_nodes(), sshd_nodes()])
    path, silenced = subnet.root / "node_key", subnet.nodes[1]
    old = ClientKey.from_file(path)
    start(subnet)
    wait_for(subnet, lambda n: n.expiry_enforced != "")
    silenced.stop()
    command = [sys.executable, "-u", "-m", "basilica_tui", "keys", "rotate", "--socket", str(subnet.socket)]
    with socket.create_server(("127.0.0.1", silenced.port)):
        with subprocess.Popen([*command, "--yes"], stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            while ": deployed" not in process.stderr.readline():
                pass
            process.send_signal(signal.SIGINT)
            told = process.communicate(timeout=60)[1]
        assert process.returncode == 130, told
        assert "the engine goes on" in told and "keys rotate --status" in told
        asyncio.run(subnet.until(lambda _: ClientKey.from_file(path).fingerprint != old.fingerprint))
        asyncio.run(subnet.until(lambda s: engine_of(s).node_key_rotation.startswith("waiting")))
        status = subprocess.run([*command, "--status"], capture_output=True, text=True, timeout=60, check=False)
        assert (
            status.returncode,
            status.stdout.count("it waits for 1 node, which keeps the former key until it answers"),
        ) == (1, 1), status
    silenced.start()
    subnet.kill()
    start(subnet)
    asyncio.run(subnet.until(lambda s: engine_of(s).node_key_rotation == ""))
    status = subprocess.run([*command, "--status"], capture_output=True, text=True, timeout=60, check=False)
    assert (status.returncode, status.stdout) == (0, "no change of key is going on\n")


def test_revoke_on_exit_may_be_asked_for_at_the_start(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """The daemon's flag takes every key away at a clean stop, whatever the file says."""
    subnet = subnets([sshd_nodes()])
    subnet.start(flags=("--revoke-on-exit",))
    asyncio.run(subnet.until(lambda s: engine_of(s).assigned_hotkey != ""))
    asyncio.run(subnet.discover(subnet.validators[0]))
    assert len(our_lines(subnet.nodes[0])) == 1
    assert subnet.stop() == 0
    assert our_lines(subnet.nodes[0]) == []

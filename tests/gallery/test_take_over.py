"""The deployed miner under systemd: stopped for good, taken over, and put back where that fails."""

from __future__ import annotations

import json
import sys

import pytest

from tests.gallery.booted import (
    CONFIG,
    MARKS,
    UNIT,
    doctor,
    fixed,
    owners,
    result,
    start_old_miner,
    state_of_old,
    uninstall,
)  # fmt: skip
from tests.support.booted import BootedHost

pytestmark = [*MARKS, pytest.mark.usefixtures("deployed_miner")]

LEFT_KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIBrK0VYbbPGXkrVb2gtU3pI0Ms4kT0cpVnQ9QG3bqYyN"
LEFT_BY = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"


def test_the_deployed_miner_is_stopped_for_good(host: BootedHost) -> None:
    """It starts at the next boot: the fix disables it; it runs and holds the port: it is stopped and stays stopped."""
    start_old_miner(host)
    host.shell("systemctl stop basilica-miner")
    found = result(doctor(host, "--scope", "host"), "host.old_miner")
    assert (found["cause"], found["fixes"][:1]) == ("enabled", ["host.stop_old_miner"])

    after = doctor(host, "--scope", "host", "--fix", "--yes")

    assert fixed(after, "host.stop_old_miner")["ending"] == "repaired", after["fixes"]
    assert host.run("systemctl", "is-enabled", "basilica-miner", check=False).stdout.strip() == "disabled"


def test_the_deployed_miner_is_taken_over(host: BootedHost) -> None:
    """It runs and holds the door's port: its set-up is read, it is stopped for good, and this engine serves its nodes.

    Nothing is lost: ids and key of the nodes, its own file, the configuration of before, keys that it left on a node.
    """
    host.shell(f"cp {CONFIG} /root/before.toml")
    port = start_old_miner(host)
    host.shell(f"echo 'ssh-ed25519 {LEFT_KEY} validator-{LEFT_BY}' >>/home/gpu/.ssh/authorized_keys")
    before = doctor(host, "--scope", "host")
    found = result(before, "host.ports")
    assert (found["cause"], found["fixes"][0]) == ("deployed_miner", "host.take_over")
    assert "basilica-miner" in " ".join(found["evidence"])
    assert result(before, "host.old_miner")["cause"] == "running"

    after = doctor(host, "--scope", "host", "--fix", "--yes")

    done = fixed(after, "host.take_over")
    assert done["ending"] == "repaired", done["message"]
    assert host.run("systemctl", "is-active", UNIT).stdout.strip() == "active"
    assert host.run("systemctl", "is-enabled", UNIT).stdout.strip() == "enabled"
    assert state_of_old(host) == ("inactive", "disabled")
    main = host.run("systemctl", "show", "-P", "MainPID", UNIT).stdout.strip()
    assert f"pid={main}," in host.shell(f"ss -ltnpH 'sport = :{port}'")
    text = host.shell(f"cat {CONFIG}")
    assert 'wallet_path = "/root/.bittensor/wallets"' in text
    assert 'miner_node_key_path = "/opt/basilica/keys/node_key"' in text
    assert "gpu" in text
    host.shell(f"cmp {CONFIG}.before-take-over /root/before.toml; ls {CONFIG}.bak-*")
    host.shell("cmp /opt/basilica/config/miner.toml /root/old.toml")
    host.shell("grep -q host.take_over /opt/basilica/data/*.jsonl /home/miner/basilica/data/*.jsonl")
    left = result(doctor(host, "--scope", "node"), "node.leftovers")
    assert (left["cause"], left["fixes"]) == ("keys", ["node.remove_leftovers"])
    assert LEFT_KEY in host.shell("cat /home/gpu/.ssh/authorized_keys")
    host.shell(f"cp -p {CONFIG}.before-take-over {CONFIG}")
    first = host.shell(f"sha256sum <{CONFIG}.before-take-over")

    start_old_miner(host)
    host.shell(f"echo '# changed meanwhile' >>{CONFIG}; cp {CONFIG} /root/second.toml")
    again = doctor(host, "--scope", "host", "--fix", "--yes")
    assert fixed(again, "host.take_over")["ending"] == "repaired", again["fixes"]
    assert host.shell(f"sha256sum <{CONFIG}.before-take-over") == first
    host.shell(f"cmp {CONFIG}.before-take-over-2 /root/second.toml; cp -p {CONFIG}.before-take-over {CONFIG}")


def test_a_take_over_that_fails_is_taken_back(host: BootedHost) -> None:
    """The new engine cannot start (its hotkey is no key): the deployed miner runs again and starts at boot, the
    configuration is what it was, and no unit of ours is left to fight with it. Nothing has another owner than before.
    """
    start_old_miner(host)
    uninstall(host)
    host.shell(f"cp {CONFIG} /root/before.toml; echo broken >/root/.bittensor/wallets/miner/hotkeys/default")
    host.shell(
        "chown -R miner: /root/.bittensor; chmod 711 /root; chmod 755 /opt/basilica; chown gpu: /opt/basilica/keys"
    )
    before = owners(host)
    assert "gpu gpu 755 /opt/basilica/keys\n" in before

    after = doctor(host, "--scope", "host", "--fix", "--yes")

    done = fixed(after, "host.take_over")
    assert (done["ending"], "taken back" in done["message"]) == ("failed", True), done
    assert state_of_old(host) == ("active", "enabled")
    host.shell(f"cmp {CONFIG} /root/before.toml")
    assert owners(host) == before
    assert "not-found" in host.shell(f"systemctl show -P LoadState {UNIT}")
    host.shell("[ ! -e /etc/systemd/system/basilica-tui@.service ]")


def test_a_take_over_that_fails_leaves_an_older_service_as_it_was(host: BootedHost) -> None:
    """Our unit was installed, enabled and active beside the deployed miner, with a setting of the operator's: after the
    failure its files are the same to the byte, and it serves again with its own configuration."""
    port = start_old_miner(host)
    host.shell(f"sed -i 's/^axon_port = .*/axon_port = {port + 7}/; s/^port = {port}$/port = {port + 7}/' {CONFIG}")
    host.run(sys.executable, "-m", "basilica_tui", "service", "install", "--config", CONFIG, "--yes", timeout_s=400)
    drop_in = f"/etc/systemd/system/{UNIT}.d/10-this-host.conf"
    host.shell(f"echo '# by hand' >>{drop_in}; chmod 640 {drop_in}; chgrp gpu {drop_in}; systemctl daemon-reload")
    host.shell(f"cp {CONFIG} /root/before.toml; cp -p {drop_in} /root/drop-in")
    host.shell("echo broken >/root/.bittensor/wallets/miner/hotkeys/default")
    before = owners(host)
    assert host.run("systemctl", "is-active", UNIT).stdout.strip() == "active"

    after = doctor(host, "--scope", "host", "--fix", "--yes")

    done = fixed(after, "host.take_over")
    assert (done["ending"], "taken back" in done["message"]) == ("failed", True), done
    assert state_of_old(host) == ("active", "enabled")
    host.shell(f"cmp {CONFIG} /root/before.toml; cmp {drop_in} /root/drop-in")
    assert host.shell(f"stat -c '%U %G %a' {drop_in}") == "root gpu 640\n"
    assert host.run("systemctl", "is-active", UNIT).stdout.strip() == "active"
    assert host.run("systemctl", "is-enabled", UNIT).stdout.strip() == "enabled"
    assert owners(host) == before


def test_a_process_of_the_miner_s_name_elsewhere_starts_no_unit(host: BootedHost) -> None:
    """The unit is enabled and stopped, and somebody started the program by hand: it is named, nothing is done."""
    port = start_old_miner(host)
    host.shell("systemctl stop basilica-miner")
    start = host.shell("sed -n 's/^ExecStart=//p' /etc/systemd/system/basilica-miner.service").strip()
    host.shell(
        f"systemd-run --quiet --scope --unit by-hand sh -c 'PYTHONHOME={sys.base_prefix} {start} >/dev/null 2>&1 &'"
    )
    host.until(f"ss -ltn | grep -q ':{port} '", "the program listens")
    try:
        after = doctor(host, "--scope", "host", "--fix", "--yes")
    finally:
        host.shell("systemctl stop by-hand.scope")

    assert result(after, "host.ports")["cause"] == "deployed_miner"
    assert not [one for one in after["fixes"] if one["fix"] in ("host.take_over", "host.stop_old_miner")], after[
        "fixes"
    ]
    assert state_of_old(host) == ("inactive", "enabled")


def test_the_deployed_miner_s_own_file_stays_as_it_is(host: BootedHost) -> None:
    """The doctor looked at that very file: the new one is written beside it, and the service runs with it."""
    start_old_miner(host)
    old = "/opt/basilica/config/miner.toml"
    command = (sys.executable, "-m", "basilica_tui", "doctor", "--json", "--config", old, "--scope", "host")

    done = host.run(*command, "--fix", "--yes", check=False, timeout_s=400)

    assert fixed(json.loads(done.stdout), "host.take_over")["ending"] == "repaired", done.stdout
    host.shell(f"cmp {old} /root/old.toml")
    assert "basilica-tui-miner.toml" in host.shell(f"systemctl cat {UNIT}")
    assert host.run("systemctl", "is-active", UNIT).stdout.strip() == "active"
    assert state_of_old(host) == ("inactive", "disabled")

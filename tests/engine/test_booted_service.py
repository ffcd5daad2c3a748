"""The unit under a systemd that runs: what ``service install`` makes serves, comes back and can be taken away again."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.booted import BootedHost, why_not_booted

ROOT = Path(__file__).parents[2]
UNIT = "basilica-tui@miner.service"
SOON_S = 5
"""The watchdog's time in this test; the unit's own is a minute."""

pytestmark = [pytest.mark.timeout(600), pytest.mark.skipif(bool(why_not_booted()), reason=why_not_booted())]


@pytest.fixture(scope="module")
def host() -> Iterator[BootedHost]:
    """A machine with sshd, and a miner's files below /home."""
    host = BootedHost()
    host.start()
    try:
        host.shell("systemctl start ssh")
        host.shell(f"cd {ROOT} && {sys.executable} -m tests.support.booted_miner")
        yield host
    finally:
        host.stop()


CONFIG = "/home/miner/basilica/miner.toml"


def basilica(host: BootedHost, *words: str, check: bool = True) -> str:
    """The program, inside, as an operator who is root."""
    return host.run(sys.executable, "-m", "basilica_tui", *words, check=check, timeout_s=400).stdout


def shown(host: BootedHost, *names: str) -> dict[str, str]:
    """Properties of the unit."""
    text = host.run("systemctl", "show", UNIT, "-p", ",".join(names)).stdout
    return dict(line.split("=", 1) for line in text.splitlines())


def log(host: BootedHost) -> str:
    """What the journal has of the engine."""
    return host.run("journalctl", "-u", UNIT, "-o", "cat", "--no-pager").stdout


def until_it_is_back(host: BootedHost, before: str) -> str:
    """Wait for another main process that has said READY; its PID."""
    script = f"""p=$(systemctl show {UNIT} -p MainPID --value)
[ "$p" != {before} ]; [ "$p" != 0 ]; systemctl is-active -q {UNIT}; echo "$p" """
    return host.until(script, "the engine is back").strip()


def test_install_makes_a_service_that_serves_despite_its_hardening(host: BootedHost) -> None:
    """Active by its own READY, as the hotkey's owner; wallet, key and data below /home are read, nothing else is."""
    done = basilica(host, "service", "install", "--config", CONFIG, "--yes")

    assert "done: run systemctl enable" in done
    state = shown(host, "ActiveState", "SubState", "StatusText", "Type", "User", "MainPID", "UnitFileState")
    assert (state["ActiveState"], state["SubState"], state["Type"]) == ("active", "running", "notify")
    assert (state["User"], state["UnitFileState"]) == ("miner", "enabled")
    assert state["StatusText"].startswith("miner on local/39")
    host.until(
        f"systemctl show {UNIT} -p StatusText --value | grep -q '1 of 1 nodes'", "the node is healthy by the key"
    )
    seen = host.run("ls", f"/proc/{state['MainPID']}/root/home/").stdout.split()
    assert seen == ["miner"]


def test_an_access_reaches_its_node_through_the_service(host: BootedHost) -> None:
    """A validator's discovery puts its key onto the node: the engine reads the hotkey and writes database and pins."""
    script = f"""
import asyncio, tomllib
from pathlib import Path
from engine.clock import SystemClock
from engine.identity.wallets import open_wallet
from engine.ssh.keys import ClientKey
from engine.validator.miner_client import MinerClient
root = Path({CONFIG!r}).parent
port = tomllib.loads(Path({CONFIG!r}).read_text())["validator_comms"]["port"]
validator = open_wallet(root / "wallets", "validator-0", "default").signer
miner = open_wallet(root / "wallets", "miner", "default").signer.hotkey
client = MinerClient(f"127.0.0.1:{{port}}", validator, miner, clock=SystemClock())
found = asyncio.run(client.discover(ClientKey.from_file(root / "validator-0.key").public_line))
print(len(found.nodes))
"""
    assert host.run(sys.executable, "-c", script).stdout.strip() == "1"
    assert "validator-" in host.shell("cat /home/gpu/.ssh/authorized_keys")


def test_the_doctor_finds_a_healthy_service(host: BootedHost) -> None:
    """Every check of the service is fine under a systemd that runs."""
    document = json.loads(basilica(host, "doctor", "--scope", "service", "--json", "--config", CONFIG, check=False))

    assert [one for one in document["results"] if one["verdict"] in ("warning", "failed")] == []
    fine = {one["check"] for one in document["results"] if one["verdict"] == "ok"}
    assert {"service.unit", "service.active", "service.restart", "service.hardening", "service.engine"} <= fine, (
        document["results"]
    )


def test_status_and_journal_say_how_it_stands(host: BootedHost) -> None:
    """``service status`` ends with 0, and the journal has the engine's lines as JSON."""
    status = host.run(sys.executable, "-m", "basilica_tui", "service", "status", "--config", CONFIG)

    assert status.returncode == 0
    assert "active" in status.stdout
    events = [json.loads(line).get("event") for line in log(host).splitlines() if line.startswith("{")]
    assert len(events) > 3


def test_the_running_unit_is_rated_safe(host: BootedHost) -> None:
    """systemd's own rating of the unit with its drop-in is at most 3.0."""
    text = host.run("systemd-analyze", "security", "--no-pager", UNIT).stdout
    rating = float(text.rsplit("exposure level for", 1)[1].split(":")[1].split()[0])
    assert rating <= 3.0


def test_a_killed_engine_comes_back(host: BootedHost) -> None:
    """SIGKILL: systemd starts it again, and it serves."""
    before = shown(host, "MainPID")["MainPID"]
    host.run("kill", "-KILL", before)
    until_it_is_back(host, before)
    assert int(shown(host, "NRestarts")["NRestarts"]) == 1


def test_an_engine_that_stands_still_is_started_again(host: BootedHost) -> None:
    """SIGSTOP: the watchdog misses its sign, kills it and starts another."""
    host.shell(
        f"mkdir -p /run/systemd/system/{UNIT}.d && printf '[Service]\\nWatchdogSec={SOON_S}\\n' "
        f">/run/systemd/system/{UNIT}.d/90-soon.conf && systemctl daemon-reload && systemctl restart {UNIT}"
    )
    before = shown(host, "MainPID")["MainPID"]
    host.run("kill", "-STOP", before)
    until_it_is_back(host, before)
    assert "Watchdog timeout" in log(host)


def test_reload_takes_the_configuration_again(host: BootedHost) -> None:
    """``systemctl reload`` waits until the engine says READY again, with the same process."""
    before = shown(host, "MainPID")["MainPID"]
    host.run("systemctl", "reload", UNIT)
    assert shown(host, "MainPID", "ActiveState") == {"MainPID": before, "ActiveState": "active"}


def test_uninstall_leaves_nothing_but_the_operators_files(host: BootedHost) -> None:
    """The service is gone and stays gone; configuration, wallet and data are where they were."""
    basilica(host, "service", "uninstall", "--config", CONFIG, "--yes")

    assert shown(host, "ActiveState", "LoadState")["ActiveState"] == "inactive"
    assert host.shell("find /etc/systemd/system -name '*basilica*'") == ""
    assert host.shell("ls /home/miner/basilica").split() >= ["chain.db", "data", "miner.toml"]
    status = host.run(sys.executable, "-m", "basilica_tui", "service", "status", "--config", CONFIG, check=False)
    assert status.returncode == 4


def as_miner(host: BootedHost, *words: str, check: bool = True) -> str:
    """The program as the miner's own user, who has a systemd of its own and no root."""
    number = host.shell("id -u miner").strip()
    home = ("env", "HOME=/home/miner", f"XDG_RUNTIME_DIR=/run/user/{number}")
    return host.run("runuser", "-u", "miner", "--", *home, *words, check=check, timeout_s=400).stdout


def test_a_user_s_own_service_serves_without_root(host: BootedHost) -> None:
    """Installed with --user: active by its own READY, enabled, found fine by the doctor, stopped and started by it."""
    # The program of these tests lies below /root, which that user may not enter otherwise.
    host.shell("chmod 711 /root; systemctl start user@$(id -u miner).service")
    program = (sys.executable, "-m", "basilica_tui")
    show = ("systemctl", "--user", "show", UNIT, "-p", "ActiveState,UnitFileState,StatusText,WatchdogUSec")

    done = as_miner(host, *program, "service", "install", "--user", "--config", CONFIG, "--yes")

    assert "loginctl enable-linger" in done
    state = dict(line.split("=", 1) for line in as_miner(host, *show).splitlines())
    assert (state["ActiveState"], state["UnitFileState"], state["WatchdogUSec"]) == ("active", "enabled", "1min")
    assert state["StatusText"].startswith("miner on local/39")

    doctor = (*program, "doctor", "--scope", "service", "--json", "--config", CONFIG)

    def judged() -> dict[str, tuple[str, str]]:
        document = json.loads(as_miner(host, *doctor, check=False))
        return {one["check"]: (one["verdict"], one["cause"]) for one in document["results"]}

    found = judged()
    assert {found[f"service.{name}"][0] for name in ("unit", "active", "restart", "hardening", "engine")} == {"ok"}
    as_miner(host, "systemctl", "--user", "stop", UNIT)
    assert judged()["service.active"] == ("failed", "stopped")
    after = json.loads(as_miner(host, *doctor, "--fix", "--yes", check=False))
    assert [(one["fix"], one["ending"]) for one in after["fixes"]] == [("service.start", "repaired")], after["fixes"]
    assert "ActiveState=active" in as_miner(host, *show)

    as_miner(host, *program, "service", "uninstall", "--user", "--config", CONFIG, "--yes")
    assert host.shell("find /home/miner/.config/systemd -name '*basilica*'") == ""

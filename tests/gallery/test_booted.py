"""Fixes that need a whole machine: packages, Docker, the clock's service, systemd units, the deployed miner.

The doctor's command runs inside a machine that boots its own systemd; the node is that machine's own sshd.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.booted import BootedHost, why_not_booted

ROOT = Path(__file__).parents[2]
CONFIG = "/home/miner/basilica/miner.toml"
UNIT = "basilica-tui@miner.service"
# Packages are fetched while there is still a network; apt finds them when the fix asks for them. Compose is there
# already: what apt installs makes it forget what it has fetched.
FETCH = (
    "rm -f usr/local/bin/docker; "
    'chroot . sh -ec "export DEBIAN_FRONTEND=noninteractive; apt-get update -q; '
    "apt-get install -y -q --no-install-recommends docker-compose; "
    "apt-get install -y -q --no-install-recommends --download-only "
    'docker.io chrony ca-certificates curl gnupg; touch /packages-are-here" >/dev/null 2>&1 </dev/null || :'
)

pytestmark = [
    pytest.mark.sshd,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(why_not_booted()), reason=why_not_booted()),
]


@pytest.fixture(scope="module")
def host() -> Iterator[BootedHost]:
    """A machine that is miner's host and node in one."""
    host = BootedHost(before=FETCH)
    host.start()
    try:
        host.shell("systemctl start ssh")
        host.shell(f"cd {ROOT} && {sys.executable} -m tests.support.booted_miner")
        yield host
    finally:
        host.stop()


@pytest.fixture
def packages(host: BootedHost) -> None:
    """Skips where Debian's packages could not be fetched."""
    if not (host.root / "packages-are-here").exists():
        pytest.skip("Debian's packages cannot be reached from here")


def doctor(host: BootedHost, *words: str) -> dict[str, Any]:
    """``doctor --json`` with root's own login on the node."""
    command = (sys.executable, "-m", "basilica_tui", "doctor", "--json", "--config", CONFIG, "--admin", "root", *words)
    done = host.run(*command, check=False, timeout_s=400)
    assert done.stdout.startswith("{"), done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def result(document: dict[str, Any], check: str) -> dict[str, Any]:
    """One check's result."""
    found: dict[str, Any] = next(one for one in document["results"] if one["check"] == check)
    return found


def fixed(document: dict[str, Any], fix: str) -> dict[str, Any]:
    """How one fix ended."""
    found: dict[str, Any] | None = next((one for one in document["fixes"] if one["fix"] == fix), None)
    assert found is not None, document["fixes"]
    return found


def test_docker_is_installed_and_used(host: BootedHost, packages: None) -> None:
    """No Docker: the distribution's is installed, a real daemon answers, and the miner's account reaches it."""
    assert result(doctor(host, "--scope", "node"), "node.docker")["cause"] == "absent"

    after = doctor(host, "--scope", "node", "--fix", "--yes")

    assert fixed(after, "node.install_docker")["ending"] == "repaired", after["fixes"]
    assert result(after, "node.docker")["verdict"] == "ok"
    assert "Server" in host.run("runuser", "-u", "gpu", "--", "docker", "version").stdout


def test_the_service_is_installed_by_the_doctor(host: BootedHost) -> None:
    """No unit: the fix installs and starts it; the engine is then active by its own word."""
    assert result(doctor(host, "--scope", "service"), "service.unit")["cause"] == "absent"

    after = doctor(host, "--scope", "service", "--fix", "--yes")

    assert fixed(after, "service.install")["ending"] == "repaired", after["fixes"]
    assert host.run("systemctl", "is-active", UNIT).stdout.strip() == "active"


def test_a_stopped_service_is_started_by_the_doctor(host: BootedHost) -> None:
    """Stopped, then not enabled: each is named, and each time it runs and starts at boot afterwards."""
    host.shell(f"systemctl is-enabled {UNIT} && systemctl stop {UNIT}")
    assert result(doctor(host, "--scope", "service"), "service.active")["cause"] == "stopped"
    after = doctor(host, "--scope", "service", "--fix", "--yes")
    assert fixed(after, "service.start")["ending"] == "repaired", after["fixes"]

    host.shell(f"systemctl disable {UNIT}")
    assert result(doctor(host, "--scope", "service"), "service.active")["cause"] == "not_enabled"
    after = doctor(host, "--scope", "service", "--fix", "--yes")

    assert fixed(after, "service.start")["ending"] == "repaired", after["fixes"]
    assert host.run("systemctl", "is-enabled", UNIT).stdout.strip() == "enabled"


WRONG_CLOCK = """set -e
timedatectl set-ntp false
printf 'SetEnv LD_PRELOAD=%s FAKETIME=+10m\\n' "$(find /usr/lib -name libfaketime.so.1 | head -n 1)" \\
  >/etc/ssh/sshd_config.d/late.conf
systemctl reload ssh
"""


def test_the_clock_is_kept_by_ntp_and_the_fix_taken_back_where_it_does_not_help(host: BootedHost) -> None:
    """A node ten minutes ahead: NTP is switched on for real, the clock is still wrong, so NTP is off again.

    The wrong clock is a library in front of the account's programs: the machine's own clock is everybody's.
    """
    host.shell(WRONG_CLOCK)
    try:
        assert result(doctor(host, "--scope", "node"), "node.clock")["cause"] == "ahead"
        after = doctor(host, "--scope", "node", "--fix", "--yes")
    finally:
        host.shell("rm /etc/ssh/sshd_config.d/late.conf; systemctl reload ssh")

    done = fixed(after, "node.ntp")
    assert (done["ending"], "taken back" in done["message"]) == ("not_helped", True)
    assert host.run("timedatectl", "show", "-p", "NTP", "--value").stdout.strip() == "no"


TOOLKIT = """set -e
# A stand-in for NVIDIA's package server: the same addresses and formats, a key and a certificate of its own.
cd "$(mktemp -d)"
gpg --batch --quiet --passphrase '' --quick-gen-key toolkit@example.org rsa3072 sign 0
mkdir -p site/libnvidia-container/stable/deb/amd64 tree/usr/bin tree/DEBIAN
cp {stand_in}/nvidia-ctk tree/usr/bin/nvidia-ctk && chmod 755 tree/usr/bin/nvidia-ctk
printf 'Package: nvidia-container-toolkit\nVersion: 1.0\nArchitecture: all\nMaintainer: t <t@example.org>\n\
Description: stand-in\n' >tree/DEBIAN/control
d=site/libnvidia-container/stable/deb/amd64
dpkg-deb -b --root-owner-group tree $d/toolkit.deb >/dev/null
cd $d
sum() {{ sha256sum "$1" | cut -d' ' -f1; }}
{{ cat "$OLDPWD/tree/DEBIAN/control"; echo "Filename: ./toolkit.deb"; echo "Size: $(stat -c %s toolkit.deb)"
  echo "SHA256: $(sum toolkit.deb)"; }} >Packages
{{ echo "Date: $(date -Ru)"; echo SHA256:; echo " $(sum Packages) $(stat -c %s Packages) Packages"; }} >Release
gpg --batch --quiet --clearsign -o InRelease Release
cd "$OLDPWD"
gpg --armor --export toolkit@example.org >site/libnvidia-container/gpgkey
echo 'deb https://nvidia.github.io/libnvidia-container/stable/deb/$(ARCH) /' \
  >site/libnvidia-container/stable/deb/nvidia-container-toolkit.list
openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out /usr/local/share/ca-certificates/stand-in.crt \
  -days 2 -subj /CN=nvidia.github.io -addext subjectAltName=DNS:nvidia.github.io 2>/dev/null
update-ca-certificates >/dev/null 2>&1
echo 127.0.0.1 nvidia.github.io >>/etc/hosts
cat >serve.py <<END
import functools, http.server, ssl
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory="site")
server = http.server.ThreadingHTTPServer(("127.0.0.1", 443), handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/usr/local/share/ca-certificates/stand-in.crt", "key.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
END
systemd-run --quiet --unit toolkit-site --working-directory="$PWD" {python} "$PWD/serve.py"
"""


def test_the_toolkit_is_installed_from_its_packages(host: BootedHost, packages: None) -> None:
    """Without NVIDIA's site the half-made change is taken back; with it apt checks the signature and Docker knows the
    runtime. The packages are a stand-in's: NVIDIA's cannot be reached."""
    source = "/etc/apt/sources.list.d/nvidia-container-toolkit.list"
    if host.run("sh", "-c", "command -v docker", check=False).returncode:
        pytest.skip("Docker was not installed before")
    after = doctor(host, "--scope", "node", "--fix", "--yes")
    done = fixed(after, "node.install_toolkit")
    assert (done["ending"], "taken back" in done["message"]) == ("failed", True), done
    assert not (host.root / source.lstrip("/")).exists()

    host.shell(TOOLKIT.format(stand_in=ROOT / "tests/gallery/stand_in", python=sys.executable))
    assert result(doctor(host, "--scope", "node"), "node.nvidia_runtime")["cause"] == "no_toolkit"
    after = doctor(host, "--scope", "node", "--fix", "--yes")

    assert fixed(after, "node.install_toolkit")["ending"] == "repaired", after["fixes"]
    assert "nvidia" in host.run("docker", "info", "--format", "{{json .Runtimes}}").stdout


OLD_MINER = """set -e
mkdir -p /opt/basilica/config /opt/basilica/bin /opt/basilica/keys /root/.bittensor/wallets
cp /home/miner/basilica/node_key /opt/basilica/keys/node_key
rm -rf /root/.bittensor/wallets/miner
cp -r /home/miner/basilica/wallets/miner /root/.bittensor/wallets/
mkdir -p /opt/basilica/chain
cp /home/miner/basilica/chain.db* /opt/basilica/chain/
chown -R root: /opt/basilica /root/.bittensor
cat >/opt/basilica/config/miner.toml <<END
[bittensor]
wallet_name = "miner"
hotkey_name = "default"
network = "local"
chain_endpoint = "file:/opt/basilica/chain/chain.db"
netuid = 39
external_ip = "127.0.0.1"
axon_port = {port}
[validator_comms]
host = "127.0.0.1"
port = {port}
[ssh_session]
miner_node_key_path = "/opt/basilica/keys/node_key"
[node_management]
nodes = [ {{ host = "127.0.0.1", port = 22, username = "gpu" }} ]
END
cp {python} /opt/basilica/bin/basilica-miner
cat >/opt/basilica/bin/hold <<END
import socket, sys, time
door = socket.create_server(("127.0.0.1", int(sys.argv[1])))
time.sleep(9999)
END
cat >/etc/systemd/system/basilica-miner.service <<END
[Service]
Environment=PYTHONHOME={home}
WorkingDirectory=/opt/basilica
ExecStart=/opt/basilica/bin/basilica-miner /opt/basilica/bin/hold {port} --config /opt/basilica/config/miner.toml
Restart=always
[Install]
WantedBy=multi-user.target
END
systemctl daemon-reload
systemctl enable --now basilica-miner
sleep 1
systemctl is-active basilica-miner
cp /opt/basilica/config/miner.toml /root/old.toml
"""
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


BOXED = """set -e
systemctl disable --now basilica-miner; rm /etc/systemd/system/basilica-miner.service; systemctl daemon-reload
systemctl start docker
tar -C "$(mktemp -d)" -c . | docker import --change 'ENTRYPOINT ["/opt/basilica/bin/basilica-miner"]' \
  --change 'WORKDIR /var/lib/basilica/miner' - ghcr.io/one-covenant/basilica/miner:latest >/dev/null
mkdir -p /srv/miner/config
sed 's#^miner_node_key_path.*#miner_node_key_path = "~/keys/node_key"#' /opt/basilica/config/miner.toml \
  >/srv/miner/config/miner.toml
sed -i 's/127.0.0.1/0.0.0.0/' /opt/basilica/bin/hold
cat >/srv/miner/compose.yaml <<END
version: "3.7"
services:
  miner:
    image: ghcr.io/one-covenant/basilica/miner:latest
    container_name: basilica-miner
    restart: always
    command: [/opt/basilica/bin/hold, "{port}", --config, /var/lib/basilica/miner/miner.toml]
    environment: {{ PYTHONHOME: {home}, RUST_LOG: debug }}
    ports: ["{port}:{port}"]
    volumes:
      - ./config/miner.toml:/var/lib/basilica/miner/miner.toml:ro
      - ~/.bittensor:/var/lib/basilica/miner/.bittensor:ro
      - /opt/basilica/keys:/var/lib/basilica/miner/keys:ro
      - /opt/basilica/bin:/opt/basilica/bin:ro
      - /usr:/usr:ro
      - /lib:/lib:ro
      - /lib64:/lib64:ro
      - {home}:{home}:ro
END
cd /srv/miner && docker-compose up -d 2>&1
"""


def start_boxed_miner(host: BootedHost) -> int:
    """The deployed miner in a container of a real Docker Engine, by compose, as its own guide has it."""
    port = start_old_miner(host)
    uninstall(host)
    host.shell(BOXED.format(port=port, home=sys.base_prefix), timeout_s=400)
    host.until(f"ss -ltn | grep -q ':{port} '", "the container's port is published")
    assert state_of_box(host) == "true always"
    return port


def state_of_box(host: BootedHost) -> str:
    """Whether the container runs, and its restart policy."""
    words = "{{.State.Running}} {{.HostConfig.RestartPolicy.Name}}"
    return host.run("docker", "inspect", "-f", words, "basilica-miner").stdout.strip()


def test_a_deployed_miner_in_a_container_that_cannot_be_replaced_runs_again(host: BootedHost, packages: None) -> None:
    """The new engine cannot start: the container runs again, under its own restart policy."""
    start_boxed_miner(host)
    host.shell(f"cp {CONFIG} /root/before.toml; echo broken >/root/.bittensor/wallets/miner/hotkeys/default")

    after = doctor(host, "--scope", "host", "--fix", "--yes")

    done = fixed(after, "host.take_over")
    assert (done["ending"], "taken back" in done["message"]) == ("failed", True), done
    host.until("docker ps --format '{{.Names}}' | grep -q '^basilica-miner$'", "the container runs")
    assert state_of_box(host) == "true always"
    host.shell(f"cmp {CONFIG} /root/before.toml; [ ! -e /etc/systemd/system/basilica-tui@.service ]")


def test_a_deployed_miner_in_a_container_is_taken_over(host: BootedHost, packages: None) -> None:
    """Its set-up is read through the container's mounts, it is stopped by compose, and Docker starts it no more: not
    even when Docker itself starts again."""
    port = start_boxed_miner(host)
    before = doctor(host, "--scope", "host")
    found = result(before, "host.ports")
    assert (found["cause"], found["fixes"][0]) == ("deployed_miner", "host.take_over"), found
    assert "container basilica-miner runs (restart: always)" in result(before, "host.old_miner")["evidence"]
    shown = host.run(
        sys.executable, "-m", "basilica_tui", "doctor", "--config", CONFIG, "--scope", "host", "--dry-run", check=False
    ).stdout
    assert "docker update --restart no basilica-miner" in shown
    assert "undo: docker-compose --project-directory /srv/miner --file /srv/miner/compose.yaml" in shown

    after = doctor(host, "--scope", "host", "--fix", "--yes")

    done = fixed(after, "host.take_over")
    assert done["ending"] == "repaired", done["message"]
    assert state_of_box(host) == "false no"
    host.shell("systemctl restart docker")
    assert state_of_box(host) == "false no"
    main = host.run("systemctl", "show", "-P", "MainPID", UNIT).stdout.strip()
    assert f"pid={main}," in host.shell(f"ss -ltnpH 'sport = :{port}'")
    text = host.shell(f"cat {CONFIG}")
    assert 'wallet_path = "/root/.bittensor/wallets"' in text
    assert 'miner_node_key_path = "/opt/basilica/keys/node_key"' in text
    assert "Taken over from /srv/miner/config/miner.toml" in text


def owners(host: BootedHost) -> str:
    """Owner, group and mode of every file of the deployed miner's and ours that an engine itself does not write."""
    places = "/opt/basilica /root/.bittensor /home/miner/basilica"
    return host.shell(
        f"find {places} -path '*/data/*' -prune -o ! -name '*.bak-*' -printf '%u %g %m %p\\n' | sort -k 4"
    )


def uninstall(host: BootedHost) -> None:
    """Our service is gone."""
    host.run(sys.executable, "-m", "basilica_tui", "service", "uninstall", "--config", CONFIG, "--yes")


def state_of_old(host: BootedHost) -> tuple[str, str]:
    """Whether the deployed miner's unit is active, and enabled."""
    words = (host.run("systemctl", verb, "basilica-miner", check=False) for verb in ("is-active", "is-enabled"))
    active, enabled = (done.stdout.strip() for done in words)
    return active, enabled


def start_old_miner(host: BootedHost) -> int:
    """The deployed miner's unit and files, with a program of that name which holds the door's port."""
    import tomllib

    port = int(tomllib.loads((host.root / CONFIG.lstrip("/")).read_text())["validator_comms"]["port"])
    python = str(Path(sys.executable).resolve())
    host.shell(f"systemctl disable --now {UNIT} basilica-miner 2>/dev/null || true")
    host.shell("docker rm -f basilica-miner >/dev/null 2>&1 || true")
    host.shell(OLD_MINER.format(port=port, python=python, home=sys.base_prefix))
    host.until(f"ss -ltn | grep -q ':{port} '", "the deployed miner listens")
    return port

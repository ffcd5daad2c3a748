"""The deployed miner in a container of a real Docker Engine: taken over, and put back where that fails."""

from __future__ import annotations

import sys

import pytest

from tests.gallery.booted import (
    CONFIG,
    FETCH,
    MARKS,
    UNIT,
    doctor,
    fixed,
    result,
    start_old_miner,
    uninstall,
)
from tests.support.booted import BootedHost

BEFORE = FETCH % "apt-get install -y -q --no-install-recommends docker.io docker-compose"

pytestmark = [*MARKS, pytest.mark.usefixtures("deployed_miner")]

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

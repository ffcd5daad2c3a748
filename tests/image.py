"""``python -m tests.image``: build the image from its Dockerfile and run the engine in it under compose.

No registry is asked: the base is a Debian made by ``debootstrap`` and imported under the name that the Dockerfile
uses, with the wheels of requirements.lock inside. A real Docker Engine runs in a machine that boots its own systemd
(``tests.support.booted``), without a network. Needs root, Debian's and Python's package servers, and some minutes.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from pathlib import Path

from tests.support.booted import BootedHost, why_not_booted

ROOT = Path(__file__).parents[1]
CONFIG = "/home/miner/basilica/miner.toml"
PREPARE = f"""
cp -L /etc/ssl/certs/ca-certificates.crt trusted.crt
echo 'exit 101' >usr/sbin/policy-rc.d; chmod +x usr/sbin/policy-rc.d
mount --rbind /proc proc; mount --rbind /dev dev
chroot . sh -euc 'export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -y -q --no-install-recommends docker.io docker-compose debootstrap
debootstrap --variant=minbase --include=python3,python3-venv,python3-pip,ca-certificates bookworm /base
cp /etc/resolv.conf /base/etc/resolv.conf
cp {ROOT}/requirements.lock /base/requirements.lock
cp /trusted.crt /base/trusted.crt
pip="pip download --quiet --cert /trusted.crt --dest /wheels"
chroot /base env -i PATH=/usr/bin:/bin $pip -r /requirements.lock hatchling
rm -rf /base/var/cache/apt /base/var/lib/apt/lists /base/requirements.lock /base/trusted.crt' </dev/null 1>&2
umount -lR proc dev; rm usr/sbin/policy-rc.d
"""
ASK_HEALTH = """import http.client
call = http.client.HTTPConnection("127.0.0.1", 8091, timeout=10)
call.request("GET", "/health")
print(call.getresponse().read().decode())"""
ONLY_V2 = "bind: { create_host_path: false }"
"""Compose 2 would else make what is missing, as root; Debian 12 has Compose 1, which refuses the word."""
COMPOSE = "/home/miner/compose/compose.yaml"


def base_name() -> str:
    """What the Dockerfile builds from."""
    found = re.search(r"^ARG BASE=(\S+)$", (ROOT / "deploy/docker/Dockerfile").read_text(), re.MULTILINE)
    assert found is not None
    return found[1].removeprefix("docker.io/library/")


def main() -> int:
    """Every step with its seconds; 0 when the engine in the container was healthy."""
    reason = why_not_booted()
    if reason:
        print(f"not checked: {reason}")
        return 3
    host = BootedHost(before=PREPARE, patience_s=1800)
    began = time.monotonic()

    def tell(words: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {words}", flush=True)

    try:
        host.start()
        tell("a machine with Docker and a base image's files")
        _build(host)
        size = host.shell("docker image ls basilica-tui:latest --format '{{.Size}}'").strip()
        tell(f"an image of {size}, built from {base_name()}")
        _check_compose_file(host)
        tell("deploy/docker/compose.yaml is valid")
        _serve(host)
        tell("the engine serves in its container: " + host.shell("docker ps --format '{{.Status}}'").strip())
        _examine(host)
        tell("the doctor finds the container fine: no unit is asked for beside it")
        _survive(host)
        tell("killed, it came back; stopped, it ended in order")
    finally:
        host.stop()
    return 0


def _build(host: BootedHost) -> None:
    host.shell(
        "mkdir -p /var/lib/docker; mount -t tmpfs tmpfs /var/lib/docker; systemctl start containerd docker",
        timeout_s=120,
    )
    host.shell(
        'tar -C /base -c . | docker import --change "ENV PATH=/usr/local/bin:/usr/bin:/bin PIP_NO_INDEX=1 '
        f'PIP_FIND_LINKS=/wheels" - {base_name()} >/dev/null',
        timeout_s=300,
    )
    version = host.shell(f"{sys.executable} -c 'from engine.version import __version__; print(__version__)'").strip()
    host.shell(
        f"cd {ROOT} && DOCKER_BUILDKIT=1 /usr/bin/docker build --network none -f deploy/docker/Dockerfile "
        f"-t basilica-tui -t basilica-tui:{version} .",
        timeout_s=900,
    )


def _check_compose_file(host: BootedHost) -> None:
    host.shell(f"WALLET_UID=1:1 docker-compose -f {ROOT}/deploy/docker/compose.yaml config --quiet")
    refused = host.run("docker-compose", "-f", f"{ROOT}/deploy/docker/compose.yaml", "config", "--quiet", check=False)
    assert refused.returncode, "without WALLET_UID it must be refused"


def _serve(host: BootedHost) -> None:
    host.shell(f"systemctl start ssh; cd {ROOT} && {sys.executable} -m tests.support.booted_miner")
    # The chain's file is one of a test's network; the engine needs it where it may write.
    host.shell(
        "cd /home/miner/basilica && mkdir -p data keys && mv chain.db* data/ && mv node_key* keys/ && "
        "chown -R miner: data keys && "
        "sed -i 's#basilica/chain.db#basilica/data/chain.db#; s#basilica/node_key#basilica/keys/node_key#' miner.toml"
    )
    host.shell(
        f"{sys.executable} -m basilica_tui service install --config {CONFIG} --compose {Path(COMPOSE).parent} "
        f"--no-start --yes && sed -i 's/, {ONLY_V2}//' {COMPOSE} && docker-compose -f {COMPOSE} config --quiet && "
        f"docker-compose -f {COMPOSE} up -d"
    )
    host.until("docker ps --format '{{.Status}}' | grep -q '(healthy)'", "the container is healthy", seconds=240)
    port = host.shell(f"sed -n 's/^axon_port = //p' {CONFIG}").strip()
    host.shell(f"ss -ltn | grep -q ':{port} '")
    name = host.shell("docker ps --format '{{.Names}}'").strip()
    owner = host.shell("id -u miner").strip()
    assert host.shell(f"docker exec {name} id -u").strip() == owner != "0", "it must not run as root"
    hotkey = host.shell("ls /home/miner/basilica/wallets/miner/hotkeys/default").strip()
    for file in (hotkey, CONFIG, "/usr/local/bin/x"):
        done = host.run("docker", "exec", name, "sh", "-c", f"echo >>{file}", check=False)
        assert done.returncode, f"{file} must be read-only in the container"
    host.until(f"{sys.executable} -c '{ASK_HEALTH}' | grep -q 'nodes\":\"ok'", "the node is healthy", seconds=60)


def _examine(host: BootedHost) -> None:
    done = host.run(
        sys.executable, "-m", "basilica_tui", "doctor", "--scope", "service", "--json", "--config", CONFIG, check=False
    )
    results = json.loads(done.stdout)["results"]
    verdicts = {one["check"]: one["verdict"] for one in results}
    for name in ("unit", "active", "restart", "health", "metrics"):
        assert verdicts[f"service.{name}"] == "ok", results
    assert not [one for one in results if one["verdict"] in ("warning", "failed")], results


def _survive(host: BootedHost) -> None:
    name = host.shell("docker ps --format '{{.Names}}'").strip()
    host.shell("kill -KILL $(pgrep -f -o 'basilica-tui --daemon')")
    host.until(
        f"[ $(docker inspect -f '{{{{.RestartCount}}}}' {name}) = 1 ]; docker ps --format '{{{{.Status}}}}' | "
        "grep -q '(healthy)'",
        "the container came back",
        seconds=240,
    )
    host.shell(f"docker-compose -f {COMPOSE} stop", timeout_s=90)
    status = host.shell(f"docker inspect -f '{{{{.State.ExitCode}}}}' {name}").strip()
    assert status in {"0", "143"}, f"it ended with {status}"


if __name__ == "__main__":
    assert shutil.which("nsenter"), "util-linux is not here"
    sys.exit(main())

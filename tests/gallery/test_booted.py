"""Fixes that need a whole machine: packages, Docker, the clock's service, systemd units."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from tests.gallery.booted import CONFIG, FETCH, MARKS, ROOT, UNIT, doctor, fixed, result
from tests.support.booted import BootedHost

BEFORE = FETCH % (
    "apt-get install -y -q --no-install-recommends --download-only docker.io chrony ca-certificates curl gnupg"
)

pytestmark = MARKS


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


def test_a_hotkey_that_root_has_copied_is_given_to_the_engine_s_user(host: BootedHost) -> None:
    """The engine's user may not read it: with sudo it is given over; without, the command is named and nothing done."""
    found = host.run("sh", "-c", "ls -d /home/miner/*/wallets/*/hotkeys/* /home/miner/.bittensor/wallets/*/hotkeys/*",
                     check=False).stdout.split()  # fmt: skip
    hotkey = next(one for one in found if "pub" not in one)
    host.shell(f"chmod o+x /root; chown root:root {hotkey}; rm -f /etc/sudoers.d/miner")  # Python may lie below /root

    def as_miner(*words: str) -> dict[str, Any]:
        command = ("doctor", "--json", "--config", CONFIG, "--scope", "wallet", *words)
        done = host.run("runuser", "-u", "miner", "--", sys.executable, "-m", "basilica_tui", *command, check=False)
        assert done.stdout.startswith("{"), done.stdout + done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    refused = as_miner("--fix", "--yes")
    assert result(refused, "wallet.access")["cause"] == "unreadable"
    assert fixed(refused, "wallet.own")["ending"] == "failed"
    assert "sudo" in fixed(refused, "wallet.own")["message"]

    host.shell("echo 'miner ALL=(root) NOPASSWD: /usr/bin/chown, /bin/chown' >/etc/sudoers.d/miner")
    after = as_miner("--fix", "--yes")
    host.shell("rm -f /etc/sudoers.d/miner; chmod o-x /root")
    assert fixed(after, "wallet.own")["ending"] == "repaired", after["fixes"]
    assert result(after, "wallet.key")["verdict"] == "ok"


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

"""Fixes of the host behind the account: Docker, the NVIDIA runtime, the clock."""

from __future__ import annotations

from engine.diagnostics.fixes.common import Case, Fix
from engine.diagnostics.plan import Step

_APT = """set -e
command -v apt-get >/dev/null 2>&1 || { echo 'this works on Debian and Ubuntu: here is no apt-get' >&2; exit 1; }
export DEBIAN_FRONTEND=noninteractive
fresh() { apt-get update -q || echo 'apt-get update failed: going on with the lists that are here' >&2; }
"""
"""``fresh``: one source that cannot be read, a vendor's with an expired key say, is no reason to install nothing."""
_RESTART_DOCKER = (
    "if [ -d /run/systemd/system ]; then systemctl enable docker && systemctl restart docker; "
    "else service docker restart; fi"
)


def _docker_group(case: Case) -> tuple[Step, ...]:
    script = f"""set -e
getent group docker >/dev/null || groupadd --system docker
usermod -aG docker {case.account}
echo "undo gpasswd -d {case.account} docker"
"""
    return (case.root_step("add the account to the group docker", script, f"gpasswd -d {case.target.username} docker"),)


def _docker_start(case: Case) -> tuple[Step, ...]:
    return (case.root_step("start Docker now and at every boot", f"{_RESTART_DOCKER}\n"),)


def _install_docker(case: Case) -> tuple[Step, ...]:
    script = f"""{_APT}fresh
apt-get install -y -q --no-install-recommends docker.io
echo "undo apt-get remove -y -q docker.io"
usermod -aG docker {case.account}
"""
    return (
        case.root_step(
            "install Docker from the distribution and let the account use it", script, "apt-get remove docker.io"
        ),
    )


_CONFIGURE = """set -e
f=/etc/docker/daemon.json
if [ -e "$f" ]; then cp -p "$f" "$f.before-basilica"; echo "undo cp -p $f.before-basilica $f"
else echo "undo rm -f $f"; fi
nvidia-ctk runtime configure --runtime=docker
"""


def _runtime(case: Case) -> tuple[Step, ...]:
    return (
        case.root_step("register the NVIDIA runtime with Docker", _CONFIGURE, "/etc/docker/daemon.json of before"),
        case.root_step("restart Docker", f"{_RESTART_DOCKER}\n"),
    )


_TOOLKIT = f"""{_APT}command -v curl >/dev/null 2>&1 && command -v gpg >/dev/null 2>&1 || {{
  fresh; apt-get install -y -q --no-install-recommends ca-certificates curl gnupg; }}
key=/usr/share/keyrings/nvidia-container-toolkit-keyring.gpg
list=/etc/apt/sources.list.d/nvidia-container-toolkit.list
site=https://nvidia.github.io/libnvidia-container
echo "undo apt-get remove -y -q nvidia-container-toolkit; rm -f $list $key"
curl -fsSL "$site/gpgkey" | gpg --dearmor --yes -o "$key"
curl -fsSL "$site/stable/deb/nvidia-container-toolkit.list" |
  sed "s#deb https://#deb [signed-by=$key] https://#" >"$list"
apt-get update -q
apt-get install -y -q nvidia-container-toolkit
"""


def _toolkit(case: Case) -> tuple[Step, ...]:
    install = case.root_step(
        "install the NVIDIA Container Toolkit from NVIDIA's own packages",
        _TOOLKIT,
        "the package and its source are removed",
    )
    return (install, *_runtime(case))


_TOOLS = f"""{_APT}fresh
for name in python3 coreutils; do
  dpkg-query -W -f '${{Status}}' "$name" 2>/dev/null | grep -q 'ok installed' && continue
  apt-get install -y -q --no-install-recommends "$name"
  echo "undo apt-get remove -y -q $name"
done
"""


def _install_tools(case: Case) -> tuple[Step, ...]:
    return (case.root_step("install what a full verification needs", _TOOLS, "apt-get remove what was installed"),)


_NTP = """set -e
if command -v timedatectl >/dev/null 2>&1 && [ -d /run/systemd/system ]; then
  if [ "$(timedatectl show -p CanNTP --value 2>/dev/null)" = no ]; then
    command -v apt-get >/dev/null 2>&1 || {
      echo 'no NTP program is here: install chrony or systemd-timesyncd' >&2; exit 1; }
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q; apt-get install -y -q --no-install-recommends systemd-timesyncd
    echo "undo apt-get remove -y -q systemd-timesyncd"
    systemctl try-restart systemd-timedated
  fi
  was=$(timedatectl show -p NTP --value 2>/dev/null || echo no)
  timedatectl set-ntp true
  [ "$was" = yes ] || echo "undo timedatectl set-ntp false"
  if systemctl is-active -q chrony || systemctl is-active -q chronyd; then chronyc makestep || true
  else systemctl try-restart systemd-timesyncd; fi
elif command -v chronyc >/dev/null 2>&1; then chronyc makestep
else echo 'neither systemd nor chrony is here: set the clock by hand' >&2; exit 1; fi
"""


def _ntp(case: Case) -> tuple[Step, ...]:
    return (case.root_step("keep the clock in time by NTP", _NTP, "timedatectl set-ntp false"),)


_RENTAL = "running containers end with the restart: not while the node is rented"

FIXES = (
    Fix(
        "node.docker_group",
        "let the account use Docker",
        _docker_group,
        "whoever may use Docker is root on the node; validators and renters get in by this account",
    ),
    Fix("node.docker_start", "start Docker", _docker_start, _RENTAL),
    Fix("node.install_docker", "install Docker", _install_docker),
    Fix("node.nvidia_runtime", "register the NVIDIA runtime with Docker", _runtime, _RENTAL),
    Fix("node.install_toolkit", "install the NVIDIA Container Toolkit", _toolkit, _RENTAL),
    Fix("node.install_tools", "install Python and coreutils", _install_tools),
    Fix("node.ntp", "keep the node's clock in time", _ntp),
)

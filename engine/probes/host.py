"""What a node has besides GPUs: its clock, Docker, disk and how its sshd is set up. One command, parsed here.

Everything is asked without root. A fact that the node did not tell is None or empty: "not known", never a default.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from engine.probes.gpu import clean, parse_cuda
from engine.ssh.pool import NodePool
from engine.ssh.target import NodeTarget

MAX_OUTPUT_BYTES = 256 * 1024
TOOL_LIMIT_S = 5
"""What each tool gets; the whole command gets ``probe_host``'s ``timeout_s``."""

_WORDS = (
    "passwordauthentication",
    "kbdinteractiveauthentication",
    "challengeresponseauthentication",
    "permitrootlogin",
    "maxstartups",
    "maxsessions",
    "allowtcpforwarding",
)
SCRIPT = f"""now() {{ printf 'basilica-now %s\\n' "$(date +%s.%N)"; }}
now
limit=; command -v timeout >/dev/null 2>&1 && limit='timeout {TOOL_LIMIT_S}'
echo 'basilica-section cuda'
command -v nvidia-smi >/dev/null 2>&1 && $limit nvidia-smi 2>/dev/null | head -n 12
echo 'basilica-section gpus'
command -v nvidia-smi >/dev/null 2>&1 && $limit nvidia-smi -L 2>/dev/null | head -n 128
echo 'basilica-section docker'
info=
if command -v docker >/dev/null 2>&1; then
  info=$($limit docker info --format '{{{{json .}}}}' 2>&1)
  status=$?
  printf '%s\\n' "$info" | head -c 131072
  printf '\\nbasilica-status %s\\n' "$status"
else
  echo 'basilica-status absent'
fi
root=$(printf '%s' "$info" | sed -n 's/.*"DockerRootDir":"\\([^"]*\\)".*/\\1/p' | head -n 1)
echo 'basilica-section disk'
$limit df -Pk "${{root:-/}}" 2>/dev/null || $limit df -Pk /
echo 'basilica-section sshd'
for file in /etc/ssh/sshd_config.d/*.conf /etc/ssh/sshd_config; do
  [ -e "$file" ] || continue
  if [ -r "$file" ]; then
    grep -iE '^[[:space:]]*(match|{"|".join(_WORDS)})[[:space:]=]' "$file" | head -n 40
    echo 'basilica-file read'
  else
    echo 'basilica-file unreadable'
  fi
done
now
"""

_NOW = re.compile(r"basilica-now ([0-9]{9,12})(?:\.([0-9]{1,9}))?")
_DF = re.compile(r"\S.*?\s+([0-9]{1,18})\s+([0-9]{1,18})\s+([0-9]{1,18})\s+[0-9]{1,3}%\s+(/.*)")
_LISTED = re.compile(r"GPU [0-9]{1,3}: (.{1,120}?) \(UUID: GPU-")
_VERSION = re.compile(r"[0-9][0-9A-Za-z.+~-]{0,40}")


@dataclass(frozen=True, slots=True)
class SshdPosture:
    """What the readable configuration files of sshd say outside ``Match`` blocks; None or empty is "not stated".

    The first statement counts, as for sshd. After a file that cannot be read nothing is known any more.
    """

    password_login: bool | None = None
    keyboard_login: bool | None = None
    root_login: str = ""
    max_startups: str = ""
    max_sessions: int | None = None
    tcp_forwarding: str = ""


@dataclass(frozen=True, slots=True)
class HostFacts:
    """One visit's facts. ``clock_skew_s`` is node time minus ours; sizes are of the file system that Docker uses."""

    clock_skew_s: float | None = None
    cuda: str = ""
    gpu_models: tuple[str, ...] = ()
    """What ``nvidia-smi -L`` calls the GPUs: a second opinion on what a query says."""
    docker_ok: bool | None = None
    """Whether this account reaches a running daemon."""
    docker_version: str = ""
    docker_error: str = ""
    nvidia_runtime_ok: bool | None = None
    disk_path: str = ""
    disk_free_bytes: int | None = None
    disk_total_bytes: int | None = None
    sshd: SshdPosture = SshdPosture()


async def probe_host(pool: NodePool, target: NodeTarget, *, timeout_s: float = 20.0) -> HostFacts:
    """Ask a node about itself; raises SshFailure. What it does not answer is "not known"."""
    before = pool.clock.now()
    result = await pool.run(
        target,
        SCRIPT,
        timeout_s=timeout_s,
        max_output_bytes=MAX_OUTPUT_BYTES,
        remote_limit_s=max(1, int(timeout_s)),
    )
    return parse_host(result.stdout.decode("utf-8", "replace"), before=before, after=pool.clock.now())


def parse_host(text: str, *, before: float, after: float) -> HostFacts:
    """Facts from the output of ``SCRIPT``; ``before`` and ``after`` are our clock around the command."""
    sections: dict[str, list[str]] = {}
    current: list[str] = []
    for line in text.splitlines():
        if line.startswith("basilica-section "):
            current = sections.setdefault(line.removeprefix("basilica-section "), [])
        else:
            current.append(line)
    version, error, is_ok, runtime_ok = _docker(sections.get("docker", []))
    path, free, total = _disk(sections.get("disk", []))
    return HostFacts(
        clock_skew_s=_skew(text, before, after),
        cuda=parse_cuda("\n".join(sections.get("cuda", [])[:12])),
        gpu_models=tuple(clean(found[1]) for line in sections.get("gpus", []) if (found := _LISTED.match(line[:256]))),
        docker_ok=is_ok,
        docker_version=version,
        docker_error=error,
        nvidia_runtime_ok=runtime_ok,
        disk_path=path,
        disk_free_bytes=free,
        disk_total_bytes=total,
        sshd=_posture(sections.get("sshd", [])),
    )


def _skew(text: str, before: float, after: float) -> float | None:
    """As NTP does it: the mean of both ends, so that the time in between does not matter."""
    times = [float(f"{found[1]}.{found[2] or '5'}") for found in _NOW.finditer(text)]
    if not times:
        return None
    if len(times) == 1:
        return times[0] - (before + after) / 2
    return ((times[0] - before) + (times[-1] - after)) / 2


def _docker(lines: list[str]) -> tuple[str, str, bool | None, bool | None]:
    """Version, error, whether the daemon answers, whether the NVIDIA runtime is there."""
    status = next((line.removeprefix("basilica-status ") for line in lines if line.startswith("basilica-status ")), "")
    if status == "absent":
        return "", "docker is not installed", False, None
    info = _json_object(next((line for line in lines if line.startswith("{")), "")) or {}
    errors, version = info.get("ServerErrors"), info.get("ServerVersion")
    if isinstance(errors, list) and errors:
        return "", clean(str(errors[0])), False, None
    if isinstance(version, str) and _VERSION.fullmatch(version):
        return version, "", True, _has_nvidia(info)
    if status in {"", "0"}:
        return "", "", None, None
    said = clean(" ".join(line for line in lines if not line.startswith(("{", "basilica-"))))
    late = f"no answer within {TOOL_LIMIT_S} s"
    return "", late if status == "124" else said or f"docker info ended with status {status[:8]}", False, None


def _json_object(text: str) -> Mapping[str, object] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _has_nvidia(info: Mapping[str, object]) -> bool | None:
    runtimes = info.get("Runtimes")
    if not isinstance(runtimes, dict):
        return None
    return any("nvidia" in str(name) or "nvidia-container-runtime" in str(how) for name, how in runtimes.items())


def _disk(lines: list[str]) -> tuple[str, int | None, int | None]:
    for line in lines:
        if found := _DF.fullmatch(line[:1024].strip()):
            total, _, free, path = found.groups()
            return clean(path, 200), int(free) * 1024, int(total) * 1024
    return "", None, None


def _posture(lines: list[str]) -> SshdPosture:
    said: dict[str, str] = {}
    is_in_match = False
    for line in lines:
        if line.startswith("basilica-file "):
            is_in_match = False
            if line.endswith("unreadable"):
                break
            continue
        words = clean(line.replace("=", " ", 1)).lower().split()
        is_in_match = is_in_match or words[:1] == ["match"]
        if not is_in_match and len(words) > 1 and words[0] in _WORDS:
            said.setdefault(words[0], words[1].strip('"'))
    keyboard = said.get("kbdinteractiveauthentication", said.get("challengeresponseauthentication", ""))
    sessions = said.get("maxsessions", "")
    return SshdPosture(
        password_login=_yes_no(said.get("passwordauthentication", "")),
        keyboard_login=_yes_no(keyboard),
        root_login=said.get("permitrootlogin", "")[:32],
        max_startups=said.get("maxstartups", "")[:32],
        max_sessions=int(sessions) if re.fullmatch(r"[0-9]{1,6}", sessions) else None,
        tcp_forwarding=said.get("allowtcpforwarding", "")[:16],
    )


def _yes_no(word: str) -> bool | None:
    return {"yes": True, "no": False}.get(word)

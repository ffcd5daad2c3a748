"""What an account on a node sees of itself and its host: shell, key file, GPUs, Docker, disks. One command, read only.

Everything is bounded and marked by sections; a shell that talks before the first mark only shows that it talks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engine.errors import ProbeFailed
from engine.probes.gpu import FIELDS, GpuFacts, clean, parse_table
from engine.ssh.pool import NodePool
from engine.ssh.target import ROOT_DIRECTORY, NodeTarget

MAX_OUTPUT_BYTES = 1 << 20
QUIET = "basilica-quiet-42"
QUIET_COMMAND = "echo basilica-quiet-$((40+2))"
_TABLE = ",".join(FIELDS["all"])
_BASIC = ",".join(FIELDS["basic"])
SCRIPT = f"""LC_ALL=C; export LC_ALL
limit=; command -v timeout >/dev/null 2>&1 && limit='timeout 8'
s() {{ printf '\\nbasilica-section %s\\n' "$1"; }}
s id; id -u; id -un; id -Gn; printf '%s\\n' "$HOME"
s keyfile
for p in "$HOME" "$HOME/.ssh" "$HOME/.ssh/authorized_keys"; do
  stat -c '%a %u %F|%n' "$p" 2>/dev/null || printf 'absent|%s\\n' "$p"
done
s writable; [ -w "$HOME/.ssh" ] && echo dir; [ -w "$HOME/.ssh/authorized_keys" ] && echo file; echo .
s attributes; lsattr -d "$HOME/.ssh" "$HOME/.ssh/authorized_keys" 2>/dev/null
s keydisk; df -Pk "$HOME/.ssh" 2>/dev/null | tail -n 1; df -Pi "$HOME/.ssh" 2>/dev/null | tail -n 1
s keys; head -c 262144 "$HOME/.ssh/authorized_keys" 2>/dev/null
s rootfile; r={ROOT_DIRECTORY}/$(id -un)
if [ -e "$r" ]; then for p in {ROOT_DIRECTORY} "$r"; do stat -c '%a %u %F|%n' "$p"; done; fi 2>/dev/null
s rootkeys; head -c 262144 "$r" 2>/dev/null
s smi
if command -v nvidia-smi >/dev/null 2>&1; then
  out=$($limit nvidia-smi --query-gpu={_TABLE} --format=csv,noheader,nounits 2>&1); status=$?
  case $out in *'not a valid field'*)
    out=$($limit nvidia-smi --query-gpu={_BASIC} --format=csv,noheader,nounits 2>&1); status=$?
    echo 'basilica-basic' ;;
  esac
  printf '%s\\n' "$out" | head -c 65536; printf '\\nbasilica-status %s\\n' "$status"
else echo 'basilica-status absent'; fi
s pci; for f in /sys/bus/pci/devices/*/vendor; do [ -r "$f" ] || continue
  read -r v <"$f"; [ "$v" = 0x10de ] && echo "${{f%/vendor}}"; done 2>/dev/null | head -n 64
s xid; dmesg 2>/dev/null | grep -i 'NVRM: Xid' | tail -n 5
s disks; df -Pk 2>/dev/null | tail -n +2 | head -n 64
s tools; command -v sha256sum
python3 -I -c 'import sys; print("python3 %d.%d" % sys.version_info[:2])' 2>/dev/null
s miner; ps -eo pid=,comm= 2>/dev/null | grep -iE 'basil(i)?ca-?mine' | head -n 5
ls -d /opt/basilica /opt/basilica/basilica-miner 2>/dev/null
s end
"""


@dataclass(frozen=True, slots=True)
class PathFacts:
    """One file system object; ``mode`` None when it is not there."""

    path: str
    mode: int | None = None
    uid: int = -1
    kind: str = ""


@dataclass(frozen=True, slots=True)
class DiskFacts:
    """One file system."""

    mount: str
    total_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class SmiFacts:
    """What nvidia-smi answered. ``status`` is ``absent``, a number, or empty when nothing is known."""

    status: str = ""
    said: str = ""
    table: GpuFacts | None = None


@dataclass(frozen=True, slots=True)
class AccountFacts:
    """One visit. Empty or None is "the node did not say"."""

    quiet: bool | None = None
    """Whether a command's output is only that command's."""
    noise: str = ""
    shell_status: int | None = None
    uid: int | None = None
    username: str = ""
    groups: tuple[str, ...] = ()
    home: str = ""
    paths: tuple[PathFacts, ...] = ()
    dir_writable: bool | None = None
    file_writable: bool | None = None
    is_immutable: bool = False
    key_disk_free_bytes: int | None = None
    key_inodes_free: int | None = None
    key_disk_mount: str = ""
    key_bytes: bytes = b""
    root_paths: tuple[PathFacts, ...] = ()
    """The key file that only root should be able to write, and its directory; empty where there is none."""
    root_key_bytes: bytes = b""
    smi: SmiFacts = SmiFacts()
    pci_gpus: int = 0
    xid: tuple[str, ...] = ()
    disks: tuple[DiskFacts, ...] = ()
    old_miner: tuple[str, ...] = ()
    has_hash_tool: bool | None = None
    python: str | None = None
    """``3.11``; empty where no python3 runs."""


async def probe_account(pool: NodePool, target: NodeTarget, *, timeout_s: float = 30.0) -> AccountFacts:
    """Ask once; raises SshFailure. A shell that does not even echo is an answer, not an error."""
    heard = await pool.run(target, QUIET_COMMAND, timeout_s=10.0, max_output_bytes=65536)
    text = heard.stdout.decode("utf-8", "replace")
    noise = clean((text + heard.stderr.decode("utf-8", "replace")).replace(QUIET, " "), 160)
    if QUIET not in text:
        return AccountFacts(quiet=None, noise=noise, shell_status=heard.exit_status)
    result = await pool.run(
        target,
        SCRIPT,
        timeout_s=timeout_s,
        max_output_bytes=MAX_OUTPUT_BYTES,
        remote_limit_s=max(1, int(timeout_s)),
    )
    return parse_account(result.stdout, quiet=text == QUIET + "\n", noise=noise, status=heard.exit_status)


def parse_account(output: bytes, *, quiet: bool, noise: str, status: int) -> AccountFacts:
    """Facts from the output of ``SCRIPT``."""
    sections = sections_of(output)
    lines = {name: body.decode("utf-8", "replace").splitlines() for name, body in sections.items()}
    uid, username, groups, home = (*lines.get("id", []), "", "", "", "")[:4]
    key_disk = [line.split() for line in lines.get("keydisk", []) if line.strip()]
    disks = tuple(filter(None, map(_disk, lines.get("disks", []))))
    writable = lines.get("writable", [])
    return AccountFacts(
        quiet=quiet,
        noise=noise,
        shell_status=status,
        uid=int(uid) if uid.isascii() and uid.isdigit() and len(uid) < 11 else None,
        username=clean(username),
        groups=tuple(clean(groups, 400).split()),
        home=clean(home, 400),
        paths=tuple(filter(None, map(_path, lines.get("keyfile", [])))),
        dir_writable="dir" in writable if writable else None,
        file_writable="file" in writable if writable else None,
        is_immutable=any(set("ia") & set(line.split()[0]) for line in lines.get("attributes", []) if line.split()),
        key_disk_free_bytes=_column(key_disk, 0, 1024),
        key_inodes_free=_column(key_disk, 1, 1),
        key_disk_mount=key_disk[0][-1] if key_disk else "",
        key_bytes=sections.get("keys", b""),
        root_paths=tuple(filter(None, map(_path, lines.get("rootfile", [])))),
        root_key_bytes=sections.get("rootkeys", b""),
        smi=_smi(lines.get("smi", [])),
        pci_gpus=len(lines.get("pci", [])),
        xid=tuple(clean(line, 160) for line in lines.get("xid", []) if line.strip())[:5],
        disks=disks,
        old_miner=tuple(clean(line) for line in lines.get("miner", []) if line.strip())[:5],
        has_hash_tool=any("sha256sum" in line for line in lines["tools"]) if "tools" in lines else None,
        python=_python(lines["tools"]) if "tools" in lines else None,
    )


def sections_of(output: bytes) -> Mapping[str, bytes]:
    """The bodies between marks; the line feed that every mark brings along is not the body's."""
    sections: dict[str, bytes] = {}
    for part in output.split(b"\nbasilica-section ")[1:]:
        name, _, body = part.partition(b"\n")
        sections.setdefault(name.decode("ascii", "replace"), body)
    return sections


def _smi(lines: list[str]) -> SmiFacts:
    status = next((line.split()[-1] for line in lines if line.startswith("basilica-status ")), "")
    body = [line for line in lines if not line.startswith("basilica-")]
    said = clean(" ".join(body), 240)
    if status != "0":
        return SmiFacts(status, said)
    try:
        table = parse_table("\n".join(body), "basic" if "basilica-basic" in lines else "all")
    except ProbeFailed:
        return SmiFacts(status, said)
    return SmiFacts(status, said, table)


def _path(line: str) -> PathFacts | None:
    head, bar, path = line.partition("|")
    if not bar:
        return None
    words = head.split(" ", 2)
    if words[0] == "absent":
        return PathFacts(clean(path, 400))
    try:
        return PathFacts(clean(path, 400), int(words[0], 8), int(words[1]), clean(words[2]))
    except (ValueError, IndexError):
        return None


def _python(lines: list[str]) -> str:
    return next((clean(line, 20).removeprefix("python3 ") for line in lines if line.startswith("python3 ")), "")


def _column(rows: list[list[str]], row: int, unit: int) -> int | None:
    if row >= len(rows) or len(rows[row]) < 6:
        return None
    value = rows[row][-3]
    return int(value) * unit if value.isascii() and value.isdigit() else None


def _disk(line: str) -> DiskFacts | None:
    words = line.split()
    if len(words) < 6 or not all(word.isascii() and word.isdigit() for word in words[1:4]):
        return None
    return DiskFacts(clean(words[5], 200), int(words[1]) * 1024, int(words[3]) * 1024)

"""What an administrator sees of an account that cannot log in: sshd's effective settings, modes, owners, keys, locks.

The look needs root, through sudo where the administrator is not root. Read only.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

from engine.probes.account import PathFacts, sections_of
from engine.probes.firewall import SCRIPT as FIREWALL
from engine.probes.firewall import FirewallFacts, parse_firewall
from engine.probes.gpu import clean

MAX_OUTPUT_BYTES = 1 << 20
WORDS = (
    "pubkeyauthentication",
    "passwordauthentication",
    "kbdinteractiveauthentication",
    "permitrootlogin",
    "authorizedkeysfile",
    "authorizedkeyscommand",
    "allowusers",
    "denyusers",
    "allowgroups",
    "denygroups",
    "maxstartups",
    "maxsessions",
    "maxauthtries",
    "strictmodes",
    "allowtcpforwarding",
    "x11forwarding",
    "forcecommand",
    "pubkeyacceptedalgorithms",
    "authenticationmethods",
    "usepam",
    "pidfile",
)
_SCRIPT = """LC_ALL=C; export LC_ALL; PATH=$PATH:/usr/sbin:/sbin
x() { printf '%s' "$1" | sed "s|%h|$home|g; s|%u|$account|g"; }
s() { printf '\\nbasilica-section %s\\n' "$1"; }
s entry; getent passwd "$account" || grep -m1 "^$account:" /etc/passwd
s groups; id -Gn "$account" 2>/dev/null
home=$(getent passwd "$account" | cut -d: -f6); shell=$(getent passwd "$account" | cut -d: -f7)
s shadow; f=$(getent shadow "$account" | cut -d: -f2,8)
case $f in '!'*) echo locked;; '') echo unknown;; *) echo open;; esac
e=${f##*:}; case $e in ''|*[!0-9]*) e=0;; esac
[ "$e" -gt 0 ] && [ "$(( $(date +%s) / 86400 ))" -ge "$e" ] && echo expired
[ "$(getent shadow "$account" | cut -d: -f3)" = 0 ] && echo change
s nologin; for f in /run/nologin /var/run/nologin /etc/nologin; do [ -e "$f" ] && {
  printf '%s: ' "$f"; head -c 200 "$f" | tr '\n' ' '; break; }; done
s shell; printf '%s\\n' "$shell"; [ -z "$shell" ] || { [ -x "$shell" ] && echo executable; }
s sshd; sshd -T -C "user=$account,host=localhost,addr=127.0.0.1" 2>/dev/null || sshd -T 2>/dev/null
s files
files=$(sshd -T -C "user=$account,host=localhost,addr=127.0.0.1" 2>/dev/null | sed -n 's/^authorizedkeysfile //p')
[ -n "$files" ] || files='.ssh/authorized_keys'
p=$home; while [ -n "$p" ] && [ "$p" != / ]; do
  stat -c '%a %u %F|%n' "$p" 2>/dev/null || printf 'absent|%s\\n' "$p"; p=${p%/*}; done
[ -z "$home" ] || for p in "$home/.ssh" "$home/.ssh/authorized_keys"; do
  stat -c '%a %u %F|%n' "$p" 2>/dev/null || printf 'absent|%s\\n' "$p"; done
s configured; for f in $files; do
  f=$(x "$f"); case $f in /*) ;; none) continue;; *) f=$home/$f;; esac
  printf '%s\\n' "$f"; done
s attributes; [ -z "$home" ] || lsattr -d "$home/.ssh" "$home/.ssh/authorized_keys" 2>/dev/null
s selinux; getenforce 2>/dev/null; [ -z "$home" ] || ls -Zd "$home/.ssh/authorized_keys" 2>/dev/null
s keys; for f in $files; do
  f=$(x "$f"); case $f in /*) ;; none) continue;; *) f=$home/$f;; esac
  head -c 262144 "$f" 2>/dev/null; echo; done
s default; [ -z "$home" ] || head -c 262144 "$home/.ssh/authorized_keys" 2>/dev/null
s xid; dmesg 2>/dev/null | grep -i 'NVRM: Xid' | tail -n 5
FIREWALL
s tools; for t in docker nvidia-ctk sudo timedatectl systemctl chronyc useradd; do
  command -v "$t" >/dev/null 2>&1 && echo "$t"; done
s now; date +%s
s end
""".replace("FIREWALL\n", FIREWALL)


@dataclass(frozen=True, slots=True)
class AdminFacts:
    """One look as root. ``sshd`` holds the effective settings for the account, keywords in lower case."""

    account_exists: bool = False
    uid: int | None = None
    home: str = ""
    shell: str = ""
    shell_is_executable: bool | None = None
    is_locked: bool = False
    is_expired: bool = False
    must_change_password: bool = False
    nologin: str = ""
    """The file that keeps everybody but root out, and what it says."""
    groups: tuple[str, ...] = ()
    sshd: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    paths: tuple[PathFacts, ...] = ()
    """Home and what is above it, ``.ssh``, ``authorized_keys``."""
    key_files: tuple[str, ...] = ()
    """Where sshd looks for this account's keys."""
    is_immutable: bool = False
    selinux: str = ""
    selinux_label: str = ""
    key_bytes: bytes = b""
    """What stands in the files that sshd reads."""
    default_key_bytes: bytes = b""
    """What stands in ``~/.ssh/authorized_keys``."""
    xid: tuple[str, ...] = ()
    firewall: FirewallFacts = field(default_factory=FirewallFacts)
    tools: frozenset[str] = frozenset()
    now: int | None = None

    def path(self, name: str) -> PathFacts | None:
        """Facts of one path; None when it was not looked at."""
        return next((one for one in self.paths if one.path == name), None)

    def setting(self, word: str) -> str:
        """The values of one sshd setting, joined by blanks."""
        return " ".join(self.sshd.get(word, ()))


def admin_script(account: str) -> str:
    """The program that looks; ``account`` reaches the shell as one quoted word."""
    return f"account={shlex.quote(account)}\n{_SCRIPT}"


def parse_admin(output: bytes) -> AdminFacts:
    """Facts from the program's output."""
    sections = sections_of(output)
    lines = {name: body.decode("utf-8", "replace").splitlines() for name, body in sections.items()}
    entry = next((line for line in lines.get("entry", []) if line.count(":") == 6), "")
    fields = entry.split(":") if entry else [""] * 7
    shell = [line for line in lines.get("shell", []) if line]
    selinux = [line for line in lines.get("selinux", []) if line]
    now = next(iter(lines.get("now", [])), "")
    return AdminFacts(
        account_exists=bool(entry),
        uid=int(fields[2]) if fields[2].isascii() and fields[2].isdigit() else None,
        home=clean(fields[5], 400),
        shell=clean(fields[6], 200),
        shell_is_executable="executable" in shell if entry else None,
        is_locked="locked" in lines.get("shadow", []),
        is_expired="expired" in lines.get("shadow", []),
        must_change_password="change" in lines.get("shadow", []),
        nologin=clean(" ".join(lines.get("nologin", [])), 200),
        groups=tuple(clean(" ".join(lines.get("groups", [])), 1000).split()),
        sshd=_settings(lines.get("sshd", [])),
        paths=_paths(lines.get("files", [])),
        key_files=tuple(clean(line, 400) for line in lines.get("configured", []) if line),
        is_immutable=any(set("ia") & set(line.split()[0]) for line in lines.get("attributes", []) if line.split()),
        selinux=clean(selinux[0]) if selinux else "",
        selinux_label=clean(selinux[1]) if len(selinux) > 1 else "",
        key_bytes=sections.get("keys", b""),
        default_key_bytes=sections.get("default", b""),
        xid=tuple(clean(line, 160) for line in lines.get("xid", []) if line.strip())[:5],
        firewall=parse_firewall(lines),
        tools=frozenset(clean(line) for line in lines.get("tools", []) if line),
        now=int(now) if now.isascii() and now.isdigit() and len(now) < 13 else None,
    )


def _settings(lines: list[str]) -> Mapping[str, tuple[str, ...]]:
    """``allowusers`` and its like are printed once per word."""
    found: dict[str, tuple[str, ...]] = {}
    for line in lines[:2000]:
        word, _, value = clean(line, 2000).partition(" ")
        if word in WORDS:
            found[word] = (*found.get(word, ()), value)
    return found


def _paths(lines: list[str]) -> tuple[PathFacts, ...]:
    found = []
    for line in lines[:64]:
        head, bar, path = line.partition("|")
        words = head.split(" ", 2)
        if not bar:
            continue
        if words[0] == "absent":
            found.append(PathFacts(clean(path, 400)))
            continue
        try:
            found.append(PathFacts(clean(path, 400), int(words[0], 8), int(words[1]), clean(words[2])))
        except (ValueError, IndexError):
            continue
    return tuple(found)

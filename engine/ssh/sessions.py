"""Who is inside an account now, and the end of those whose access is over.

Removing a key ends no session. Without root the account sees which of its processes carry a grant's marker
(``engine.ssh.session_wrapper``) or, where sshd sets ``ExposeAuthInfo``, which key let them in. Everything is looked
up on the node and decided here, by pure rules; what is then killed is named by process id and start time, so that
a reused id hits nobody.

A process cannot be charged to a grant by anything but its own environment, so a stranger can only ever name himself.
An sshd process is ended only as the direct parent of such a process, and never when the engine hangs on it.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from engine.errors import SshChannelFailed
from engine.ssh import failures
from engine.ssh.certificates import certified_key
from engine.ssh.pool import NodePool
from engine.ssh.session_wrapper import MARKER
from engine.ssh.target import NodeTarget

GRACE_S = 2
_ROUNDS = 3
_OUTPUT_LIMIT = 4 << 20
_MARKED_LIMIT = 2_000

_LOOK = rf"""
LC_ALL=C
export LC_ALL
u=$(id -u)
[ -r /proc/self/stat ] || exit 3
read -r up _ </proc/uptime
printf "BASILICA-SESSIONS %s %s %s %s\n" "$up" "$(getconf CLK_TCK 2>/dev/null || echo 100)" "$$" "$(id -un)"
own=$(grep -l "^Uid:[[:blank:]]*[0-9]*[[:blank:]]*$u[[:blank:]]" /proc/[0-9]*/status 2>/dev/null)
for f in $own; do read -r line <"${{f%us}}" && printf "stat %s\n" "$line"; done 2>/dev/null
for f in $(grep -l "^sshd" /proc/[0-9]*/comm 2>/dev/null); do
    p=${{f%/comm}}
    printf "title %s %s\n" "${{p#/proc/}}" "$(tr "\000" " " <"$p/cmdline" | head -c 200)"
done 2>/dev/null
n=0
for f in $(grep -l -e "{MARKER}=" -e "SSH_USER_AUTH=" /proc/[0-9]*/environ 2>/dev/null); do
    n=$((n + 1))
    [ "$n" -le {_MARKED_LIMIT} ] || break
    p=${{f%/environ}}
    tr "\000" "\n" <"$f" 2>/dev/null | grep -e "^{MARKER}=" -e "^SSH_USER_AUTH=" | head -n 2 | while read -r v; do
        case $v in
        {MARKER}=*) printf "grant %s %s\n" "${{p#/proc/}}" "${{v#*=}}" ;;
        *)
            a=${{v#*=}}
            [ -f "$a" ] && [ -r "$a" ] || continue
            printf "auth %s %s\n" "${{p#/proc/}}" "$(head -c 16384 "$a" | head -n 1)"
            ;;
        esac
    done
done
true
"""

_KILL = r"""
alive() {
    read -r l <"/proc/$1/stat" || return 1
    set -- "$2" ${l##*) }
    [ "$1" = "${21}" ] && [ "$2" != Z ]
}
for round in HUP KILL; do
    left=
    for one in $victims; do
        alive "${one%:*}" "${one#*:}" && kill -s $round "${one%:*}" && left=1
    done
    [ -n "$left" ] || break
    n=0
    while [ $n -lt 20 ]; do
        n=$((n + 1))
        left=
        for one in $victims; do alive "${one%:*}" "${one#*:}" && left=1; done
        [ -n "$left" ] || break 2
        sleep 0.1 2>/dev/null || sleep 1
    done
done 2>/dev/null
true
"""

_USER_SESSION = re.compile(r"sshd(?:-session)?: (?P<user>[^ ]+)@")
_STAT = re.compile(r"(\d+) \((.*)\) (\S) (.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Process:
    """One process of the account. ``title`` only for those of sshd, ``grant_id`` and ``key`` from its environment."""

    pid: int
    parent: int
    start_ticks: int
    title: str = ""
    grant_id: str = ""
    key: bytes = b""


@dataclass(frozen=True, slots=True)
class Visitors:
    """What one look at an account showed."""

    processes: dict[int, Process] = field(default_factory=dict)
    self_pid: int = 0
    username: str = ""
    uptime_s: float = 0.0
    ticks_per_s: int = 100

    def age_s(self, process: Process) -> float:
        """How long a process has been running."""
        return max(0.0, self.uptime_s - process.start_ticks / self.ticks_per_s)

    @property
    def own(self) -> frozenset[int]:
        """The looking shell and whatever it hangs on: never to be touched."""
        found, pid = set(), self.self_pid
        while pid in self.processes and pid not in found:
            found.add(pid)
            pid = self.processes[pid].parent
        return frozenset(found)

    @property
    def logins(self) -> tuple[Process, ...]:
        """One sshd process per open connection of this account, the engine's own not among them."""
        own = self.own
        found = []
        for process in self.processes.values():
            match = _USER_SESSION.match(process.title)
            if match and match["user"] == self.username and process.pid not in own:
                found.append(process)
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Attribution:
    """Who an account's open connections belong to."""

    to_grants: int
    others: int
    oldest_other_s: float | None


@dataclass(frozen=True, slots=True)
class Ended:
    """What was ended: processes by grant id, and how many are still there after SIGKILL."""

    by_grant: dict[str, int]
    logins: int
    left: int

    @property
    def processes(self) -> int:
        """All of them."""
        return sum(self.by_grant.values())


async def look(pool: NodePool, target: NodeTarget) -> Visitors | None:
    """Every process of the account that can be seen; None where the node has no ``/proc``. Raises SshFailure."""
    result = await pool.run(target, _LOOK, timeout_s=15.0, max_output_bytes=_OUTPUT_LIMIT, remote_limit_s=20)
    if result.exit_status == 3:
        return None
    visitors = read_visitors(result.stdout.decode("utf-8", "replace"))
    if visitors is None:
        raise SshChannelFailed(
            f"{target.label} did not list its processes: {failures.plain(result.stderr) or 'no answer'}",
            hint="the account needs a POSIX shell with grep and tr",
        )
    return visitors


async def end_sessions(
    pool: NodePool, target: NodeTarget, grant_ids: Collection[str], keys: Mapping[bytes, str]
) -> tuple[Ended, Visitors | None]:
    """End every process of these grants, or that one of these decoded keys let in, and the connections under them.

    ``keys`` names the grant of each key. Looks again after each round, because a dying script may have started
    something. Raises SshFailure.
    """
    by_grant: dict[str, set[tuple[int, int]]] = {}
    logins: set[tuple[int, int]] = set()
    visitors, left = await look(pool, target), 0
    for attempt in range(_ROUNDS + 1):
        if visitors is None:
            break
        victims = victims_of(visitors, grant_ids, keys)
        left = len(victims)
        if not victims or attempt == _ROUNDS:
            break
        for victim in victims:
            identity = (victim.pid, victim.start_ticks)
            if victim.title:
                logins.add(identity)
            else:
                grant_id = victim.grant_id if victim.grant_id in grant_ids else keys[victim.key]
                by_grant.setdefault(grant_id, set()).add(identity)
        names = " ".join(f"{one.pid:d}:{one.start_ticks:d}" for one in victims)
        await pool.run(target, f'victims="{names}"\n{_KILL}', timeout_s=15.0, remote_limit_s=20)
        visitors = await look(pool, target)
    return Ended({name: len(found) for name, found in by_grant.items()}, len(logins), left), visitors


def victims_of(visitors: Visitors, grant_ids: Collection[str], keys: Collection[bytes]) -> tuple[Process, ...]:
    """The processes to end: those that carry the mark, then the sshd processes right above them."""
    own = visitors.own
    marked = [
        one
        for one in visitors.processes.values()
        if one.pid not in own and ((one.grant_id and one.grant_id in grant_ids) or (one.key and one.key in keys))
    ]
    logins = {login.pid: login for login in visitors.logins}
    above = {one.parent: logins[one.parent] for one in marked if one.parent in logins}
    return (*marked, *above.values())


def attribute(visitors: Visitors, live_grants: Collection[str], live_keys: Collection[bytes]) -> Attribution:
    """Tell connections that carry a living grant's mark from all others, which may be anybody's."""
    known = {
        one.parent
        for one in visitors.processes.values()
        if (one.grant_id and one.grant_id in live_grants) or (one.key and one.key in live_keys)
    }
    others = [login for login in visitors.logins if login.pid not in known]
    ages = [visitors.age_s(one) for one in others]
    return Attribution(len(visitors.logins) - len(others), len(others), max(ages, default=None))


def read_visitors(text: str) -> Visitors | None:
    """Parse what the look program printed; lines that are not as expected are left out."""
    lines = text.splitlines()
    start = next((number for number, line in enumerate(lines) if line.startswith("BASILICA-SESSIONS ")), None)
    if start is None:
        return None
    head = lines[start].split(" ", 4)
    try:
        uptime_s, ticks, self_pid, username = float(head[1]), max(1, int(head[2])), int(head[3]), head[4]
    except (ValueError, IndexError):
        return None
    processes = _processes(lines[start + 1 :])
    facts: dict[int, dict[str, str]] = {}
    for kind, pid, value in _facts(lines[start + 1 :]):
        facts.setdefault(pid, {}).setdefault(kind, value)
    for pid, found in facts.items():
        known = processes.get(pid)
        if known is not None:
            processes[pid] = Process(
                pid,
                known.parent,
                known.start_ticks,
                failures.plain(found.get("title", "")),
                found.get("grant", ""),
                _key_of(found.get("auth", "")),
            )
    return Visitors(processes, self_pid, username, uptime_s, ticks)


def _processes(lines: Iterable[str]) -> dict[int, Process]:
    found = {}
    for line in lines:
        match = _STAT.fullmatch(line.removeprefix("stat ")) if line.startswith("stat ") else None
        if match is None or match[3] == "Z":
            continue
        rest = match[4].split()
        if len(rest) > 18 and rest[0].isdigit() and rest[18].isdigit():
            found[int(match[1])] = Process(int(match[1]), int(rest[0]), int(rest[18]))
    return found


def _facts(lines: Iterable[str]) -> Iterable[tuple[str, int, str]]:
    for line in lines:
        kind, _, rest = line.partition(" ")
        pid, _, value = rest.partition(" ")
        if kind in {"title", "grant", "auth"} and pid.isascii() and pid.isdigit() and len(pid) < 10:
            yield kind, int(pid), value


def _key_of(text: str) -> bytes:
    """The key in a line of an ``SSH_USER_AUTH`` file: ``publickey algorithm base64``."""
    words = text.split()
    if len(words) < 3 or words[0] != "publickey":
        return b""
    try:
        return certified_key(words[1], base64.b64decode(words[2], validate=True))
    except binascii.Error:
        return b""

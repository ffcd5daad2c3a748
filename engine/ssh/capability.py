"""What a node can do for us: its sshd's version, its clock and the tools that the key file programs use.

``expiry-time`` exists since OpenSSH 7.7; the ``Z`` suffix (UTC) only since 9.1, and 8.2 to 9.0 ignore a line that
carries it. Expiry is judged by the node's clock, so deadlines are computed in node time at every visit.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from engine.errors import SshChannelFailed
from engine.ssh import failures
from engine.ssh.pool import NodePool
from engine.ssh.target import NodeTarget

ExpiryForm = Literal["utc", "local", "none"]
TOOLS = ("flock", "sha256sum", "timeout", "readlink", "stat", "docker", "nvidia-smi")

_VERSION = re.compile(r"SSH-2\.0-OpenSSH_(?P<major>\d{1,3})\.(?P<minor>\d{1,3})")
_PROBE = (
    'printf "basilica-now %s\\n" "$(date +%s.%N)"; printf "basilica-zone %s\\n" "$(date +%z)"; '
    f"for tool in {' '.join(TOOLS)}; do "
    'command -v "$tool" >/dev/null 2>&1 && printf "basilica-tool %s\\n" "$tool"; done; '
    "grep -hiE '^[[:space:]]*AuthorizedKeysFile' /etc/ssh/sshd_config.d/*.conf /etc/ssh/sshd_config 2>/dev/null "
    '| head -n 5 | sed "s/^/basilica-keys /"; true'
)
_NOW = re.compile(r"\d{9,12}(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class NodeCapability:
    """Facts of one visit. ``clock_skew_s`` is node time minus ours, ``expiry_form`` what its key lines may carry."""

    server_version: str
    expiry_form: ExpiryForm
    clock_skew_s: float
    utc_offset: str = ""
    tools: frozenset[str] = field(default_factory=frozenset)
    configured_key_files: tuple[str, ...] = ()
    """``AuthorizedKeysFile`` lines of the node's configuration, where readable; empty means sshd's default."""

    @property
    def has_default_key_file(self) -> bool:
        """Whether sshd, as far as can be seen, reads ``~/.ssh/authorized_keys``."""
        words = {word.removeprefix("%h/") for line in self.configured_key_files[:1] for word in line.split()}
        return not words or ".ssh/authorized_keys" in words


def expiry_form_of(server_version: str) -> ExpiryForm:
    """The form of ``expiry-time`` that a server with this banner understands; ``none`` for unknown servers."""
    match = _VERSION.match(server_version)
    if match is None:
        return "none"
    version = int(match["major"]), int(match["minor"])
    if version >= (9, 1):
        return "utc"
    return "local" if version >= (7, 7) else "none"


async def probe_capability(pool: NodePool, target: NodeTarget) -> NodeCapability:
    """Ask a node once; raises SshFailure. A clock that cannot be read counts as SshChannelFailed."""
    info = await pool.connect(target)
    before = pool.clock.now()
    result = await pool.run(target, _PROBE, timeout_s=10.0, max_output_bytes=65536)
    after = pool.clock.now()
    facts: dict[str, list[str]] = {}
    for line in result.stdout.decode("utf-8", "replace").splitlines():
        name, _, value = line.partition(" ")
        facts.setdefault(name, []).append(failures.plain(value))
    node_now = _node_time(target, facts.get("basilica-now", []), failures.plain(result.stderr))
    key_files = tuple(
        re.sub(r"(?i)^\s*authorizedkeysfile[\s=]+", "", line).replace('"', "")
        for line in facts.get("basilica-keys", [])
    )
    return NodeCapability(
        server_version=info.server_version,
        expiry_form=expiry_form_of(info.server_version),
        clock_skew_s=node_now - (before + after) / 2,
        utc_offset="".join(facts.get("basilica-zone", [])[:1]),
        tools=frozenset(facts.get("basilica-tool", [])) & frozenset(TOOLS),
        configured_key_files=key_files,
    )


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment on a node: the text for its ``expiry-time``, empty for the form ``none``, and its clock's number."""

    expiry_text: str
    unix: int


async def deadlines(
    pool: NodePool, target: NodeTarget, capability: NodeCapability, unix_times: Collection[int]
) -> Mapping[int, Deadline]:
    """Each moment of our time as the node has to be told it.

    The node's clock is read now, not remembered: the deadline is what is left of it, counted from the node's now.
    """
    wanted = sorted(set(unix_times))
    if not wanted:
        return {}
    before = pool.clock.now()
    left = [round(one - before) for one in wanted]
    # TZ is taken out of date's environment because sshd reads the text in the system's zone.
    command = 'n=$(date +%s); printf "basilica-now %s\\n" "$n"; '
    if capability.expiry_form == "local":
        numbers = " ".join(f"{seconds:d}" for seconds in left)
        command += (
            f"for s in {numbers}; do "
            'printf "basilica-expiry %s\\n" "$(env -u TZ date -d "@$((n + s))" +%Y%m%d%H%M%S)"; done'
        )
    result = await pool.run(target, command, timeout_s=10.0, max_output_bytes=1 << 20)
    lines = result.stdout.decode("utf-8", "replace").splitlines()
    answers = [line.partition(" ")[2] for line in lines if line.startswith("basilica-now ")]
    node_now = int(_node_time(target, answers, failures.plain(result.stderr)))
    ends = [node_now + seconds for seconds in left]
    if capability.expiry_form == "local":
        texts = [line.partition(" ")[2] for line in lines if line.startswith("basilica-expiry ")]
        if len(texts) != len(wanted) or not all(re.fullmatch(r"[0-9]{14}", text) for text in texts):
            raise _no_clock(target, failures.plain(result.stderr))
    elif capability.expiry_form == "utc":
        texts = [datetime.fromtimestamp(end, UTC).strftime("%Y%m%d%H%M%SZ") for end in ends]
    else:
        texts = [""] * len(wanted)
    return {one: Deadline(text, end) for one, text, end in zip(wanted, texts, ends, strict=True)}


def _node_time(target: NodeTarget, answers: list[str], stderr: str) -> float:
    text = answers[0].removesuffix(".%N").removesuffix(".N") if answers else ""
    if not _NOW.fullmatch(text):
        raise _no_clock(target, stderr)
    # Whole seconds were cut off below: half a second is the best guess.
    return float(text) if "." in text else float(text) + 0.5


def _no_clock(target: NodeTarget, stderr: str) -> SshChannelFailed:
    return SshChannelFailed(
        f"{target.label} cannot tell its time: {stderr or 'date gave no number'}",
        hint="the account needs a POSIX shell and date on its PATH",
    )

"""``authorized_keys`` on a node: read it, swap it for what was computed here, and read it back.

The node is asked only to replace the old bytes by the new ones if the old ones are still what was read; what the
new bytes are is decided in ``authorized_keys``. A lost connection means "unknown": the file is read again.
"""

from __future__ import annotations

import hashlib
import random
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from engine.errors import KeyFileRefused, SshChannelFailed, SshOutcomeUnknown
from engine.ssh import failures
from engine.ssh.authorized_keys import Change, Refusal, inventory, split
from engine.ssh.connection import CommandResult
from engine.ssh.keyfile_script import BEGIN, CHANGED_STATUS, EXITS, MAX_BYTES, read_command, swap_command
from engine.ssh.pool import NodePool
from engine.ssh.target import NodeTarget

log = structlog.get_logger()

ATTEMPTS = 5
UNKNOWN_ATTEMPTS = 3
_OUTPUT_LIMIT = MAX_BYTES + 65536
_TIMEOUT_S = 20.0
_REMOTE_LIMIT_S = 25

_STDERR_REASONS = (
    ("No space left", "no_space", "free space on the node; nothing was changed"),
    ("quota exceeded", "no_space", "free space in the account's quota; nothing was changed"),
    ("Read-only file system", "read_only", "the node's file system is mounted read-only; look at its kernel log"),
    ("Operation not permitted", "immutable", "run as root: chattr -i on the file and its directory"),
)


@dataclass(frozen=True, slots=True)
class KeyFileState:
    """A key file as it was read. ``data`` is empty and ``sha256`` is ``absent`` when there is no file."""

    data: bytes
    sha256: str
    path: str
    is_link: bool = False
    mode: str = ""
    """As ``ls`` prints it, for instance ``-rw-------``."""
    owner_uid: int | None = None
    account_uid: int | None = None
    strict_modes_problem: str = ""
    """Why sshd's StrictModes would ignore the file; empty when it would not."""

    @property
    def exists(self) -> bool:
        """Whether there is a file at all."""
        return self.sha256 != "absent"


@dataclass(frozen=True, slots=True)
class Edited:
    """The outcome of ``edit_key_file``: the file as read back, and the change that led to it."""

    state: KeyFileState
    change: Change


async def read_key_file(pool: NodePool, target: NodeTarget) -> KeyFileState:
    """Read the file in one command. Raises KeyFileRefused for whatever is not a readable regular file of at most
    1 MiB, and SshFailure."""
    result = await pool.run(
        target,
        read_command(),
        timeout_s=_TIMEOUT_S,
        max_output_bytes=_OUTPUT_LIMIT,
        remote_limit_s=_REMOTE_LIMIT_S,
    )
    return _state_of(target, result)


async def read_second_file(pool: NodePool, target: NodeTarget) -> bytes:
    """``authorized_keys2``, which sshd reads too unless told otherwise; empty if there is none. Raises SshFailure."""
    command = 'f=$HOME/.ssh/authorized_keys2; [ -f "$f" ] && [ -r "$f" ] && head -c 1048576 "$f"; true'
    result = await pool.run(
        target, command, timeout_s=_TIMEOUT_S, max_output_bytes=_OUTPUT_LIMIT, remote_limit_s=_REMOTE_LIMIT_S
    )
    return result.stdout


async def swap_key_file(pool: NodePool, target: NodeTarget, state: KeyFileState, new: bytes) -> KeyFileState:
    """Replace the file that ``state`` describes by ``new`` and return it as read back.

    Raises KeyFileRefused, with reason ``changed`` when the file is no longer what ``state`` says; the file is then
    untouched. SshOutcomeUnknown means what it says: read again.
    """
    if state.exists and new == state.data:
        return state
    _check_owner(target, state)
    if len(new) > MAX_BYTES:
        raise _refused(target, 85)
    command = swap_command(
        old_hash=state.sha256,
        new_hash=hashlib.sha256(new).hexdigest(),
        new_length=len(new),
        old_length=len(state.data),
        tag=secrets.token_hex(8),
    )
    result = await pool.run(
        target,
        command,
        stdin=new,
        timeout_s=_TIMEOUT_S,
        max_output_bytes=_OUTPUT_LIMIT,
        remote_limit_s=_REMOTE_LIMIT_S,
    )
    after = _state_of(target, result)
    _verify(target, new, after.data)
    return after


async def edit_key_file(pool: NodePool, target: NodeTarget, plan: Callable[[bytes], Change | Refusal]) -> Edited:
    """Read, plan, swap and read back, under the node's writer lock; again when the file changed in between.

    ``plan`` is usually ``plan_change`` with everything but the old bytes bound. Raises KeyFileRefused (reason
    ``being_edited`` after five attempts, a Refusal's reason, or one of the node's), and SshFailure.
    """
    unknown = 0
    async with pool.writer(target):
        for attempt in range(1, ATTEMPTS + 1):
            if attempt > 1:
                log.info("keyfile.retried", node_id=target.node_id, attempt=attempt)
                await pool.clock.sleep(random.uniform(0.02, 0.15) * attempt)  # noqa: S311  # jitter, not a secret
            try:
                return await _edit_once(pool, target, plan)
            except SshOutcomeUnknown:
                # The swap may have happened: reading again tells, and planning again then finds nothing to do.
                unknown += 1
                if unknown == UNKNOWN_ATTEMPTS:
                    raise
            except KeyFileRefused as error:
                if error.reason != EXITS[CHANGED_STATUS].reason:
                    raise
    raise KeyFileRefused(
        f"authorized_keys on {target.label} is being edited by somebody else",
        reason="being_edited",
        hint="nothing was changed; it is tried again later",
    )


async def _edit_once(pool: NodePool, target: NodeTarget, plan: Callable[[bytes], Change | Refusal]) -> Edited:
    state = await read_key_file(pool, target)
    change = plan(state.data)
    if isinstance(change, Refusal):
        raise KeyFileRefused(
            f"authorized_keys on {target.label}: {change.message}", reason=change.reason, hint=change.hint
        )
    if state.strict_modes_problem and (change.added or change.renewed):
        raise KeyFileRefused(
            f"sshd on {target.label} would ignore authorized_keys: {state.strict_modes_problem}",
            reason="mode",
            hint="run on the node: chmod go-w ~ ~/.ssh ~/.ssh/authorized_keys",
        )
    if not change.is_changed:
        return Edited(state, change)
    return Edited(await swap_key_file(pool, target, state, change.new), change)


def _check_owner(target: NodeTarget, state: KeyFileState) -> None:
    if state.owner_uid is not None and state.account_uid not in {0, state.owner_uid}:
        raise _refused(target, 84)


def _refused(target: NodeTarget, status: int, stderr: str = "") -> KeyFileRefused:
    known = EXITS[status]
    reason, hint = known.reason, known.hint
    if status in {72, 73, 77, 80}:
        for text, word, advice in _STDERR_REASONS:
            if text.lower() in stderr.lower():
                reason, hint = word, advice
                break
    detail = f" ({stderr})" if stderr else ""
    return KeyFileRefused(f"{known.message} on {target.label}{detail}", reason=reason, hint=hint)


def _state_of(target: NodeTarget, result: CommandResult) -> KeyFileState:
    stderr = failures.plain(result.stderr, 300)
    if result.exit_status in EXITS:
        raise _refused(target, result.exit_status, stderr)
    if result.exit_status in {124, -9, -15}:
        raise SshOutcomeUnknown(f"a command on {target.label} was stopped before its end")
    start = result.stdout.find(BEGIN)
    head, found, data = result.stdout[max(start, 0) :].partition(b"\n\n")
    if result.exit_status != 0 or start < 0 or not found:
        raise SshChannelFailed(
            f"{target.label} has no POSIX shell that runs the key file program (status {result.exit_status}): {stderr}",
            hint="give the account an ordinary login shell",
        )
    facts = dict(line.partition(" ")[::2] for line in head.decode("utf-8", "replace").splitlines()[1:])
    file = facts.get("file", "").split()
    state = KeyFileState(
        data=data,
        sha256=facts.get("hash", "absent"),
        path=failures.plain(facts.get("path", ""), 4096),
        is_link="link" in facts,
        mode=file[0] if file else "",
        owner_uid=_number(file[2]) if len(file) > 2 else None,
        account_uid=_number(facts.get("uid", "")),
        strict_modes_problem=_strict_modes_problem(facts),
    )
    if state.exists and hashlib.sha256(data).hexdigest() != state.sha256:
        raise _refused(target, CHANGED_STATUS)  # an edit between the hash and the bytes
    return state


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else None


def _strict_modes_problem(facts: dict[str, str]) -> str:
    """What sshd refuses everywhere: writable by others. Group-writable is left to sshd, Debian's tolerates it."""
    for name, what in (("home", "the home directory"), ("dir", "the .ssh directory"), ("file", "the file")):
        mode = facts.get(name, "").split(" ")[0]
        if len(mode) >= 10 and mode[8] == "w":
            return f"{what} is writable by everybody ({mode})"
    return ""


def _verify(target: NodeTarget, new: bytes, read_back: bytes) -> None:
    """Every line that was sent must be there, in order, and no other line of ours; an operator's addition may."""
    if read_back == new:
        return
    remaining = iter(split(read_back)[0])
    is_complete = all(any(line == other for other in remaining) for line in split(new)[0])
    ours = Counter(line.raw for line in inventory(read_back).ours)
    if not is_complete or ours != Counter(line.raw for line in inventory(new).ours):
        raise _refused(target, CHANGED_STATUS)

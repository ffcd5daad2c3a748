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
from engine.ssh.keyfile_script import (
    BEGIN,
    CHANGED_STATUS,
    EXITS,
    MAX_BYTES,
    NOT_TOLD_STATUS,
    read_command,
    swap_command,
)
from engine.ssh.pool import NodePool
from engine.ssh.target import ROOT_DIRECTORY, KeyPlace, NodeTarget, RootFile, login_of

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
    directory_uid: int | None = None
    is_told: bool = False
    """Of a root's file: whether the node's sshd configuration names it."""
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


@dataclass(frozen=True, slots=True)
class OtherFiles:
    """What sshd may read beside the account's file: ``authorized_keys2``, and the file that only root can write.

    As the account itself can read them; empty where there is none.
    """

    second: bytes = b""
    root: bytes = b""


async def read_key_file(pool: NodePool, place: KeyPlace) -> KeyFileState:
    """Read the file in one command. Raises KeyFileRefused for whatever is not a readable regular file of at most
    1 MiB, and SshFailure."""
    result = await pool.run(
        login_of(place),
        read_command(place),
        timeout_s=_TIMEOUT_S,
        max_output_bytes=_OUTPUT_LIMIT,
        remote_limit_s=_REMOTE_LIMIT_S,
    )
    return _state_of(place, result)


_OTHERS = (
    "a=$HOME/.ssh/authorized_keys2; b={directory}/$(id -un); n=0; "
    '[ -f "$a" ] && [ -r "$a" ] && n=$(($(head -c 1048576 "$a" | wc -c))); printf "BASILICA-OTHERS %s\\n" "$n"; '
    '[ "$n" -gt 0 ] && head -c "$n" "$a"; [ -f "$b" ] && [ -r "$b" ] && head -c 1048576 "$b"; true'
)


async def read_other_files(pool: NodePool, target: NodeTarget) -> OtherFiles:
    """The other files that sshd may read, in one command. Raises SshFailure."""
    result = await pool.run(
        target,
        _OTHERS.format(directory=ROOT_DIRECTORY),
        timeout_s=_TIMEOUT_S,
        max_output_bytes=_OUTPUT_LIMIT + MAX_BYTES,
        remote_limit_s=_REMOTE_LIMIT_S,
    )
    answer = result.stdout.partition(b"BASILICA-OTHERS ")[2]  # a shell may greet before it
    head, _, data = answer.partition(b"\n")
    length = _number(head.decode("ascii", "replace"))
    if length is None:
        raise SshChannelFailed(
            f"{target.label} did not show its other key files: {failures.plain(result.stderr, 300) or 'no answer'}",
            hint="give the account an ordinary login shell",
        )
    return OtherFiles(data[:length], data[length:])


async def swap_key_file(pool: NodePool, place: KeyPlace, state: KeyFileState, new: bytes) -> KeyFileState:
    """Replace the file that ``state`` describes by ``new`` and return it as read back.

    Raises KeyFileRefused, with reason ``changed`` when the file is no longer what ``state`` says; the file is then
    untouched. SshOutcomeUnknown means what it says: read again.
    """
    if state.exists and new == state.data:
        return state
    _check_owner(place, state)
    if len(new) > MAX_BYTES:
        raise _refused(place, 85)
    command = swap_command(
        place,
        old_hash=state.sha256,
        new_hash=hashlib.sha256(new).hexdigest(),
        new_length=len(new),
        old_length=len(state.data),
        tag=secrets.token_hex(8),
    )
    result = await pool.run(
        login_of(place),
        command,
        stdin=new,
        timeout_s=_TIMEOUT_S,
        max_output_bytes=_OUTPUT_LIMIT,
        remote_limit_s=_REMOTE_LIMIT_S,
    )
    after = _state_of(place, result)
    _verify(place, new, after.data)
    return after


async def edit_key_file(pool: NodePool, place: KeyPlace, plan: Callable[[bytes], Change | Refusal]) -> Edited:
    """Read, plan, swap and read back, under the node's writer lock; again when the file changed in between.

    ``plan`` is usually ``plan_change`` with everything but the old bytes bound. Raises KeyFileRefused (reason
    ``being_edited`` after five attempts, a Refusal's reason, or one of the node's), and SshFailure.
    """
    unknown, target = 0, login_of(place)
    async with pool.writer(target):
        for attempt in range(1, ATTEMPTS + 1):
            if attempt > 1:
                log.info("keyfile.retried", node_id=target.node_id, attempt=attempt)
                await pool.clock.sleep(random.uniform(0.02, 0.15) * attempt)  # noqa: S311  # jitter, not a secret
            try:
                return await _edit_once(pool, place, plan)
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


async def _edit_once(pool: NodePool, place: KeyPlace, plan: Callable[[bytes], Change | Refusal]) -> Edited:
    state, target = await read_key_file(pool, place), login_of(place)
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
    if isinstance(place, RootFile) and (change.added or change.renewed) and not state.is_told:
        raise _refused(place, NOT_TOLD_STATUS)
    if not change.is_changed:
        return Edited(state, change)
    return Edited(await swap_key_file(pool, place, state, change.new), change)


def _check_owner(place: KeyPlace, state: KeyFileState) -> None:
    if isinstance(place, RootFile):
        if state.owner_uid not in {0, None} or state.directory_uid not in {0, None}:
            raise _refused(place, 84)
    elif state.owner_uid is not None and state.account_uid not in {0, state.owner_uid}:
        raise _refused(place, 84)


def _refused(place: KeyPlace, status: int, stderr: str = "") -> KeyFileRefused:
    known, target = EXITS[status], login_of(place)
    message, reason, hint = known.message, known.reason, known.hint
    if status in {72, 73, 77, 80}:
        for text, word, advice in _STDERR_REASONS:
            if text.lower() in stderr.lower():
                reason, hint = word, advice
                break
    if isinstance(place, RootFile):
        message = message.replace("authorized_keys", place.path)
        if status == 84:
            message, hint = f"{place.path} or its directory belongs to somebody else than root", "chown root:root"
    detail = f" ({stderr})" if stderr else ""
    return KeyFileRefused(f"{message} on {target.label}{detail}", reason=reason, hint=hint)


def _state_of(place: KeyPlace, result: CommandResult) -> KeyFileState:
    stderr, target = failures.plain(result.stderr, 300), login_of(place)
    if result.exit_status in EXITS:
        raise _refused(place, result.exit_status, stderr)
    if result.exit_status in {124, -9, -15}:
        raise SshOutcomeUnknown(f"a command on {target.label} was stopped before its end")
    start = result.stdout.find(BEGIN)
    head, found, data = result.stdout[max(start, 0) :].partition(b"\n\n")
    if result.exit_status != 0 or start < 0 or not found:
        raise SshChannelFailed(
            f"{target.label} has no POSIX shell that runs the key file program (status {result.exit_status}): {stderr}",
            hint="give the account an ordinary login shell, and no forced command: ForceCommand in sshd's "
            "configuration, command= before the miner's key",
        )
    facts = dict(line.partition(" ")[::2] for line in head.decode("utf-8", "replace").splitlines()[1:])
    file, directory = facts.get("file", "").split(), facts.get("dir", "").split()
    state = KeyFileState(
        data=data,
        sha256=facts.get("hash", "absent"),
        path=failures.plain(facts.get("path", ""), 4096),
        is_link="link" in facts,
        mode=file[0] if file else "",
        owner_uid=_number(file[2]) if len(file) > 2 else None,
        account_uid=_number(facts.get("uid", "")),
        directory_uid=_number(directory[2]) if len(directory) > 2 else None,
        is_told="told" in facts,
        strict_modes_problem=_strict_modes_problem(facts),
    )
    if state.exists and hashlib.sha256(data).hexdigest() != state.sha256:
        raise _refused(place, CHANGED_STATUS)  # an edit between the hash and the bytes
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


def _verify(place: KeyPlace, new: bytes, read_back: bytes) -> None:
    """Every line that was sent must be there, in order, and no other line of ours; an operator's addition may."""
    if read_back == new:
        return
    remaining = iter(split(read_back)[0])
    is_complete = all(any(line == other for other in remaining) for line in split(new)[0])
    ours = Counter(line.raw for line in inventory(read_back).ours)
    if not is_complete or ours != Counter(line.raw for line in inventory(new).ours):
        raise _refused(place, CHANGED_STATUS)

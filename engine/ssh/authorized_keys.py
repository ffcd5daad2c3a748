"""What an authorized_keys file should be: old bytes and wanted grants in, new bytes or refusals out. Pure.

Rules, each for a measured reason:

* bytes only, split at line feeds only; every line that is not ours stays as it is, NUL, BOM, CR and all;
* ours is a key line whose comment ends in ``{holder} grant={id} exp={unix}``, optionally followed by `` nl``:
  then the line feed before the line is ours too, because the file had no final one, and goes away with the line;
* new lines are appended, never put before the operator's: sshd takes the first line that fits, so a validator
  that hands in the operator's key could otherwise restrict the operator's own login;
* a renewal rewrites our line where it stands: its neighbours do not move, and no reader ever sees the key absent;
* a key that the operator, the engine or another holder uses is refused: sshd lets any valid line win, so it could
  never be taken back.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from engine.ssh.keyeditor import LineEditor, WantedKey
from engine.ssh.keylines import KeyLine, LineKind, read_line

__all__ = [
    "MAX_FILE_BYTES",
    "Change",
    "Inventory",
    "Refusal",
    "RefusedKey",
    "WantedKey",
    "inventory",
    "plan_change",
    "plan_removal",
    "plan_twin",
    "split",
]

MAX_FILE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class RefusedKey:
    """A wanted key that was not written; any line of its grant is taken out. ``reason``: ``operator_key``,
    ``own_key``, ``key_of_another_holder``."""

    grant_id: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Change:
    """The file as it should be. Ids are grant ids; the tuples are empty when nothing of the kind happened."""

    new: bytes
    is_changed: bool
    added: tuple[str, ...] = ()
    renewed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    refused: tuple[RefusedKey, ...] = ()
    leftovers_removed: int = 0
    never_expiring: tuple[str, ...] = ()
    """Grants whose key also stands in a leftover of the deployed miner without expiry: that line wins."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The file cannot be changed safely at all. ``reason``: ``too_large``, ``own_key_lost``, ``self_check``."""

    reason: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Inventory:
    """Every line by kind, in the order of the file."""

    lines: tuple[KeyLine, ...]

    def of(self, kind: LineKind) -> tuple[KeyLine, ...]:
        """The lines of one kind."""
        return tuple(line for line in self.lines if line.kind is kind)

    @property
    def ours(self) -> tuple[KeyLine, ...]:
        """Lines with a grant marker, of this engine or another."""
        return self.of(LineKind.OURS)

    @property
    def leftovers(self) -> tuple[KeyLine, ...]:
        """Key lines that the deployed miner left: their last word is ``validator-…``."""
        return self.of(LineKind.LEFTOVER)

    @property
    def operator(self) -> tuple[KeyLine, ...]:
        """Every other key line."""
        return self.of(LineKind.OPERATOR)

    def orphans(self, known_ids: Collection[str]) -> tuple[KeyLine, ...]:
        """Lines with a grant marker whose grant is not known here."""
        return tuple(line for line in self.ours if line.grant_id not in known_ids)

    def unexplained(self, baseline: Collection[bytes]) -> tuple[KeyLine, ...]:
        """Operator lines whose key is not in the baseline of decoded keys: perhaps added by a guest."""
        return tuple(line for line in self.operator if line.blob not in baseline)


def inventory(old: bytes) -> Inventory:
    """Classify every line of a file."""
    return Inventory(tuple(read_line(raw) for raw in split(old)[0]))


def split(data: bytes) -> tuple[list[bytes], bool]:
    """Lines without their line feeds, and whether the last one had one. An empty file has none and is complete."""
    if not data:
        return [], True
    lines = data.split(b"\n")
    if lines[-1] == b"":
        return lines[:-1], True
    return lines, False


def plan_change(
    old: bytes,
    wanted: Sequence[WantedKey],
    own_blobs: Collection[str] = (),
    *,
    managed_ids: Collection[str] = (),
    expired_before_unix: int | None = None,
    remove_leftovers: bool = False,
    neighbour: bytes = b"",
) -> Change | Refusal:
    """Make the file hold exactly one line per wanted key and none of the other ``managed_ids``.

    ``own_blobs`` are the base64 keys that the engine logs in with. Markers of unknown grants stay, except those
    that expired before ``expired_before_unix``, and those of the same holder and key as a wanted one, which are
    replaced. One key's refusal does not keep the others from being written or removed. ``neighbour`` is another file
    of the account that sshd reads too: its lines refuse keys as lines of this file do.
    """
    if len(old) > MAX_FILE_BYTES:
        return _too_large(len(old))
    own = {base64.b64decode(blob) for blob in own_blobs}
    lines = [read_line(raw) for raw in split(old)[0]]
    managed = {one.grant_id for one in wanted} | set(managed_ids)
    beside = [read_line(raw) for raw in split(neighbour)[0]]
    accepted, refused = _judge([*lines, *beside], wanted, own, managed)
    editor = LineEditor(lines, has_final_newline=split(old)[1])
    change = editor.apply(accepted, managed, expired_before_unix)
    leftovers = editor.remove_leftovers(own) if remove_leftovers else 0
    new = editor.render()
    if len(new) > MAX_FILE_BYTES:
        return _too_large(len(new))
    after = {line.blob for line in inventory(new).lines if line.is_key}
    if any(blob not in after for blob in own & {line.blob for line in lines if line.is_key}):
        return Refusal(
            "own_key_lost",
            "the change would remove the key that the engine logs in with",
            "give the engine's own key line a comment that does not look like a validator's",
        )
    if not remove_leftovers and _foreign(lines) != _foreign(inventory(new).lines):
        return Refusal("self_check", "the planned change would touch lines that are not ours")
    stale = {line.blob for line in (*inventory(new).leftovers, *beside) if line.kind is LineKind.LEFTOVER}
    return Change(
        new,
        new != old,
        *change,
        refused=tuple(refused),
        leftovers_removed=leftovers,
        never_expiring=tuple(one.grant_id for one in accepted if one.blob in stale),
    )


def plan_removal(old: bytes, doomed: Callable[[KeyLine], bool], own_blobs: Collection[str] = ()) -> Change | Refusal:
    """Take out every key line that ``doomed`` names, whoever wrote it, and change nothing else.

    ``own_blobs`` are base64 keys of which no line may be taken out.
    """
    if len(old) > MAX_FILE_BYTES:
        return _too_large(len(old))
    lines = [read_line(raw) for raw in split(old)[0]]
    own = {base64.b64decode(blob) for blob in own_blobs}
    if any(line.is_key and line.blob in own and doomed(line) for line in lines):
        return Refusal("own_key_lost", "that is the key that the engine logs in with", "rotate it instead")
    editor = LineEditor(lines, has_final_newline=split(old)[1])
    editor.remove(lambda line: line.is_key and doomed(line))
    new = editor.render()
    kept = [line for line in lines if not (line.is_key and doomed(line))]
    if _foreign(kept) != _foreign(inventory(new).lines):
        return Refusal("self_check", "the planned change would touch other lines")
    return Change(new, new != old)


def plan_twin(old: bytes, present_blob: str, algorithm: str, new_blob: str) -> Change | Refusal:
    """Give a new key every line that the present one has, with the same options and comment, right after it.

    For the engine's own key: base64 texts in, and nothing of the old lines changes.
    """
    present, wanted = base64.b64decode(present_blob), base64.b64decode(new_blob)
    lines, is_complete = split(old)
    parsed = [read_line(raw) for raw in lines]
    if any(line.is_key and line.blob == wanted for line in parsed):
        return Change(old, False)
    result: list[bytes] = []
    for line in parsed:
        result.append(line.raw)
        if line.is_key and line.blob == present:
            result.append(_with_key(line, algorithm, new_blob))
    if len(result) == len(lines):
        return Refusal(
            "no_own_line",
            "the engine's present key has no line there",
            "add the new public key by hand where the present one stands, then try again",
        )
    new = b"\n".join(result) + (b"\n" if is_complete else b"")
    return _too_large(len(new)) if len(new) > MAX_FILE_BYTES else Change(new, True)


def _with_key(line: KeyLine, algorithm: str, blob: str) -> bytes:
    end = b"\r" if line.raw.endswith(b"\r") else b""
    comment = line.comment.rstrip(b" \t\r")
    parts = (line.options, algorithm.encode("ascii"), blob.encode("ascii"), comment)
    return b" ".join(part for part in parts if part) + end


def _too_large(size: int) -> Refusal:
    return Refusal(
        "too_large",
        f"authorized_keys would be {size} bytes, the limit is {MAX_FILE_BYTES}",
        "clean the file up by hand",
    )


def _foreign(lines: Sequence[KeyLine]) -> list[bytes]:
    return [line.raw for line in lines if line.kind is not LineKind.OURS]


def _judge(
    lines: Sequence[KeyLine], wanted: Sequence[WantedKey], own: Collection[bytes], managed: Collection[str]
) -> tuple[list[WantedKey], list[RefusedKey]]:
    """Sort the wanted keys into those that may be written and those that must not."""
    accepted: dict[str, WantedKey] = {}
    refused = []
    holders: dict[bytes, str] = {}
    for line in lines:
        # A managed line says nothing about other holders: it is about to be rewritten or removed.
        if line.kind is LineKind.OURS and line.grant_id not in managed:
            holders[line.blob] = line.holder
        if line.kind is LineKind.LEFTOVER and line.holder != "validator-validator":
            holders[line.blob] = line.holder
    foreign = [line for line in lines if line.kind in {LineKind.OPERATOR, LineKind.INVALID}]
    for one in wanted:
        text = one.blob_base64.rstrip("=").encode("ascii")
        if one.blob in own:
            refused.append(RefusedKey(one.grant_id, "own_key", "the key is the one that the engine logs in with"))
        elif any(line.blob == one.blob or text in line.raw for line in foreign):
            refused.append(
                RefusedKey(one.grant_id, "operator_key", "the key already stands in one of the operator's lines")
            )
        elif holders.setdefault(one.blob, one.holder) != one.holder:
            refused.append(RefusedKey(one.grant_id, "key_of_another_holder", "the key belongs to another holder"))
        else:
            accepted[one.grant_id] = one
    return list(accepted.values()), refused

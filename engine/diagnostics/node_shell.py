"""The rungs behind the login: does the shell work and keep quiet, can the key file be edited."""

from __future__ import annotations

from engine.diagnostics.model import Cause, Check, Judgement, Scope, fail, ok, skip, warn
from engine.diagnostics.node_facts import NodeFacts

SPACE_MIN_BYTES = 64 * 1024


def judge_shell(facts: NodeFacts) -> Judgement:
    """A command's output must be that command's alone: validators parse it."""
    account = facts.account
    if account is None:
        if facts.trouble:
            return fail("no_channel", facts.trouble)
        return skip("the account was not looked at")
    said = f"it says: {account.noise}" if account.noise else "it says nothing"
    if account.quiet is None:
        lower = account.noise.lower()
        if "required to change your password" in lower or "password change required" in lower:
            return fail("password_change", said)
        is_nologin = (
            "not available" in lower or "no login" in lower or (account.shell_status == 1 and not account.noise)
        )
        return fail("nologin" if is_nologin else "forced", f"echo ended with status {account.shell_status}", said)
    if not account.quiet or account.noise:
        return fail("noisy", f"before a command's own output {said}")
    return ok(f"a POSIX shell answers as {account.username or facts.target.username}")


def judge_editable(facts: NodeFacts) -> Judgement:
    """Grants are lines in authorized_keys: they must be possible to write."""
    account = facts.account
    if account is None or account.uid is None:
        return skip("the account was not looked at")
    path = f"{account.home}/.ssh/authorized_keys"
    found = next((one for one in account.paths if one.path == path), None)
    if found is not None and found.kind == "symbolic link":
        return warn("link", f"{path} is a symbolic link")
    if found is not None and found.mode is not None and not found.kind.startswith("regular"):
        return fail("not_a_file", f"{path} is a {found.kind}")
    if account.is_immutable:
        return fail("immutable", f"lsattr shows the immutable or append-only attribute on {path}")
    if found is not None and found.uid not in {account.uid, -1}:
        return fail("owner", f"{path} belongs to uid {found.uid}, the account has {account.uid}")
    if account.dir_writable is False or (
        account.file_writable is False and found is not None and found.mode is not None
    ):
        return fail("not_writable", f"{account.username} may not write {path}")
    free, inodes = account.key_disk_free_bytes, account.key_inodes_free
    if free is not None and free < SPACE_MIN_BYTES:
        return fail("no_space", f"{free} bytes are free on {account.key_disk_mount}", mount=account.key_disk_mount)
    if inodes == 0:
        return fail("no_space", f"no inode is free on {account.key_disk_mount}", mount=account.key_disk_mount)
    return ok(f"{path} can be written")


CHECKS: tuple[Check[NodeFacts], ...] = (
    Check(
        "node.shell",
        Scope.NODE,
        "The shell runs commands and is quiet",
        "validators read the output of commands; a banner in it breaks their parsers",
        judge_shell,
        (
            Cause("noisy", "a start file of the shell prints text for every command", ("node.quiet_shell",)),
            Cause("nologin", "the account's shell runs no commands", ("node.shell",)),
            Cause("password_change", "the account must change its password first", ("node.no_password_change",)),
            Cause(
                "forced",
                "a forced command runs instead of what was asked",
                advice="take command= from the line with our key, and ForceCommand from sshd_config",
            ),
            Cause(
                "no_channel",
                "logged in, but no command starts: MaxSessions, limits or a full process table",
                ("node.harden",),
                advice="set MaxSessions 100 on the node and look at its limits",
            ),
        ),
        needs=("node.auth",),
    ),
    Check(
        "node.key_file",
        Scope.NODE,
        "authorized_keys can be edited",
        "grants are lines in that file: without them no validator gets in, and none is put out",
        judge_editable,
        (
            Cause("immutable", "the file or its directory is immutable or append-only", ("node.mutable",)),
            Cause("owner", "the file belongs to another account", ("node.modes",)),
            Cause("not_writable", "the account may not write its own key file", ("node.modes",)),
            Cause(
                "no_space",
                "the file system with the home directory is full",
                advice="free space there: du -x, old logs, docker system prune",
            ),
            Cause("not_a_file", "it is not a regular file", advice="move it away; the miner makes a new one"),
            Cause("link", "it is a symbolic link: grants follow it", advice="replace the link by the file"),
        ),
        needs=("node.shell",),
    ),
)

"""The rung of the key: is it accepted, and if not, why.

A server says nothing about why it refuses a key. What decides is an administrator's look at the node
(``engine.probes.administered``); without it only what the server offers is known.
"""

from __future__ import annotations

import base64
import fnmatch
import re
from datetime import UTC, datetime

from engine.diagnostics.model import Cause, Check, Judgement, Scope, fail, ok, skip
from engine.diagnostics.node_facts import NodeFacts
from engine.probes.account import PathFacts
from engine.probes.administered import AdminFacts
from engine.ssh.authorized_keys import inventory
from engine.ssh.keylines import KeyLine

OTHERS_WRITE = 0o022
_EXPIRY = re.compile(rb'expiry-time="([0-9]{8,14})Z?"')


def judge_auth(facts: NodeFacts) -> Judgement:
    """Why the key is not accepted; the first of sshd's own tests that fails decides."""
    way = facts.way
    if way.stop == "":
        return ok(f"{facts.target.username} logs in with the miner's key")
    if way.stop != "auth":
        return skip("the login got no so far")
    if facts.admin is not None:
        return _seen_by_admin(facts, facts.admin)
    offered = f"the server offers: {', '.join(way.methods)}" if way.methods else "the server names no methods"
    if way.methods and "publickey" not in way.methods:
        return fail("pubkey_off", offered)
    trouble = (facts.admin_trouble,) if facts.admin_trouble else ()
    return fail("refused", way.message, offered, *trouble)


def _seen_by_admin(facts: NodeFacts, admin: AdminFacts) -> Judgement:
    name = facts.target.username
    if not admin.account_exists:
        return fail("no_account", f"there is no account {name} on the node")
    account = _account(name, admin)
    if account is not None:
        return account
    settings = _settings(name, admin)
    if settings is not None:
        return settings
    return _keys(facts, admin)


def _account(name: str, admin: AdminFacts) -> Judgement | None:
    if admin.shell_is_executable is False:
        return fail("shell_missing", f"the shell of {name} is {admin.shell or 'empty'}, which cannot be run")
    if admin.is_expired:
        return fail("expired", f"the account {name} has expired")
    if admin.is_locked and admin.setting("usepam") == "no":
        return fail("locked", f"the account {name} is locked (its password field begins with !) and UsePAM is no")
    return None


def _settings(name: str, admin: AdminFacts) -> Judgement | None:
    if admin.setting("pubkeyauthentication") == "no":
        return fail("pubkey_off", "sshd -T says pubkeyauthentication no")
    methods = admin.setting("authenticationmethods")
    if methods not in {"", "any"} and "publickey" not in methods.split():
        return fail("more_methods", f"sshd -T says authenticationmethods {methods}")
    if admin.uid == 0 and admin.setting("permitrootlogin") == "no":
        return fail("root_off", "sshd -T says permitrootlogin no, and the account is root")
    for word, members in (("denyusers", (name,)), ("denygroups", admin.groups)):
        if _matches(admin.setting(word), members):
            return fail("denied", f"sshd -T says {word} {admin.setting(word)}")
    for word, members in (("allowusers", (name,)), ("allowgroups", admin.groups)):
        if admin.setting(word) and not _matches(admin.setting(word), members):
            return fail("not_allowed", f"sshd -T says {word} {admin.setting(word)}", word=word)
    return None


def _keys(facts: NodeFacts, admin: AdminFacts) -> Judgement:
    own = {base64.b64decode(text) for text in facts.own_keys}
    lines = [line for line in inventory(admin.key_bytes).lines if line.is_key and line.blob in own]
    if not lines:
        return _without_key(admin, own)
    accepted = admin.setting("pubkeyacceptedalgorithms")
    if accepted and not any(_algorithm_fits(line.algorithm, accepted) for line in lines):
        return fail("algorithm_off", f"the node accepts {accepted[:160]}", f"our key is {lines[0].algorithm}")
    limited = _limited(lines, admin)
    if limited is not None:
        return limited
    modes = _modes(admin)
    if modes is not None and admin.setting("strictmodes") != "no":
        return modes
    if admin.selinux == "Enforcing" and "ssh_home_t" not in admin.selinux_label:
        return fail("selinux", f"SELinux is enforcing and the key file is labelled {admin.selinux_label or 'unknown'}")
    return fail("refused", "the key is in place and nothing that was looked at explains the refusal")


def _without_key(admin: AdminFacts, own: set[bytes]) -> Judgement:
    default = f"{admin.home}/.ssh/authorized_keys"
    if default not in admin.key_files:
        there = any(line.blob in own for line in inventory(admin.default_key_bytes).lines if line.is_key)
        where = ", ".join(admin.key_files) or "no file at all"
        has = "our key stands in ~/.ssh/authorized_keys" if there else "our key stands in neither"
        return fail("other_key_file", f"sshd reads {where}", has)
    found = admin.path(default)
    if found is None or found.mode is None:
        return fail("no_key_file", f"{default} does not exist")
    count = sum(line.is_key for line in inventory(admin.key_bytes).lines)
    return fail("key_missing", f"{default} holds {count} keys, the miner's is not among them")


def _limited(lines: list[KeyLine], admin: AdminFacts) -> Judgement | None:
    """Only when every line with our key is limited does it keep us out."""
    now = admin.now or 0
    expired = [line for line in lines if _is_expired(line, now)]
    if len(expired) == len(lines):
        return fail(
            "key_expired", f"the line with our key has expired: {expired[0].options.decode(errors='replace')[:120]}"
        )
    bound = [line for line in lines if b'from="' in line.options.lower()]
    if len(bound) == len(lines):
        return fail("from_elsewhere", f"the line with our key says {bound[0].options.decode(errors='replace')[:120]}")
    return None


def _is_expired(line: KeyLine, now: int) -> bool:
    found = _EXPIRY.search(line.options)
    if found is None:
        return False
    text = found[1].decode()
    try:
        until = datetime.strptime(text.ljust(14, "0"), "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return True
    return until.timestamp() <= now


def _modes(admin: AdminFacts) -> Judgement | None:
    """StrictModes: what lies between the home and the key file is the account's or root's, and closed to others."""
    home = admin.home
    wanted = (home, f"{home}/.ssh", f"{home}/.ssh/authorized_keys")
    names = ("home_modes", "ssh_dir_modes", "file_modes")
    for path, cause in zip(wanted, names, strict=True):
        found = admin.path(path)
        if found is None or found.mode is None:
            continue
        if found.uid not in {0, admin.uid}:
            return fail("owner", f"{path} belongs to uid {found.uid}, the account has {admin.uid}")
        if found.mode & OTHERS_WRITE:
            return fail(cause, f"{path} has mode {found.mode:04o}: others may write there, so sshd ignores the keys")
        if not _can_read(found, admin):
            return fail(
                "owner", f"{path} has mode {found.mode:04o} and belongs to uid {found.uid}: the account cannot read it"
            )
    for found in admin.paths:
        above = home.startswith(found.path + "/") and found.mode is not None
        if above and found.mode is not None and not found.mode & 0o001 and found.uid != admin.uid:
            return fail("parent_modes", f"{found.path} has mode {found.mode:04o}: the account cannot pass it")
    return None


def _can_read(found: PathFacts, admin: AdminFacts) -> bool:
    assert found.mode is not None
    if found.uid == admin.uid:
        return bool(found.mode & 0o400)
    return bool(found.mode & 0o044)


def _matches(patterns: str, members: tuple[str, ...]) -> bool:
    names = [word.partition("@")[0] for word in patterns.split()]
    return any(fnmatch.fnmatchcase(member, pattern) for member in members for pattern in names)


def _algorithm_fits(algorithm: str, accepted: str) -> bool:
    names = accepted.split(",")
    if algorithm == "ssh-rsa":
        return any(name.startswith(("rsa-sha2-", "ssh-rsa")) for name in names)
    return algorithm in names


AUTH_CAUSES = (
    Cause("no_account", "the account does not exist on the node", ("node.create_user",)),
    Cause("shell_missing", "the account's login shell does not exist or cannot be run", ("node.shell",)),
    Cause("expired", "the account has expired", ("node.unlock",)),
    Cause("locked", "the account is locked, and without PAM sshd refuses locked accounts", ("node.unlock",)),
    Cause("pubkey_off", "PubkeyAuthentication is off on the node", ("node.sshd_allow",)),
    Cause("more_methods", "AuthenticationMethods asks for more than a key", ("node.sshd_allow",)),
    Cause(
        "root_off",
        "the account is root, and PermitRootLogin is no",
        ("node.create_user",),
        advice="use the account basilica and name it in miner.toml",
    ),
    Cause(
        "denied",
        "DenyUsers or DenyGroups names the account",
        advice="take the account out of DenyUsers and DenyGroups in the node's sshd_config: nothing overrides them",
    ),
    Cause("not_allowed", "AllowUsers or AllowGroups does not name the account", ("node.sshd_allow",)),
    Cause("other_key_file", "AuthorizedKeysFile points elsewhere than to ~/.ssh/authorized_keys", ("node.sshd_allow",)),
    Cause("no_key_file", "the account has no authorized_keys file", ("node.authorize",)),
    Cause("key_missing", "the miner's public key is not in the account's authorized_keys", ("node.authorize",)),
    Cause("algorithm_off", "PubkeyAcceptedAlgorithms excludes the type of our key", ("node.sshd_allow",)),
    Cause("key_expired", "the line with our key carries an expiry-time that is over", ("node.authorize",)),
    Cause("from_elsewhere", "the line with our key admits other addresses only (from=)", ("node.authorize",)),
    Cause("home_modes", "others may write in the home directory, so sshd ignores the keys", ("node.modes",)),
    Cause("ssh_dir_modes", "others may write in ~/.ssh, so sshd ignores the keys", ("node.modes",)),
    Cause("file_modes", "others may write authorized_keys, so sshd ignores it", ("node.modes",)),
    Cause("owner", "home, ~/.ssh or authorized_keys belongs to somebody else", ("node.modes",)),
    Cause(
        "parent_modes",
        "a directory above the home is closed to the account",
        advice="open that directory for passing: chmod o+x",
    ),
    Cause("selinux", "the key file's SELinux label keeps sshd from reading it", ("node.relabel",)),
    Cause(
        "refused",
        "the node refuses the key and does not say why",
        ("node.authorize",),
        advice="run doctor with --admin USER: an administrator's login on the node tells the reason",
    ),
)

CHECKS: tuple[Check[NodeFacts], ...] = (
    Check(
        "node.auth",
        Scope.NODE,
        "The node accepts the miner's key",
        "without a login the miner lets no validator in, and the node earns nothing",
        judge_auth,
        AUTH_CAUSES,
        needs=("node.login",),
    ),
)

"""The rungs of a node's sshd: room for validators, and hardening."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from engine.diagnostics.model import Cause, Check, Judgement, Scope, fail, ok, skip, warn
from engine.diagnostics.node_facts import NodeFacts


def judge_capacity(facts: NodeFacts) -> Judgement:
    """MaxSessions and MaxStartups leave room for validators beside us."""
    sessions, startups = _limits(facts)
    if sessions is None and startups is None:
        return ok("nothing stated: OpenSSH's defaults, MaxSessions 10 and MaxStartups 10:30:100")
    if sessions is not None and sessions < facts.limits.clients:
        return fail("sessions", f"MaxSessions {sessions}")
    if startups is not None and startups < facts.limits.clients:
        return fail("startups", f"MaxStartups {startups}")
    return ok(f"MaxSessions {sessions or 'default'}, MaxStartups {startups or 'default'}")


def judge_hardening(facts: NodeFacts) -> Judgement:
    """What the network's guide asks of sshd, as far as this account may read it."""
    settings = _posture(facts)
    if not settings:
        return skip("sshd's settings cannot be read by this account; --admin USER shows them")
    bad = [(cause, words) for cause, words, is_bad in _RULES if is_bad(settings)]
    if not bad:
        return ok("no password logins, no root login by password")
    return warn(bad[0][0], *(f"sshd: {words}" for _, words in bad))


_RULES: tuple[tuple[str, str, Callable[[Mapping[str, str]], bool]], ...] = (
    ("password_login", "PasswordAuthentication yes", lambda s: s.get("password") == "yes"),
    ("keyboard_login", "KbdInteractiveAuthentication yes", lambda s: s.get("keyboard") == "yes"),
    ("root_login", "PermitRootLogin yes", lambda s: s.get("root") == "yes"),
    ("x11", "X11Forwarding yes", lambda s: s.get("x11") == "yes"),
)


def _posture(facts: NodeFacts) -> dict[str, str]:
    if facts.admin is not None and facts.admin.sshd:
        pairs = (
            ("password", "passwordauthentication"),
            ("keyboard", "kbdinteractiveauthentication"),
            ("root", "permitrootlogin"),
            ("x11", "x11forwarding"),
        )
        return {name: facts.admin.setting(word) for name, word in pairs}
    if facts.host is None:
        return {}
    sshd = facts.host.sshd
    words = {True: "yes", False: "no", None: ""}
    found = {"password": words[sshd.password_login], "keyboard": words[sshd.keyboard_login], "root": sshd.root_login}
    return found if any(found.values()) else {}


def _limits(facts: NodeFacts) -> tuple[int | None, int | None]:
    if facts.admin is not None and facts.admin.sshd:
        sessions, startups = facts.admin.setting("maxsessions"), facts.admin.setting("maxstartups")
    elif facts.host is not None:
        stated = facts.host.sshd
        sessions = str(stated.max_sessions) if stated.max_sessions is not None else ""
        startups = stated.max_startups
    else:
        return None, None
    first = startups.partition(":")[0]
    return int(sessions) if sessions.isdigit() else None, int(first) if first.isdigit() else None


CHECKS: tuple[Check[NodeFacts], ...] = (
    Check(
        "node.capacity",
        Scope.NODE,
        "sshd leaves room for validators",
        "several validators and the miner log in at the same time",
        judge_capacity,
        (
            Cause("sessions", "MaxSessions is too low", ("node.harden",)),
            Cause("startups", "MaxStartups is too low", ("node.harden",)),
        ),
        needs=("node.shell",),
    ),
    Check(
        "node.hardening",
        Scope.NODE,
        "sshd is hardened",
        "guests know the account's name; a password would be tried",
        judge_hardening,
        (
            Cause("password_login", "passwords are accepted", ("node.harden",)),
            Cause(
                "keyboard_login", "keyboard-interactive logins are accepted, which are passwords too", ("node.harden",)
            ),
            Cause("root_login", "root may log in with a password", ("node.harden",)),
            Cause("x11", "X11 forwarding is on", ("node.harden",)),
        ),
        needs=("node.shell",),
    ),
)

"""Looking at this host's own firewall, by its tools; blocking. Nothing is changed."""

from __future__ import annotations

import shutil
import subprocess

from engine.probes.firewall import FirewallFacts, parse_firewall

_TOOL_S = 5.0
_TOOLS = (
    ("ufw", ("ufw", "status", "verbose")),
    ("firewalld", ("firewall-cmd", "--list-all")),
    ("iptables", ("iptables", "-S")),
    ("ip6tables", ("ip6tables", "-S")),
    ("nft", ("nft", "--terse", "--handle", "list", "ruleset")),
)
_PATH = "/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/sbin:/usr/local/bin"


def look_at_firewall() -> FirewallFacts | None:
    """What each tool lists; None where this user may ask none of them."""
    found = {name: lines for name, words in _TOOLS if (lines := _ask(words)) is not None}
    return parse_firewall(found) if found else None


def _ask(words: tuple[str, ...]) -> list[str] | None:
    program = shutil.which(words[0], path=_PATH)
    if program is None:
        return None
    try:
        done = subprocess.run(
            (program, *words[1:]), capture_output=True, timeout=_TOOL_S, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    # firewall-cmd without its daemon says so and ends with a status of its own.
    return done.stdout.decode("utf-8", "replace").splitlines() if done.returncode == 0 else None

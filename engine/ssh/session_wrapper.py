"""The forced command of a grant's key line: it marks a session with its grant and ends it at the deadline. Pure.

``expiry-time`` and a removed line stop new logins only: what already runs goes on, and an open connection may start
more. The forced command closes that gap without root on the node:

* it reads the deadline afresh from the key files at each command, so that a renewal counts for connections that are
  already open, and a line that is gone refuses at once;
* ``timeout`` ends the command at that deadline, with SIGKILL after ten seconds of grace;
* ``BASILICA_GRANT`` in the environment lets ``engine.ssh.sessions`` find what is left of the session.

``sshd`` hands the whole text to the account's login shell, of whatever make, which becomes ``sh`` at once.
"""

from __future__ import annotations

import re

from engine.ssh.target import ROOT_DIRECTORY

MARKER = "BASILICA_GRANT"
EXPIRED_STATUS = 126
TIMEOUT_STATUS = 124
GRACE_S = 10

_DEADLINE = re.compile(rb"basilica_end=([0-9]{1,12});")
# It travels inside '…' and that inside "…": no single quote, no backslash and no line feed may stand in here.
_LINE = (
    'l=$(LC_ALL=C grep -ah "[ ]grant={grant}[ ]" "$@") && case $l in '
    "*basilica_end=*) l=${{l#*basilica_end=}}; basilica_end=${{l%%;*}} ;; esac || basilica_end=0; "
)
# A certificate's grant has no line of its own: its end stands in the comment of the authority's line.
_AUTHORITY = (
    'l=$(LC_ALL=C grep -ah "[ ]{grant}=[0-9]" "$@") && l=${{l#* {grant}=}} && '
    "basilica_end=${{l%% *}} || basilica_end=0; "
)
_SCRIPT = (
    "basilica_end={end:d}; set --; "
    # What root wrote counts before what the account could have written. A line that moves is in both for a moment.
    'for f in "{directory}/$(id -un)" "$HOME/.ssh/authorized_keys"; do [ -r "$f" ] && set -- "$@" "$f"; done; '
    "if [ $# -gt 0 ]; then {lookup}fi; "
    "d=$((basilica_end-$(date +%s))); "
    '[ "$d" -gt 0 ] || {{ echo "basilica: this access has ended" >&2; exit {expired:d}; }}; '
    "export {marker}={grant}; s=${{SHELL:-/bin/sh}}; c=${{SSH_ORIGINAL_COMMAND-}}; "
    'case $c in "") c="exec $s -l" ;; "internal-sftp"|"internal-sftp "*) '
    "for p in /usr/lib/openssh /usr/libexec/openssh /usr/lib/ssh /usr/libexec; do "
    '[ -x "$p/sftp-server" ] && c=$p/sftp-server${{c#internal-sftp}} && break; done ;; esac; '
    'exec timeout -s HUP -k {grace:d} "$d" "$s" -c "$c"'
)


def option(grant_id: str, deadline_unix: int) -> str:
    """The option ``command="…"`` of the key line; ``deadline_unix`` in the node's own time."""
    # Inside an option's quotes sshd knows one escape, \", and keeps every other backslash.
    text = _command(_LINE, grant_id, deadline_unix).replace('"', '\\"')
    return f'command="{text}"'


def guest_command(grant_id: str, deadline_unix: int) -> str:
    """The forced command of a certificate, which is no option and needs no quotes."""
    return _command(_AUTHORITY, grant_id, deadline_unix)


def _command(lookup: str, grant_id: str, deadline_unix: int) -> str:
    script = _SCRIPT.format(
        lookup=lookup.format(grant=grant_id),
        end=deadline_unix,
        grant=grant_id,
        expired=EXPIRED_STATUS,
        marker=MARKER,
        directory=ROOT_DIRECTORY,
        grace=GRACE_S,
    )
    return f"exec /bin/sh -c '{script}'"


def deadline_of(options: bytes) -> int | None:
    """The deadline in a line's options, if they hold our command."""
    match = _DEADLINE.search(options)
    return None if match is None else int(match[1])

"""Getting the attestation program onto a node and its answer back: one command, nothing left behind.

The file lies in a fresh private directory whose name nobody could prepare, is never found by a name from outside, and
its digest is taken before and after the run. The node's owner can defeat all of that; what the answer is worth rests
on the challenge and the product, not on this.
"""

from __future__ import annotations

import json
import shlex

from engine.errors import AttestationRefused
from engine.ssh.pool import NodePool
from engine.ssh.target import NodeTarget
from engine.validator.attestation import MAX_BYTES, program, program_sha256
from engine.validator.product import ProductTask

_SCRIPT = """umask 077
unset PYTHONPATH PYTHONHOME PYTHONSTARTUP
dir=$(mktemp -d "${TMPDIR:-/tmp}/basilica.XXXXXXXXXX") || exit 91
trap 'rm -rf -- "$dir"' EXIT
trap 'exit 129' HUP INT TERM
[ -d "$dir" ] && [ ! -L "$dir" ] && [ -O "$dir" ] || exit 91
set -C
cat > "$dir/program.py" || exit 92
check() {
  [ -f "$dir/program.py" ] && [ ! -L "$dir/program.py" ] || exit 93
  sum=$(sha256sum < "$dir/program.py") || exit 94
  [ "${sum%% *}" = DIGEST ] || exit 93
}
check
command -v python3 >/dev/null 2>&1 || exit 95
python3 -I -B "$dir/program.py" TASK 2>/dev/null
status=$?
check
exit $status
"""
_FAILURES = {
    91: ("no private directory could be made on the node", "no_directory"),
    92: ("the program could not be written on the node", "no_space"),
    93: ("the program on the node is not the one that we sent", "program_changed"),
    94: ("the node has no sha256sum", "no_tool"),
    95: ("the node has no python3", "no_tool"),
}


def launch_command(challenge: str, task: ProductTask) -> str:
    """The command; the program goes to its input."""
    words = json.dumps({"challenge": challenge, "size": task.size, "rows": task.rows}, separators=(",", ":"))
    script = _SCRIPT.replace("DIGEST", program_sha256()).replace("TASK", shlex.quote(words))
    return f"exec sh -c {shlex.quote(script)}"


async def run_program(
    pool: NodePool, target: NodeTarget, challenge: str, task: ProductTask, *, timeout_s: float
) -> bytes:
    """The program's output. Raises SshFailure, or AttestationRefused when it could not be run there."""
    result = await pool.run(
        target,
        launch_command(challenge, task),
        stdin=program(),
        timeout_s=timeout_s,
        max_output_bytes=MAX_BYTES,
        remote_limit_s=max(1, int(timeout_s)),
    )
    if result.exit_status in _FAILURES:
        message, reason = _FAILURES[result.exit_status]
        raise AttestationRefused(message, reason=reason)
    if result.exit_status != 0:
        raise AttestationRefused(f"the program ended with status {result.exit_status}", reason="program_failed")
    return result.stdout

"""The fix of a node's own firewall: one rule that lets callers of the SSH port in."""

from __future__ import annotations

from engine.diagnostics.fixes.common import CannotFixError, Case, Fix
from engine.diagnostics.fixes.local import LASTING
from engine.diagnostics.fixes.node_account import prove
from engine.diagnostics.plan import Step


def _open_port(case: Case) -> tuple[Step, ...]:
    tool, add, remove = (case.data.get(key, "") for key in ("tool", "add", "remove"))
    if not tool:
        raise CannotFixError("which rule it is, only an administrator sees: run doctor with --admin USER")
    if not add:
        raise CannotFixError(case.data.get("why_not", "") or "a person decides")
    lasts = "" if tool in LASTING else " (until the next boot: enter it in the firewall's own file, too)"
    title = f"let everybody reach port {case.target.port} by {tool}{lasts}"
    undo = remove.strip() or "nft delete rule ... handle N: the number that nft gives the new rule"
    return (case.root_step(title, add, undo, undo_script=remove), prove(case, with_account=True))


FIXES = (
    Fix(
        "node.open_port",
        "open the SSH port in the node's own firewall",
        _open_port,
        "everybody may then try to log in there: passwords should be off (node.hardening)",
    ),
)

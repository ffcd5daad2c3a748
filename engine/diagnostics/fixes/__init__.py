"""All fixes by id, and the way from a finding to a plan."""

from __future__ import annotations

from engine.diagnostics.fixes import local, node_account, node_firewall, node_host, node_sshd, old_miner
from engine.diagnostics.fixes.common import CannotFixError, Case, Fix
from engine.diagnostics.plan import Plan

FIXES: dict[str, Fix] = {
    fix.id: fix for room in (local, old_miner, node_account, node_sshd, node_firewall, node_host) for fix in room.FIXES
}


def plan_fix(case: Case, fix_id: str | None = None) -> Plan | str:
    """The plan of the best fix of a finding, or of the named one; a sentence when none can be made."""
    reasons = []
    for one in (fix_id,) if fix_id is not None else case.result.fixes:
        fix = FIXES.get(one)
        if fix is None:
            return f"there is no fix {one}"
        try:
            return fix.plan(case)
        except CannotFixError as error:
            reasons.append(f"{one}: {error}")
    return "; ".join(reasons) or case.result.advice or "nothing repairs this by itself"


__all__ = ["FIXES", "CannotFixError", "Case", "Fix", "plan_fix"]

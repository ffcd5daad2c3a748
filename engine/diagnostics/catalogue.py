"""All checks by id. The order within a scope is the order in which they are judged and shown."""

from __future__ import annotations

from typing import Any

from engine.diagnostics import config_checks, node_gpu, node_host, node_login, node_way, wallet_checks
from engine.diagnostics.model import Check
from engine.diagnostics.node_facts import NodeFacts

NODE: tuple[Check[NodeFacts], ...] = (*node_way.CHECKS, *node_login.CHECKS, *node_gpu.CHECKS, *node_host.CHECKS)
CATALOGUE: tuple[Check[Any], ...] = (*config_checks.CHECKS, *wallet_checks.CHECKS, *NODE)
_BY_ID = {check.id: check for check in CATALOGUE}


def check_of(check_id: str) -> Check[Any]:
    """The check with that id; KeyError for none."""
    return _BY_ID[check_id]

"""All checks by id. The order within a scope is the order in which they are judged and shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.diagnostics import (
    access_checks,
    chain_checks,
    config_checks,
    host_checks,
    node_auth,
    node_docker,
    node_gpu,
    node_host,
    node_shell,
    node_sshd,
    node_way,
    service_checks,
    wallet_checks,
)
from engine.diagnostics.model import Check, Scope

CHECKS: Mapping[Scope, tuple[Check[Any], ...]] = {
    Scope.CONFIG: config_checks.CHECKS,
    Scope.HOST: host_checks.CHECKS,
    Scope.WALLET: wallet_checks.CHECKS,
    Scope.CHAIN: chain_checks.CHECKS,
    Scope.NODE: (
        *node_way.CHECKS,
        *node_auth.CHECKS,
        *node_shell.CHECKS,
        *node_gpu.CHECKS,
        *node_docker.CHECKS,
        *node_sshd.CHECKS,
        *node_host.CHECKS,
    ),
    Scope.ACCESS: access_checks.CHECKS,
    Scope.SERVICE: service_checks.CHECKS,
}
CATALOGUE: tuple[Check[Any], ...] = tuple(check for checks in CHECKS.values() for check in checks)
_BY_ID = {check.id: check for check in CATALOGUE}


def check_of(check_id: str) -> Check[Any]:
    """The check with that id; KeyError for none."""
    return _BY_ID[check_id]

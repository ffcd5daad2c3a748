"""Running an engine as a service: units, what their hardening hides, and the plan that installs them."""

from __future__ import annotations

from engine.deployment.hiding import Hidden, hidden_by
from engine.deployment.install import ServiceChoice, plan_install, plan_uninstall
from engine.deployment.needs import EngineNeeds, needs_of
from engine.deployment.settings import UnitSettings, parse_unit
from engine.deployment.status import ServiceStatus, look_at_service
from engine.deployment.steps import Plan, apply_plan

__all__ = [
    "EngineNeeds",
    "Hidden",
    "Plan",
    "ServiceChoice",
    "ServiceStatus",
    "UnitSettings",
    "apply_plan",
    "hidden_by",
    "look_at_service",
    "needs_of",
    "parse_unit",
    "plan_install",
    "plan_uninstall",
]

"""Every action that the engine's code registers, found in the code itself, so that a new one cannot be forgotten."""

from __future__ import annotations

import ast
from pathlib import Path

ENGINE = Path(__file__).parents[2] / "engine"


def registered_actions() -> dict[str, bool]:
    """Verbs of both roles with whether they are dangerous."""
    found: dict[str, bool] = {}
    for path in ENGINE.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "register":
                verb = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else None
                danger = next((k.value for k in call.keywords if k.arg == "danger"), None)
                if isinstance(verb, str) and isinstance(danger, ast.Constant):
                    found[verb] = bool(danger.value)
    return found

"""Taking over a deployed miner: find its set-up, say what it means here, write a configuration of ours."""

from __future__ import annotations

from engine.lifecycle.imports.find import find_deployment
from engine.lifecycle.imports.plan import plan_import
from engine.lifecycle.imports.report import report_json, report_text
from engine.lifecycle.imports.write import render_import

__all__ = ["find_deployment", "plan_import", "render_import", "report_json", "report_text"]

"""Checks and fixes: one library for the setup wizard, the SSH check, ``doctor``, alerts and the *Fix first* list.

``Doctor(patient).examine()`` looks and judges; ``plan_fix`` makes a plan for a finding, which is shown before
``engine.diagnostics.fixing`` runs it. Everything here works without a running engine.
"""

from __future__ import annotations

from engine.diagnostics.catalogue import CATALOGUE, check_of
from engine.diagnostics.doctor import ALL_SCOPES, Doctor, Progress, Tools
from engine.diagnostics.model import Cause, Check, Report, Result, Scope, Subject, Verdict
from engine.diagnostics.patient import NodePatient, Patient, load_patient, patient_of
from engine.diagnostics.render import render_json, render_markdown, render_text

__all__ = [
    "ALL_SCOPES",
    "CATALOGUE",
    "Cause",
    "Check",
    "Doctor",
    "NodePatient",
    "Patient",
    "Progress",
    "Report",
    "Result",
    "Scope",
    "Subject",
    "Tools",
    "Verdict",
    "check_of",
    "load_patient",
    "patient_of",
    "render_json",
    "render_markdown",
    "render_text",
]

"""Broken nodes: what is wrong, and which check, cause and fix the doctor must name. Each is made for real."""

from __future__ import annotations

from tests.gallery.node_hardware import HARDWARE
from tests.gallery.node_login import LOGIN

NODE_SITUATIONS = (*LOGIN, *HARDWARE)

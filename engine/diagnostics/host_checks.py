"""Checks of this host: what the miner needs of the machine it runs on, and whether validators reach it."""

from __future__ import annotations

from engine.diagnostics import host_machine, host_miner, host_network
from engine.diagnostics.host_facts import HostFacts
from engine.diagnostics.model import Check

CHECKS: tuple[Check[HostFacts], ...] = (*host_machine.CHECKS, *host_network.CHECKS, *host_miner.CHECKS)

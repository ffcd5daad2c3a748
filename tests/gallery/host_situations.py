"""Broken hosts: configuration, wallet, chain, the machine itself and the service. Each is made for real."""

from __future__ import annotations

from tests.gallery.host_breaks import HostSituation
from tests.gallery.host_machine import MACHINE
from tests.gallery.host_settings import SETTINGS

HOST_SITUATIONS = (*SETTINGS, *MACHINE)
__all__ = ["HOST_SITUATIONS", "HostSituation"]

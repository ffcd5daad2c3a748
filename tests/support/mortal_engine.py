"""``python -m tests.support.mortal_engine CONFIG EVENT``: the real engine, killed by itself at the first such event.

EVENT is a kind, or ``kind:step`` for one with that ``step``.

SIGKILL between two instructions: nothing is flushed, nothing is cleaned up.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from engine.app import Engine
from engine.configured import load
from engine.control.ring import LogRing
from engine.events import Event
from engine.identity.wallets import open_wallet


def main(config_path: str, kind: str) -> None:
    config = load(Path(config_path)).config
    section = config.bittensor
    wallet = open_wallet(section.wallet_path, section.wallet_name, section.hotkey_name)
    engine = Engine(config, wallet, LogRing())

    def die(event: Event) -> None:
        if event.kind == kind.partition(":")[0] and getattr(event, "step", "") in (kind.partition(":")[2], ""):
            os.kill(os.getpid(), signal.SIGKILL)

    engine.bus.subscribe(die)
    asyncio.run(engine.run())


if __name__ == "__main__":
    main(*sys.argv[1:])

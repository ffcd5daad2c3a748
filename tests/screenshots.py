"""``python -m tests.screenshots``: pictures of every screen, from a real subnet on this machine.

The console runs headless against the demo's own engines; nothing is drawn by hand. PNG files are made
where ``resvg_py`` is installed.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from pathlib import Path

from textual.pilot import Pilot

from basilica_tui.app import ConsoleApp
from basilica_tui.link import connect_to_engine
from engine.clock import SystemClock
from engine.localnet.cast import PARTS
from engine.localnet.pace import Pace
from engine.localnet.subnet import Subnet

TARGET = Path(__file__).parents[1] / "screenshots"
WARM_UP_S = 75.0
"""By then the validators have caught everyone of the cast who is not what it says."""
SETTLE_S = 1.6
CLIMB_S = 8.0
"""An SSH ladder takes a few seconds."""
FONT = "DejaVu Sans Mono"
MINER = {
    "dashboard": "1",
    "nodes": "2",
    "node": "2,enter",
    "plot": "2,P",
    "sessions": "3",
    "scores": "4",
    "ssh": "5,t",
    "logs": "6",
    "alerts": "7",
    "config": "8",
    "help": "1,question_mark",
    "setup": "9",
}
VALIDATOR = {"miners": "2", "verifications": "3", "weights": "4"}


async def main() -> None:
    """Start a subnet, let a few rounds pass, and photograph each screen of the miner's and a validator's console."""
    os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
    with tempfile.TemporaryDirectory(prefix="shots-") as directory:
        async with Subnet(
            Path(directory), nodes=4, cast=PARTS, validators=2, assignment="open", pace=Pace.demo()
        ) as subnet:
            await asyncio.sleep(WARM_UP_S)
            os.environ["HOME"] = directory  # the setup's page shows whose home it is
            described = json.loads(subnet.layout.document.read_text())
            miner, validator = described["miner"]["socket"], described["validators"][0]["socket"]
            await _shoot(Path(miner), MINER, (120, 40), "")
            await _shoot(Path(miner), {"dashboard": "1"}, (80, 24), "-80x24")
            await _shoot(Path(validator), VALIDATOR, (120, 40), "")
    _rasterise()


async def _shoot(socket: Path, screens: dict[str, str], size: tuple[int, int], suffix: str) -> None:
    app = ConsoleApp(
        socket, clock=SystemClock(), connect=connect_to_engine, read_only=False, theme="dark", ascii_only=False
    )
    async with app.run_test(size=size) as pilot:
        await _settle(pilot)
        for name, keys in screens.items():
            await pilot.press(*keys.split(","))
            await asyncio.sleep(CLIMB_S if name == "ssh" else 0)
            await _settle(pilot)
            TARGET.mkdir(exist_ok=True)
            (TARGET / f"{name}{suffix}.svg").write_text(app.export_screenshot(title="basilica-tui"))
            await pilot.press(*["escape"] * keys.count(","))


async def _settle(pilot: Pilot[int]) -> None:
    await asyncio.sleep(SETTLE_S)
    await pilot.pause()


def _rasterise() -> None:
    try:
        import resvg_py
    except ImportError:
        print("resvg_py is not installed: no PNG files")
        return
    for svg in sorted(TARGET.glob("*.svg")):
        drawing = svg.read_text().replace("Fira Code", FONT)
        png = resvg_py.svg_to_bytes(svg_string=drawing, monospace_family=FONT, zoom=1.0)
        svg.with_suffix(".png").write_bytes(bytes(png))


if __name__ == "__main__":
    asyncio.run(main())

"""What a table has no room for stands below it in full, for the selected row."""

from __future__ import annotations

import pytest

from engine.events import AlertRaised, NodeStateChanged
from tests.console.conftest import MakeApp
from tests.console.screen import rest, text_of
from tests.console.world import NOW, TestEngine, node_id

REASON = "10.0.0.1:22 refuses connections; is sshd running, on that port?"


def _joined(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_a_nodes_trouble_is_read_without_opening_it(
    make_app: MakeApp, engine: TestEngine, size: tuple[int, int]
) -> None:
    """The last line follows the cursor."""
    engine.state.apply(NodeStateChanged(at=NOW, node_id=node_id(1), old="healthy", new="unhealthy", reason=REASON))
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await rest(pilot)
        await pilot.press("2")
        await rest(pilot)
        assert REASON in text_of(app)
        await pilot.press("G")
        await rest(pilot)
        assert REASON not in text_of(app)


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_an_alert_names_its_node_and_is_read_in_full(
    make_app: MakeApp, engine: TestEngine, size: tuple[int, int]
) -> None:
    """By the node's label instead of its id, with the whole message and what to do; enter opens the node."""
    message, hint = "4 of its GPUs are shown by another node as well", "take one of the entries out, or find the proxy"
    engine.state.apply(
        AlertRaised(at=NOW, alert_id="gpus", level="critical", subject=node_id(4), message=message, hint=hint)
    )
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await rest(pilot)
        await pilot.press("7", "slash", *"node-04", "enter")
        await rest(pilot)
        shown = text_of(app)
        assert "1 of 3" in shown
        assert node_id(4)[:12] not in shown
        assert f"{message}; {hint}" in _joined(shown)
        await pilot.press("enter")
        await rest(pilot)
        assert "alerts › node-04" in text_of(app)


async def test_the_warnings_of_the_configuration_can_be_read(make_app: MakeApp, engine: TestEngine) -> None:
    """Not only how many there are; without one the selected value stands there whole."""
    path = "sqlite:/var/lib/basilica/a/long/way/down/to/miner.db"
    shown_by_engine: dict[str, object] = {
        "path": "/etc/basilica/miner.toml", "config": {"database": {"url": path}}, "sources": {"database.url": "file"},
        "warnings": ["[node_management] ssh_timeout is not used any more"],
    }  # fmt: skip
    engine.answers["config.show"] = shown_by_engine
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await rest(pilot)
        await pilot.press("8")
        await rest(pilot)
        assert "1 warning" in text_of(app)
        assert "ssh_timeout is not used any more" in text_of(app)
        del shown_by_engine["warnings"]
        await pilot.press("1", "8")
        await rest(pilot)
        assert path in text_of(app)


async def test_what_is_not_to_be_had_on_one_screen_is_not_said_on_the_next(make_app: MakeApp) -> None:
    """A remark about a key goes with the screen; news of the engine stay."""
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await rest(pilot)
        await pilot.press("6", "t")
        await rest(pilot)
        before = text_of(app)
        await pilot.press("2")
        await rest(pilot)
        assert "not on this screen" in before
        assert "not on this screen" not in text_of(app)

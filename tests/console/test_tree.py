"""The tree: what hangs on what, folding, and where a line leads."""

from __future__ import annotations

import json

import pytest

from basilica_tui.tree import miner_branches, related, unfolded, validator_branches
from engine.control.models import MinerView, NodeView, VerificationView
from tests.console.conftest import MakeApp, make_engine
from tests.console.screen import rest, settle, text_of
from tests.console.world import ASSIGNED, node_id

NODES = [
    NodeView("b", label="node-2", state="stopped", gpu_uuids=("GPU-x",)),
    NodeView("a", label="node-1", state="healthy", gpus=('{"index": 0, "model": "H100"}', "nonsense"),
             keys=('{"kind": "drift", "fingerprint": "SHA256:f", "comment": "who"}',)),
]  # fmt: skip


def test_a_miners_tree() -> None:
    """Nodes by name, their GPUs, the keys on them; what nobody knows is a problem."""
    found = miner_branches(NODES)
    assert [(b.level, b.name) for b in found] == [
        (0, "node-1"), (1, "GPU 0"), (1, "key: nobody knows"), (0, "node-2"), (1, "GPU"),
    ]  # fmt: skip
    assert [b.is_problem for b in found] == [False, False, True, True, False]


def test_a_validators_tree() -> None:
    """Miners by uid, their nodes, the GPUs; a miner without nodes has nothing to unfold."""
    miners = [MinerView("m2", hotkey="m2", uid=9), MinerView("m1", hotkey="m1", uid=3)]
    nodes = [VerificationView("n", miner_hotkey="m1", endpoint="x@1:22", gpu_uuids=("GPU-1", "GPU-2"))]
    found = validator_branches(miners, nodes)
    assert [(b.level, b.name, b.has_more) for b in found] == [
        (0, "uid 3", True), (1, "x@1:22", True), (2, "GPU", False), (2, "GPU", False), (0, "uid 9", False),
    ]  # fmt: skip


def test_a_fold_hides_everything_below_it() -> None:
    """Also what is unfolded inside of it."""
    found = validator_branches(
        [MinerView("m1", hotkey="m1", uid=3)], [VerificationView("n", miner_hotkey="m1", gpu_uuids=("GPU-1",))]
    )
    assert list(unfolded(found, lambda _: True)) == ["m1", "n", "n/gpu/GPU-1"]
    assert list(unfolded(found, lambda i: i == "m1")) == ["m1", "n"]
    assert list(unfolded(found, lambda i: i == "n")) == ["m1"]


@pytest.mark.parametrize(
    ("found", "with_below", "wanted"),
    [
        (["n/gpu/GPU-1"], True, ["m1", "n", "n/gpu/GPU-1"]),
        (["n"], True, ["m1", "n", "n/gpu/GPU-1", "n/gpu/GPU-2"]),
        (["n"], False, ["m1", "n"]),
        (["m2"], True, ["m2"]),
        ([], True, []),
    ],
)
def test_what_is_found_stays_on_its_branch(found: list[str], with_below: bool, wanted: list[str]) -> None:
    """With all that it hangs on, and all that hangs on it."""
    miners = [MinerView("m1", hotkey="m1", uid=3), MinerView("m2", hotkey="m2", uid=9)]
    nodes = [VerificationView("n", miner_hotkey="m1", gpu_uuids=("GPU-1", "GPU-2"))]
    branches = unfolded(validator_branches(miners, nodes), lambda _: True)
    assert related(found, branches, with_below=with_below) == wanted


@pytest.mark.parametrize(("keys", "words", "others"), [
    ("2 j u", ("- node-02", "GPU 0"), ("node-01", "node-03")),
    ("2 enter u", ("- node-01", "GPU 7"), ("node-02",)),
    ("3 u", ("- node-05", "key: validator"), ("node-02", "GPU 0")),
])  # fmt: skip
async def test_u_shows_what_belongs_to_an_item(
    make_app: MakeApp, keys: str, words: tuple[str, ...], others: tuple[str, ...]
) -> None:
    """A node with its GPUs, a validator with the nodes that its key is on; esc shows all of it again."""
    engine = make_engine(with_ramp=True)
    key = {"kind": "grant", "fingerprint": "SHA256:k", "holder": f"validator-{ASSIGNED}"}
    engine.state.nodes[node_id(5)].keys = (json.dumps(key),)
    app = make_app(connect=engine.connect)
    async with app.run_test(size=(120, 60)) as pilot:
        await rest(pilot)
        for key_ in keys.split():
            await pilot.press(key_)
            await rest(pilot)
        shown = text_of(app)
        assert " TREE " in shown
        assert [w for w in words if w not in shown] == []
        assert [w for w in others if w in shown] == []
        await pilot.press("escape")
        await rest(pilot)
        assert "node-01" in text_of(app)
        assert "node-02" in text_of(app)


async def test_a_command_carries_its_filter(make_app: MakeApp) -> None:
    """The view is shown and narrowed at once, with a slash before the words or without, seen before or not."""
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await rest(pilot)
        for line, title in (
            ("nodes state:stopped", " NODES 1 of 6"), ("nodes /node-03", " NODES 1 of 6"), ("tree node-03", "TREE"),
            ("logs level:error", "8 of 40"),
        ):  # fmt: skip
            await pilot.press("colon", *line, "enter")
            await rest(pilot)
            assert title in text_of(app)
            assert line.split()[1].removeprefix("/") in text_of(app)


async def test_a_regular_expression_in_a_filter(make_app: MakeApp) -> None:
    """It narrows with its slashes on; a wrong one shows no row and says what is wrong, in the title and below it."""
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await rest(pilot)
        await pilot.press("colon", *"nodes /node-0[12]/", "enter")
        await rest(pilot)
        assert " NODES 2 of 6" in text_of(app)
        assert "/node-0[12]/" in text_of(app)
        await pilot.press("colon", *"nodes /node-0[12/", "enter")
        await rest(pilot)
        assert " NODES 0 of 6" in text_of(app)
        assert text_of(app).count("no regular expression: unterminated character set") == 2
        assert "esc clears it" in text_of(app)


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_the_tree_by_keyboard(make_app: MakeApp, size: tuple[int, int]) -> None:
    """:tree shows it, h folds and climbs, l unfolds, enter opens the node, esc comes back."""
    app = make_app(connect=make_engine(with_ramp=True).connect)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        await pilot.press("colon", *"tree", "enter")
        await settle(pilot)
        assert "TREE" in text_of(app)
        assert "- node-01" in text_of(app) and "GPU 0" in text_of(app)
        await pilot.press("j", "h", "h")
        await settle(pilot)
        assert "+ node-01" in text_of(app)
        assert text_of(app).index("+ node-01") < text_of(app).index("- node-02")
        await pilot.press("l")
        await settle(pilot)
        assert "- node-01" in text_of(app)
        await pilot.press("enter")
        await settle(pilot)
        assert "tree › node-01" in text_of(app) or node_id(1) in text_of(app)
        await pilot.press("escape")
        await settle(pilot)
        assert "TREE" in text_of(app)


async def test_a_validators_tree_on_the_screen(make_app: MakeApp) -> None:
    """Miners, and under them the nodes that were verified."""
    app = make_app(connect=make_engine(role="validator").connect)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        app.run_command("tree")
        await settle(pilot)
        assert "- uid 117" in text_of(app)
        assert "basilica@10.0.0.1:22" in text_of(app)

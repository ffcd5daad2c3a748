"""The first phase's work: a miner's node key, made and put onto its nodes; a validator's hotkey, opened once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from engine.clock import SystemClock
from engine.identity.node_ids import node_id_for
from engine.identity.wallets import open_wallet
from engine.setup.answers import Answers
from engine.setup.draft import draft_config
from engine.setup.key_deployment import Deployed, KeyDeployment, WayIn, usual_way_in
from engine.ssh.host_keys import HostKeys
from engine.ssh.keys import ClientKey
from engine.ssh.target import NodeTarget

Say = Callable[[str], None]


async def open_hotkey(answers: Answers, say: Say) -> None:
    """Sign-on proof for whoever has no nodes: the hotkey is there and opens. Raises WalletUnusable."""
    section = draft_config(answers).bittensor
    wallet = await asyncio.to_thread(
        open_wallet,
        section.wallet_path,
        section.wallet_name,
        section.hotkey_name,
        password_file=section.password_file,
    )
    say(f"ok hotkey {wallet.signer.hotkey} of wallet {section.wallet_name} opens")
    say("a validator makes its SSH keys itself, a fresh one for every session")


async def prepare_keys(
    answers: Answers, say: Say, *, ask: Callable[[], str] | None = None, password: str | None = None
) -> tuple[Deployed, ...]:
    """The node key, made if missing, and on every node. Raises ClientKeyUnusable, ConfigInvalid."""
    is_new = not answers.key_path.exists()
    key = ClientKey.load_or_create(answers.key_path, "basilica-miner")
    say(f"node key {answers.key_path} {'made' if is_new else 'is there'}: {key.fingerprint}")
    if not answers.deploy_key:
        return ()
    targets = [
        NodeTarget(node_id_for(e.username, e.host, e.port), e.host, e.port, e.username) for e in answers.entries()
    ]
    answers.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    pins = HostKeys(answers.data_dir / "known_hosts")
    way = usual_way_in(Path.home())
    deployment = KeyDeployment(key, pins, clock=SystemClock(), on_done=lambda done: say(words_of(done)))
    done = await deployment.run(targets, WayIn(way.keys, way.agent, password), ask=ask)
    for one in done:
        if one.ending == "needs_password":
            say(words_of(one))
    return done


def words_of(done: Deployed) -> str:
    """One line about one node."""
    mark = "ok" if done.is_in_place else "!!"
    hint = f" ({done.hint})" if done.hint else ""
    return f"{mark} {done.target.label}: {done.words}{hint}"

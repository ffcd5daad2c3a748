"""Looking at the chain: one reading of the subnet, bounded, and where this miner says it is."""

from __future__ import annotations

from dataclasses import replace

from engine.chain import Chain, Metagraph, chain_endpoint_for, open_chain
from engine.chain.sdk import ChainTimeouts
from engine.clock import Clock
from engine.config import MinerConfig
from engine.config.common import RoleConfig
from engine.diagnostics.chain_checks import ChainFacts, Reach
from engine.errors import BasilicaError, ChainUnavailable, ConfigInvalid
from engine.miner.assignment import Policy
from engine.miner.axon import advertised_endpoint

TIMEOUTS = ChainTimeouts(connect_s=15.0, read_s=15.0)


async def look_at_chain(config: RoleConfig, clock: Clock, chain: Chain | None = None) -> ChainFacts:
    """Never raises for what a chain does. ``hotkey``, ages and the engine's state are added by the caller."""
    section = config.bittensor
    is_miner = isinstance(config, MinerConfig)
    wanted = advertised_endpoint(config) if isinstance(config, MinerConfig) else None
    facts = ChainFacts(
        netuid=section.netuid,
        is_miner=is_miner,
        policy=policy_of(config) if isinstance(config, MinerConfig) else None,
        advertised="" if wanted is None else str(wanted),
        max_age_s=section.metagraph_max_age,
    )
    try:
        endpoint = chain_endpoint_for(section.network, section.chain_endpoint)
    except ConfigInvalid as error:
        return _with(facts, "invalid", error.message)
    began = clock.monotonic()
    opened = chain or open_chain(
        network=section.network,
        netuid=section.netuid,
        chain_endpoint=section.chain_endpoint,
        fallback_endpoints=section.fallback_endpoints,
        timeouts=TIMEOUTS,
        clock=clock,
    )
    try:
        metagraph = await opened.metagraph()
    except ChainUnavailable as error:
        reach: Reach = "no_subnet" if "does not exist" in error.message and "subnet" in error.message else "unreachable"
        return _with(facts, reach, error.message, endpoint)
    except BasilicaError as error:
        return _with(facts, "unreachable", error.message, endpoint)
    finally:
        if chain is None:
            await opened.close()
    return _with(facts, "ok", "", endpoint, metagraph, clock.monotonic() - began)


def policy_of(config: MinerConfig) -> Policy:
    """The operator's choice of validators."""
    section = config.validator_assignment
    return Policy(section.enabled, section.strategy, section.validator_hotkey, section.min_stake_threshold)


def _with(
    facts: ChainFacts,
    reach: Reach,
    said: str,
    endpoint: str = "",
    metagraph: Metagraph | None = None,
    read_s: float = 0.0,
) -> ChainFacts:
    return replace(facts, reach=reach, said=said, endpoint=endpoint, metagraph=metagraph, read_s=read_s)

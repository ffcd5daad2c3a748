"""Scores and weights: pure rules over frozen dataclasses, by two profiles. No clock, no files, no network."""

from __future__ import annotations

from engine.scores.categories import (
    GpuGroup,
    NodeGpus,
    deployed_category,
    documented_category,
    merge_groups,
)
from engine.scores.history import CheckLog, Rate, last_full_ok, pass_rate, ssh_rate
from engine.scores.ramp import Forecast, Ramp, deployed_ramp, documented_ramp, ramp_since
from engine.validator.scoring.allocation import (
    Allocation,
    CategoryPool,
    Portion,
    Ranking,
    allocate,
    check_vector,
)
from engine.validator.scoring.deployed_2025_10 import is_in_epoch, pass_ratio
from engine.validator.scoring.emission import CategoryRule, Emission
from engine.validator.scoring.emission_table import read_emission
from engine.validator.scoring.facts import MinerFacts, NodeFacts, RoundContext
from engine.validator.scoring.node_score import deployed_node_score, documented_node_score
from engine.validator.scoring.profiles import PROFILES, Profile
from engine.validator.scoring.ranking_table import read_ranking
from engine.validator.scoring.results import CategoryScore, MinerScore, NodeScore
from engine.validator.scoring.round import Round, score_miner, score_round
from engine.validator.scoring.simulate import Simulation, simulate
from engine.validator.scoring.what_if import WhatIf, what_if_failure

__all__ = [
    "PROFILES",
    "Allocation",
    "CategoryPool",
    "CategoryRule",
    "CategoryScore",
    "CheckLog",
    "Emission",
    "Forecast",
    "GpuGroup",
    "MinerFacts",
    "MinerScore",
    "NodeFacts",
    "NodeGpus",
    "NodeScore",
    "Portion",
    "Profile",
    "Ramp",
    "Ranking",
    "Rate",
    "Round",
    "RoundContext",
    "Simulation",
    "WhatIf",
    "allocate",
    "check_vector",
    "deployed_category",
    "deployed_node_score",
    "deployed_ramp",
    "documented_category",
    "documented_node_score",
    "documented_ramp",
    "is_in_epoch",
    "last_full_ok",
    "merge_groups",
    "pass_rate",
    "pass_ratio",
    "ramp_since",
    "read_emission",
    "read_ranking",
    "score_miner",
    "score_round",
    "simulate",
    "ssh_rate",
    "what_if_failure",
]

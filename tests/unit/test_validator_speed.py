"""What a node's speed figures are worth, by table."""

from __future__ import annotations

import pytest

from engine.validator.speed import judge_speed


@pytest.mark.parametrize(
    ("text", "verdict", "evidence"),
    [
        ('{"download_mbps": 940.25, "upload_mbps": 38.5}', "ok", "download 940.2 Mbit/s, upload 38.5 Mbit/s"),
        ('{"download_mbps": 940.25}', "ok", "download 940.2 Mbit/s"),
        ('{"upload_mbps": 1, "error": "URLError"}', "ok", "upload 1.0 Mbit/s"),
        ('{"download_mbps": 100001, "upload_mbps": -1}', "failed", "the node reached neither server"),
        ('{"download_mbps": NaN, "upload_mbps": Infinity}', "failed", "the node reached neither server"),
        ('{"download_mbps": ' + "9" * 400 + "}", "failed", "the node reached neither server"),
        ('{"download_mbps": true, "upload_mbps": "9"}', "failed", "the node reached neither server"),
        ('{"error": "URLError"}', "failed", "the node reached neither server"),
        ("[1, 2]", "failed", "the node reached neither server"),
        ("Download: 5 Mbps", "failed", "the node sent no figures"),
        ("[" * 100000, "failed", "the node sent no figures"),
        ("", "failed", "the node sent no figures"),
    ],
)
def test_figures_are_judged(text: str, verdict: str, evidence: str) -> None:
    """Only believable numbers are told; nonsense is a failed step, never an error."""
    assert judge_speed(text) == (verdict, evidence)

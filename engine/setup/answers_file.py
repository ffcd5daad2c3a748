"""A setup's answers as a TOML file: read, and examples of one."""

from __future__ import annotations

import tomllib
from pathlib import Path

from engine.errors import ConfigInvalid
from engine.setup.answers import MINER, VALIDATOR, Answers, answers_of
from engine.setup.questions import problems_of


def read_answers(path: Path) -> Answers:
    """Answers from a TOML file with the keys of ``Answers``; ``nodes`` may be an array.

    Raises:
        ConfigInvalid: unreadable, not TOML, an unknown key, a wrong type, or an answer that cannot be used.
    """
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigInvalid(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigInvalid(f"{path}: is not valid TOML: {error}") from error
    answers = answers_of(data)
    problems = tuple(f"{key}: {text}" for key, text in problems_of(answers).items())
    if problems:
        raise ConfigInvalid(f"{path}: {problems[0]}", problems=problems)
    return answers


_MINER = """\
# Answers for `basilica-tui setup --answers FILE`. Everything has a default but the nodes.
role = "miner"                     # or "validator": `basilica-tui setup --example --role validator`
network = "finney"                 # finney (mainnet, 39), test (387)
wallet_name = "miner"
hotkey_name = "default"
password_file = ""                 # of an encrypted hotkey
nodes = ["10.0.0.10-14", "ssh -p 2222 basilica@gpu-9.example.org"]
node_user = "basilica"
external_ip = ""                   # empty: found out
port = 50051                       # bound and published
assignment = "highest_stake"
directory = "/opt/basilica"
service = "systemd"                # systemd, user, compose, background, none
deploy_key = true                  # with your own keys or agent; nothing asks for a password here
"""
_VALIDATOR = """\
# Answers for `basilica-tui setup --answers FILE`. Everything but the role has a default.
role = "validator"
network = "finney"                 # finney (mainnet, 39), test (387)
wallet_name = "validator"
hotkey_name = "default"
password_file = ""                 # of an encrypted hotkey
shares = "A100=8 H100=12 B200=80:8"   # percent of the emission, 100 in all; :8 is the least GPUs of a node
burn = 80.0                        # percent
burn_uid = 204
scoring = "documented"             # or deployed-2025-10
api = "127.0.0.1:8080"
metrics_port = 9090
directory = "/opt/basilica-validator"
service = "systemd"                # systemd, user, compose, background, none
"""
EXAMPLES = {MINER: _MINER, VALIDATOR: _VALIDATOR}
"""Role to a file that runs as it is."""

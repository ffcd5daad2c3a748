"""A setup's answers as a TOML file: read, and examples of one."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from engine.errors import ConfigInvalid
from engine.setup.answers import MINER, VALIDATOR, Answers, answers_of, mistakes_of
from engine.setup.questions import problems_of

LARGEST = 256 * 1024
"""Bytes; a thousand nodes are a tenth of it."""
HINT = "an example: basilica-tui setup --example"
_KEY = re.compile(r"""^[ \t]*["']?([A-Za-z_][A-Za-z0-9_-]*)["']?[ \t]*=""", re.MULTILINE)


def read_answers(path: Path) -> Answers:
    """Answers from a TOML file with the keys of ``Answers``; ``nodes`` may be an array.

    Raises:
        ConfigInvalid: unreadable, not TOML, an unknown key, a wrong type, or an answer that cannot be used; each
            problem names its key and line.
    """
    text = _text_of(path)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigInvalid(f"{path}: is not valid TOML: {error}", hint=HINT) from error
    wrong = mistakes_of(data)
    answers = None if wrong else answers_of(data)
    wrong = wrong or problems_of(answers or Answers())
    if wrong:
        lines = _lines_of(text)
        problems = tuple(f"{lines.get(key, '')}{key}: {words}" for key, words in wrong.items())
        raise ConfigInvalid(f"{path}: {problems[0]}", problems=problems, hint=f"in {path}; {HINT}")
    assert answers is not None
    return answers


def _text_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise ConfigInvalid(f"{path}: cannot be read ({error.strerror})", hint=HINT) from error
    if len(data) > LARGEST:
        raise ConfigInvalid(f"{path}: is larger than {LARGEST // 1024} KiB, so it is no file of answers", hint=HINT)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigInvalid(f"{path}: line {line} is not UTF-8 text", hint=HINT) from error


def _lines_of(text: str) -> dict[str, str]:
    """Key to ``line N: ``; of several the first, and none for a key that is not written there."""
    found: dict[str, str] = {}
    for match in _KEY.finditer(text):
        found.setdefault(match[1], f"line {text.count(chr(10), 0, match.start(1)) + 1}: ")
    return found


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

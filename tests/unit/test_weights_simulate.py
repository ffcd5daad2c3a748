"""``basilica-tui weights simulate``: two files in, a vector or clear errors out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from basilica_tui.cli_weights import weights_app

EMISSION = """
[emission]
burn_percentage = 10.0
burn_uid = 999

[emission.gpu_allocations]
A100 = 8.0
H100 = { weight = 12.0, min_gpu_count = 1, min_gpu_vram = 1 }
B200 = { weight = 80.0, min_gpu_count = 8 }
"""
KEYS_ALONE = """
burn_percentage = 0
burn_uid = 7
[gpu_allocations]
H100 = 100
"""
SCORES = {
    "categories": {
        "A100": [[1, 0.8], [2, 0.6], [3, 0.4]],
        "H100": [[4, 0.9], [5, 0.7]],
        "B200": [[6, 1.0], [7, 0.9]],
    }
}


class Files:
    """The two input files and the verb over them."""

    def __init__(self, directory: Path) -> None:
        self.emission = directory / "emission.toml"
        self.scores = directory / "scores.json"
        self.emission.write_text(EMISSION)
        self.scores.write_text(json.dumps(SCORES))

    def run(self, *more: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr."""
        arguments = ["simulate", "--emission", str(self.emission), "--scores", str(self.scores), *more]
        result = CliRunner().invoke(weights_app, arguments)
        return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_deployed_profile_prints_the_published_vector(files: Files) -> None:
    """The JSON answer holds the vector with the burn uid, and what is burnt; nothing else is said."""
    code, out, err = files.run("--profile", "deployed-2025-10", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "weights": [[1, 2096], [2, 1572], [3, 1050], [4, 3980], [5, 3097], [6, 24834], [7, 22351], [999, 6553]],
        "burn": 6553,
    }


@pytest.mark.parametrize("arguments", [[], ["--profile", "documented"]])
def test_documented_profile_is_the_default_and_burns_what_it_does_not_reward(
    files: Files, arguments: list[str]
) -> None:
    """A100 earns nothing by the documents; its pool is burnt and both files' entries are remarked on."""
    code, out, err = files.run("--json", *arguments)
    assert code == 0
    assert json.loads(out) == {
        "weights": [[4, 3980], [5, 3097], [6, 24834], [7, 22351], [999, 11271]],
        "burn": 11271,
    }
    assert "emission.gpu_allocations.A100 = 8" in err
    assert "categories.A100" in err


def test_the_file_may_choose_the_profile(files: Files) -> None:
    """A validator's whole file works; an option on the command line wins over it."""
    files.emission.write_text('[scoring]\nprofile = "deployed-2025-10"\n' + EMISSION + "\n[metrics]\nenabled = true\n")
    assert json.loads(files.run("--json")[1])["burn"] == 6553
    assert json.loads(files.run("--json", "--profile", "documented")[1])["burn"] == 11271


def test_the_keys_alone_are_an_emission_file_too(files: Files) -> None:
    """Without an [emission] section the keys stand at the top; unknown ones are named and ignored."""
    files.emission.write_text("colour = 1\n" + KEYS_ALONE)
    files.scores.write_text('{"categories": {"h100": [[1, 3], [2, 1]]}}')
    code, out, err = files.run("--json")
    assert code == 0
    assert json.loads(out) == {"weights": [[1, 49151], [2, 16384]], "burn": 0}
    assert "colour is not a setting" in err


def test_text_output_explains_every_weight(files: Files) -> None:
    """Without --json there is a table and the arithmetic behind it."""
    code, out, _ = files.run("--profile", "deployed-2025-10")
    assert code == 0
    assert "999    6553  10.00%  burn" in out
    assert "uid 4: 7077 × 0.9 / 1.6, cut off = 3980" in out
    assert out.rstrip().endswith("sum 65533, miners served 7")


def test_scores_of_an_unpaid_category_are_remarked_on(files: Files) -> None:
    """A category without a part earns nothing, and that is said."""
    files.emission.write_text(KEYS_ALONE)
    files.scores.write_text('{"categories": {"H10": [[1, 3]]}}')
    code, out, err = files.run("--json")
    assert (code, json.loads(out)) == (0, {"weights": [[7, 65535]], "burn": 65535})
    assert "categories.H10: not in gpu_allocations" in err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (EMISSION.replace("10.0", "100.1"), ["emission.burn_percentage = 100.1"]),
        (EMISSION.replace("999", '"x"'), ["emission.burn_uid = 'x'"]),
        (EMISSION.replace("80.0", "70.0"), ["emission.gpu_allocations weights sum to 90"]),
        (EMISSION.replace("min_gpu_vram = 1", "min_gpu_vram = 0"), ["H100.min_gpu_vram = 0"]),
        (
            EMISSION.replace("10.0", "-1").replace("min_gpu_count = 8", "min_gpu_count = 0"),
            ["emission.burn_percentage = -1", "B200.min_gpu_count = 0"],
        ),
        ("[emission\n", ["not valid TOML", "line 1"]),
        ("emission = 3\n", ["emission = 3: write a section"]),
        ("", ["gpu_allocations = {}"]),
        ("[scoring]\nprofile = 3\n" + EMISSION, ["scoring.profile = 3: choose one of documented, deployed-2025-10"]),
        (
            "[emission.gpu_allocations]\nH100 = 100.009\n",
            ["gpu_allocations weights sum to 100.009, which makes a vector of 65540"],
        ),
    ],
)
def test_wrong_emission_files(files: Files, text: str, words: list[str]) -> None:
    """Each mistake is one line with file, key, value and what to do; the exit code is 2."""
    files.emission.write_text(text)
    files.scores.write_text('{"categories": {"H100": [[1, 1.0]]}}')
    code, out, err = files.run("--json")
    assert (code, out) == (2, "")
    lines = [line for line in err.splitlines() if line]
    assert all(line.startswith(f"basilica-tui: {files.emission}: ") for line in lines)
    assert all(word in err for word in words)
    assert len(lines) <= len(words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", ["not valid JSON", "line 1"]),
        ("[" * 100_000, ["not valid JSON"]),
        ("[]", ["categories = []: write {"]),
        ('{"H100": [[1, 1.0]]}', ["categories = {"]),
        ('{"categories": [[1, 1.0]]}', ["categories = [[1, 1.0]]: write {"]),
        ('{"categories": {"H100": 3}}', ["categories.H100 = 3: write a list"]),
        ('{"categories": {"H100": [[1]]}}', ["categories.H100[0] = [1]: write [uid, score]"]),
        ('{"categories": {"H100": [1, 0.5]}}', ["categories.H100[0] = 1", "categories.H100[1] = 0.5"]),
        ('{"categories": {"H100": [[1, 1], [65536, 1]]}}', ["categories.H100[1] uid = 65536"]),
        ('{"categories": {"H100": [[-1, 1]]}}', ["uid = -1"]),
        ('{"categories": {"H100": [[true, 1]]}}', ["uid = True"]),
        ('{"categories": {"H100": [[1.0, 1]]}}', ["uid = 1.0"]),
        ('{"categories": {"H100": [["5F", 1]]}}', ["uid = '5F'"]),
        ('{"categories": {"H100": [[1, -0.5]]}}', ["score = -0.5: write a number from 0"]),
        ('{"categories": {"H100": [[1, NaN]]}}', ["score = nan"]),
        ('{"categories": {"H100": [[1, 1e999]]}}', ["score = inf"]),
        ('{"categories": {"H100": [[1, null]]}}', ["score = None"]),
        ('{"categories": {"H100": [[1, 1' + "0" * 400 + "]]}}", ["score = 1000"]),
        ('{"categories": {"H100": [[1, 1], [1, 2]]}}', ["this uid is already in the category"]),
        ('{"categories": {"H100": [], "H100": []}}', ['the key "H100" comes twice']),
        ('{"categories": {"H100": [], "h100": []}}', ["the category is named twice"]),
    ],
)
def test_wrong_scores_files(files: Files, text: str, words: list[str]) -> None:
    """Each mistake is one line with file, place, value and what to do; the exit code is 2."""
    files.scores.write_text(text)
    code, out, err = files.run("--json")
    assert (code, out) == (2, "")
    lines = err.splitlines()
    assert len(lines) == len(words) or (len(words) == 2 and len(lines) == 1)
    assert all(line.startswith(f"basilica-tui: {files.scores}: ") for line in lines)
    assert all(word in err for word in words)


def test_files_that_cannot_be_read(files: Files, tmp_path: Path) -> None:
    """A missing file, a directory and bytes that are no text are told apart."""
    files.scores.write_bytes(b'{"categories": \xff}')
    assert "byte 15 is not UTF-8" in files.run()[2]
    files.scores.unlink()
    assert f"{files.scores}: no such file" in files.run()[2]
    files.emission = tmp_path
    code, _, err = files.run()
    assert (code, "Is a directory" in err) == (2, True)


def test_a_profile_that_does_not_exist(files: Files) -> None:
    """The known ones are named."""
    code, _, err = files.run("--profile", "s2")
    assert code == 2
    assert "--profile s2: choose one of documented, deployed-2025-10" in err


def test_a_byte_order_mark_does_no_harm(files: Files) -> None:
    """Editors on other systems put one first."""
    files.scores.write_text("\ufeff" + files.scores.read_text())
    assert files.run("--json")[0] == 0


def test_rules_need_no_library() -> None:
    """The scoring room loads neither an event loop nor a database, and the verb's module does not load the room."""
    program = (
        "import sys\n"
        "import engine.validator.scoring\n"
        "heavy = {'asyncio', 'sqlite3', 'sqlalchemy', 'asyncssh', 'grpc', 'bittensor', 'pydantic', 'textual'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    lazy = "import sys\nimport basilica_tui.cli_weights\nprint('engine.validator.scoring' in sys.modules)\n"
    root = Path(__file__).parents[2]
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root)},
        ).stdout.strip()
        for code in (program, lazy)
    ]
    assert outputs == ["[]", "False"]

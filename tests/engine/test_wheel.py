"""The package as a user gets it: a wheel in a fresh environment, far from the checkout."""

from __future__ import annotations

import os
import site
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel; dependencies are those of the tests, without the editable install."""
    home = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(home), ROOT],
        check=True,
        timeout=120,
    )
    (wheel,) = home.glob("basilica_tui-*.whl")
    venv.create(home / "env", with_pip=False)
    (packages,) = (home / "env" / "lib").glob("python3.*/site-packages")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(packages), str(wheel)],
        check=True,
        timeout=120,
    )
    # A path in a .pth file is searched, but the .pth files inside it (the editable install) are not read.
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()))
    return home / "env"


def run(env: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(env / "bin" / "python"), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=env,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": str(env)},
    )


def test_it_is_the_wheel_that_runs(installed: Path) -> None:
    """Both packages come from the wheel and not from the checkout."""
    found = run(installed, "-c", "import engine, basilica_tui; print(engine.__file__, basilica_tui.__file__)")

    assert found.stdout.count(str(installed)) == 2, found.stderr


def test_commands_answer(installed: Path) -> None:
    """The version, the help and a small verb work."""
    node = run(installed, "-m", "basilica_tui", "node-id", "basilica@192.168.1.100:22")

    assert run(installed, "-m", "basilica_tui", "--version").stdout.startswith("basilica-tui ")
    assert "--daemon" in run(installed, "-m", "basilica_tui", "--help").stdout
    assert node.stdout == "basilica@192.168.1.100:22 ca02cf98-b31a-4ccc-ab1c-9d5596bde209\n"


def test_everything_that_is_not_python_is_inside(installed: Path) -> None:
    """Styles, stand-in tools, migrations and units travel with the wheel."""
    code = (
        "from basilica_tui.paths import styles_folder; from importlib.resources import files; "
        "print(sorted(p.suffix for p in styles_folder().iterdir())[-1], "
        "files('engine.localnet').joinpath('stand_in/nvidia-smi').is_file(), "
        "files('engine.store').joinpath('migrations/env.py').is_file(), "
        "files('engine.deployment').joinpath('deploy/systemd/basilica-tui@.service').is_file())"
    )
    found = run(installed, "-c", code)

    assert found.stdout.split() == [".tcss", "True", "True", "True"], found.stderr


def test_help_loads_nothing_heavy(installed: Path) -> None:
    """--help must not import the console, the wire or the chain."""
    code = (
        "import sys; sys.argv = ['basilica-tui', '--help']\n"
        "from basilica_tui.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'textual', 'grpc', 'bittensor', 'asyncssh', 'sqlalchemy', 'fastapi'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))"
    )
    found = run(installed, "-c", code)

    assert found.stdout.strip().endswith("HEAVY []"), found.stdout + found.stderr

"""Finding a deployed miner: units, compose files, directories of both spellings, and how its process saw paths."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from engine.errors import ImportFailed
from engine.lifecycle.imports.deployment import normal
from engine.lifecycle.imports.find import find_deployment
from engine.lifecycle.imports.systemd import config_argument
from engine.lifecycle.imports.yaml_subset import parse_yaml

TOML = '[bittensor]\nwallet_name = "w"\n[node_management]\nnodes = []\n'


def put(root: Path, path: str, text: str = TOML) -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def unit(config: str = "--config /opt/basilica/config/miner.toml", more: str = "") -> str:
    return f"""[Unit]
Description=miner
[Service]
Type=simple
WorkingDirectory=/opt/basilica
ExecStart=/opt/basilica/basilica-miner {config} \\
    --metrics
{more}
[Install]
WantedBy=multi-user.target
"""


@pytest.mark.parametrize(
    "argument",
    ["--config /opt/basilica/config/miner.toml", "-c config/miner.toml", '--config="/opt/basilica/config/miner.toml"'],
)
def test_a_unit_names_file_directory_and_user(tmp_path: Path, argument: str) -> None:
    """From the unit come the configuration, what relative paths are relative to, the user's home and variables."""
    file = put(tmp_path, "opt/basilica/config/miner.toml")
    put(tmp_path, "etc/passwd", "basilica:x:1000:1000::/srv/basilica:/bin/bash\n")
    put(tmp_path, "opt/basilica/miner.env", "BASILCA_BITTENSOR__NETUID=387\nRUST_LOG=debug\n")
    put(
        tmp_path,
        "etc/systemd/system/basilica-miner.service",
        unit(
            argument,
            'User=basilica\nEnvironment="BASILCA_BITTENSOR__HOTKEY_NAME=hot 2" A=b\n'
            "EnvironmentFile=-/opt/basilica/miner.env",
        ),
    )
    found = find_deployment(root=tmp_path)
    assert found.config_path == file
    assert found.around.kind == "systemd"
    assert found.around.user == "basilica"
    assert "--metrics" in found.around.arguments
    assert found.around.environment == {"BASILCA_BITTENSOR__HOTKEY_NAME": "hot 2", "BASILCA_BITTENSOR__NETUID": "387"}
    assert found.locate("./data/miner.db") == PurePosixPath("/opt/basilica/data/miner.db")
    assert found.locate("~/.ssh/key") == PurePosixPath("/srv/basilica/.ssh/key")
    assert found.locate("/a/../b") == PurePosixPath("/b")


def test_a_drop_in_overrides_its_unit(tmp_path: Path) -> None:
    """What systemctl edit wrote counts."""
    put(tmp_path, "opt/basilica/other.toml")
    put(tmp_path, "opt/basilica/config/miner.toml")
    put(tmp_path, "etc/systemd/system/basilica-miner.service", unit())
    override = "[Service]\nExecStart=\nExecStart=/opt/basilica/miner -c other.toml\n"
    put(tmp_path, "etc/systemd/system/basilica-miner.service.d/override.conf", override)
    assert find_deployment(root=tmp_path).config_path == tmp_path / "opt/basilica/other.toml"


@pytest.mark.parametrize("place", ["opt/basilica", "opt/basilca/config", "etc/basilca", "var/lib/basilica/miner"])
def test_the_usual_places_in_both_spellings(tmp_path: Path, place: str) -> None:
    """Without a unit the directories that deployed miners use are searched."""
    file = put(tmp_path, f"{place}/miner.toml")
    found = find_deployment(root=tmp_path)
    assert found.config_path == file
    directory = place.removesuffix("/config")
    assert found.locate("data/miner.db") == PurePosixPath(f"/{directory}/data/miner.db")


def test_a_directory_or_a_file_can_be_named(tmp_path: Path) -> None:
    """A whole machine's tree, a miner's directory, its unit and its file all lead to the same configuration."""
    file = put(tmp_path, "opt/basilica/config/miner.toml")
    service = put(tmp_path, "etc/systemd/system/basilica-miner.service", unit())
    for source in (tmp_path, file.parents[1], service, file):
        found = find_deployment(source, root=tmp_path)
        assert found.config_path == file, source
        assert found.around.kind == "systemd"
    assert find_deployment(tmp_path).config_path == file


def test_others_are_named(tmp_path: Path) -> None:
    """When there are several, the started one is taken and the others are said."""
    put(tmp_path, "opt/basilica/config/miner.toml")
    second = put(tmp_path, "opt/basilca/miner.toml")
    put(tmp_path, "etc/systemd/system/basilica-miner.service", unit())
    assert find_deployment(root=tmp_path).also == (second,)


COMPOSE = """
# production
x-logging: &logging
  driver: json-file
services:
  basilica-miner:
    image: ghcr.io/one-covenant/basilica/miner:latest
    container_name: basilica-miner
    restart: unless-stopped
    logging: *logging
    environment:
      - RUST_LOG=debug
      - BASILCA_BITTENSOR__WALLET_NAME=${BITTENSOR_WALLET_NAME:-other}
    volumes:
      - ./config/miner.toml:/var/lib/basilica/miner/miner.toml:ro   # the file
      - "./data:/var/lib/basilica/miner/data:rw"
      - ~/.ssh:/var/lib/basilica/miner/.ssh:ro
      - type: bind
        source: /srv/wallets
        target: /var/lib/basilica/miner/.bittensor
      - named:/var/lib/basilica/miner/log
    ports:
      - "8080:50051"
      - "127.0.0.1:9090:9090"
    healthcheck:
      test: ["CMD", "pgrep", "-f", "basilica-miner"]
  watchtower:
    image: containrrr/watchtower
"""


def test_a_compose_file_maps_container_paths(tmp_path: Path) -> None:
    """Paths that the container saw are told as the host has them; those of the container only are not."""
    file = put(tmp_path, "srv/miner/config/miner.toml")
    put(tmp_path, "srv/miner/.env", "BITTENSOR_WALLET_NAME=mine\n")
    compose = put(tmp_path, "srv/miner/docker-compose.yml", COMPOSE)
    found = find_deployment(compose, root=tmp_path)
    assert found.config_path == file
    assert found.around.kind == "docker"
    assert found.around.ports == ((8080, 50051), (9090, 9090))
    assert found.around.environment == {"BASILCA_BITTENSOR__WALLET_NAME": "mine"}
    assert found.locate("./data/miner.db") == PurePosixPath("/srv/miner/data/miner.db")
    assert found.locate("~/.ssh/key") == PurePosixPath("/root/.ssh/key")
    assert found.locate("~/.bittensor/wallets") == PurePosixPath("/srv/wallets/wallets")
    assert found.locate("/opt/basilica/data/miner.db") is None
    assert found.locate("~/log/x") is None


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    """Nothing found, a unit of something else, and a file inside a container only are one clear error each."""
    with pytest.raises(ImportFailed, match="no deployed miner"):
        find_deployment(root=tmp_path)
    with pytest.raises(ImportFailed, match="no such file"):
        find_deployment(tmp_path / "nowhere")
    other = put(tmp_path, "etc/systemd/system/basilica-validator.service", unit().replace("miner", "validator"))
    with pytest.raises(ImportFailed, match="starts no miner"):
        find_deployment(other, root=tmp_path)
    hidden = put(tmp_path, "srv/compose.yml", "services:\n  miner:\n    image: basilica/miner\n")
    with pytest.raises(ImportFailed, match="inside the container"):
        find_deployment(hidden, root=tmp_path)


@pytest.mark.parametrize(
    ("words", "value"),
    [("--config a", "a"), ("-c a", "a"), ("--config=a", "a"), ("-ca", "a"), ("--metrics", None), ("-c", None)],
)
def test_how_a_configuration_is_named(words: str, value: str | None) -> None:
    """Long, short, joined or apart."""
    assert config_argument(words.split()) == value


def test_the_subset_of_yaml() -> None:
    """Mappings, lists, quotes, comments and empty values are read; what is beyond is an error, not a guess."""
    assert parse_yaml(
        "a: 1\nb:\n- x # y\n- 'p: q'\n- k: v\n  l: w\nc:\nd: [a, \"b\"]\ne: |\n  text\n  more\nf: g#h"
    ) == {
        "a": "1",
        "b": ["x", "p: q", {"k": "v", "l": "w"}],
        "c": "",
        "d": ["a", "b"],
        "e": "",
        "f": "g#h",
    }
    assert parse_yaml("") == {}
    with pytest.raises(ValueError):
        parse_yaml("a:\n    b: 1\n  c: 2\n")


def test_paths_without_detours() -> None:
    """Dots are taken out without looking at any disk."""
    assert normal(PurePosixPath("/a/./b/../c")) == PurePosixPath("/a/c")
    assert normal(PurePosixPath("/../a")) == PurePosixPath("/a")

"""A stand-in node serves real SSH: logins by its key file, real commands, real exits."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import asyncssh
import pytest

from engine.localnet import stand_in_node
from engine.localnet.gpu_model import GpuModel
from engine.localnet.stand_in_node import SERVER_VERSION, StandInNode


class Client:
    """A key and the ways in which tests use it."""

    def __init__(self, directory: Path) -> None:
        self.key = asyncssh.generate_private_key("ssh-ed25519")
        self.path = directory / "client_key"
        self.path.write_bytes(self.key.export_private_key())
        self.path.chmod(0o600)
        self.line = self.key.export_public_key().decode().strip()

    async def connect(self, node: StandInNode, username: str = "basilica") -> asyncssh.SSHClientConnection:
        return await asyncssh.connect(
            node.host,
            node.port,
            username=username,
            client_keys=[self.key],
            known_hosts=None,
            config=None,
            agent_path=None,
            encoding=None,
        )

    async def run(self, node: StandInNode, command: str, stdin: bytes = b"") -> asyncssh.SSHCompletedProcess:
        connection = await self.connect(node)
        try:
            return await connection.run(command, input=stdin)
        finally:
            connection.close()

    async def openssh(self, node: StandInNode, *command: str, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
        process = await asyncio.create_subprocess_exec(
            "ssh", "-F", "none", "-i", str(self.path), "-p", str(node.port), "-o", "IdentitiesOnly=yes",
            "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
            "-o", "LogLevel=ERROR", f"basilica@{node.host}", *command,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate(stdin)
        assert process.returncode is not None
        return process.returncode, out, err


def raw(result: asyncssh.SSHCompletedProcess) -> bytes:
    assert isinstance(result.stdout, bytes)
    return result.stdout


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[StandInNode]:
    node = StandInNode(tmp_path / "node", gpu=GpuModel.for_node("test", 0))
    await node.start()
    yield node
    await node.stop()


@pytest.fixture
def client(node: StandInNode, tmp_path: Path) -> Client:
    client = Client(tmp_path)
    node.authorized_keys.write_text(f"{client.line}\n")
    return client


async def test_a_listed_key_runs_a_command_in_the_home_of_the_node(node: StandInNode, client: Client) -> None:
    """HOME, working directory and user are the node's, and the login is counted."""
    result = await client.run(node, "echo $HOME; pwd; echo $USER")
    assert result.stdout == f"{node.home}\n{node.home}\nbasilica\n".encode()
    assert result.exit_status == 0
    assert node.logins == 1


@pytest.mark.parametrize(
    ("prefix", "reason"),
    [
        ('expiry-time="20200101Z" ', "expired"),
        ("frobnicate ", "bad_options"),
        ('from="10.0.0.0/8" ', "source"),
        ("cert-authority ", "certificate_only"),
    ],
)
async def test_a_line_that_sshd_would_refuse_is_refused(
    node: StandInNode, client: Client, prefix: str, reason: str
) -> None:
    """Expired, unknown or unmet options deny the login."""
    node.authorized_keys.write_text(f"{prefix}{client.line}\n")
    with pytest.raises(asyncssh.PermissionDenied):
        await client.connect(node)
    assert node.denials[-1].reason == reason
    assert node.logins == 0


async def test_the_key_file_is_read_at_every_login(node: StandInNode, client: Client) -> None:
    """A removed key opens no new login, and the session that is open goes on, as with a real sshd."""
    async with await client.connect(node) as connection:
        node.authorized_keys.write_text("")
        with pytest.raises(asyncssh.PermissionDenied):
            await client.connect(node)
        assert (await connection.run("echo still here")).stdout == b"still here\n"


async def test_another_user_or_a_loose_key_file_is_refused(node: StandInNode, client: Client) -> None:
    """Only the configured user exists, and a key file that others may write counts for nothing."""
    with pytest.raises(asyncssh.PermissionDenied):
        await client.connect(node, "root")
    node.authorized_keys.chmod(0o666)
    with pytest.raises(asyncssh.PermissionDenied):
        await client.connect(node)
    assert [denial.reason for denial in node.denials] == ["no_such_user", "bad_modes"]


async def test_a_forced_command_replaces_what_was_asked(node: StandInNode, client: Client) -> None:
    """``command=`` runs instead, with the client's words in SSH_ORIGINAL_COMMAND."""
    node.authorized_keys.write_text(f'restrict,command="echo \\"$SSH_ORIGINAL_COMMAND\\"" {client.line}\n')
    assert (await client.run(node, "rm -rf x")).stdout == b"rm -rf x\n"


async def test_input_output_and_exit_status_are_those_of_the_command(node: StandInNode, client: Client) -> None:
    """1 MB passes through unchanged, streams stay apart, and statuses and signals arrive."""
    data = os.urandom(1 << 20)
    assert (await client.run(node, "cat", data)).stdout == data
    both = await client.run(node, "echo out; echo err >&2; exit 7")
    assert (both.stdout, both.stderr, both.exit_status) == (b"out\n", b"err\n", 7)
    killed = await client.run(node, "kill -9 $$")
    assert killed.exit_signal is not None
    assert killed.exit_signal[0] == "KILL"


async def test_big_output_arrives_whole(node: StandInNode, client: Client) -> None:
    """20 MB of output ends complete before the exit status, though it is many times the window."""
    result = await client.run(node, "head -c 20000000 /dev/zero; exit 3")
    assert isinstance(result.stdout, bytes)
    assert len(result.stdout) == 20_000_000
    assert result.exit_status == 3


async def test_input_that_nobody_reads_does_not_hold_the_channel(node: StandInNode, client: Client) -> None:
    """A command that ends without reading its input ends the channel all the same."""
    async with await client.connect(node) as connection:
        process = await connection.create_process("exec sleep 0.2")
        process.stdin.write(b"x" * (4 << 20))
        await asyncio.wait_for(process.wait_closed(), 60)
        assert process.exit_status == 0


async def test_many_channels_of_one_connection_run_side_by_side(node: StandInNode, client: Client) -> None:
    """Twenty commands that wait for each other finish only if they run at the same time."""
    gather = "touch seen.%d; while [ $(ls seen.* | wc -l) -lt 20 ]; do sleep 0.05; done; echo %d"
    async with await client.connect(node) as connection:
        results = await asyncio.gather(*(connection.run(gather % (i, i), timeout=100) for i in range(20)))
    assert [result.stdout for result in results] == [b"%d\n" % i for i in range(20)]


async def test_a_signal_from_the_client_reaches_the_command(node: StandInNode, client: Client) -> None:
    """TERM sent over the channel ends the command with that signal."""
    async with await client.connect(node) as connection:
        process = await connection.create_process("echo ready; sleep 600")
        assert await process.stdout.readline() == b"ready\n"
        process.terminate()
        await asyncio.wait_for(process.wait_closed(), 60)
        assert process.exit_signal is not None
        assert process.exit_signal[0] == "TERM"


async def test_nothing_is_forwarded(node: StandInNode, client: Client) -> None:
    """Ports in both directions and terminals are refused."""
    async with await client.connect(node) as connection:
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.open_connection("127.0.0.1", node.port)
        with pytest.raises(asyncssh.ChannelListenError):
            await connection.start_server(lambda *_: None, "127.0.0.1", 0)
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.run("true", term_type="xterm")


async def test_the_openssh_client_works(node: StandInNode, client: Client) -> None:
    """The real ssh program logs in, passes 1 MB through, gets the status, and is denied when the key expired."""
    data = os.urandom(1 << 20)
    status, out, err = await client.openssh(node, "sha256sum; echo err >&2; exit 5", stdin=data)
    assert (status, out.split()[0].decode(), err) == (5, hashlib.sha256(data).hexdigest(), b"err\n")
    node.authorized_keys.write_text(f'expiry-time="20200101000000Z" {client.line}\n')
    status, _, err = await client.openssh(node, "true")
    assert status == 255
    assert b"Permission denied" in err


async def test_sftp_reads_and_writes_in_the_home(node: StandInNode, client: Client) -> None:
    """The sftp subsystem is OpenSSH's own server where the machine has one."""
    if not Path("/usr/lib/openssh/sftp-server").exists():
        pytest.skip("no sftp-server on this machine (package openssh-sftp-server)")
    (node.home / "question").write_bytes(b"hello")
    async with await client.connect(node) as connection, connection.start_sftp_client() as sftp:
        await sftp.copy("question", "note")
    assert (node.home / "note").read_bytes() == b"hello"


async def test_the_banner_reads_as_openssh_and_names_itself(node: StandInNode, client: Client) -> None:
    """Both the capability rules and a person can tell what answers."""
    async with await client.connect(node) as connection:
        assert connection.get_extra_info("server_version") == f"SSH-2.0-{SERVER_VERSION}"
    assert "stand-in" in SERVER_VERSION


async def test_the_directory_can_be_used_again(tmp_path: Path) -> None:
    """Host key, port, keys and GPU identities survive a restart."""
    first = StandInNode(tmp_path / "n")
    await first.start()
    first.authorized_keys.write_text("# kept\n")
    kept = (tmp_path / "n" / "host_key").read_bytes(), (tmp_path / "n" / "gpu.conf").read_text(), first.port
    await first.stop()
    second = StandInNode(tmp_path / "n", port=first.port)
    await second.start()
    again = (tmp_path / "n" / "host_key").read_bytes(), (tmp_path / "n" / "gpu.conf").read_text(), second.port
    await second.stop()
    assert again == kept
    assert second.authorized_keys.read_text() == "# kept\n"
    assert oct(second.authorized_keys.stat().st_mode & 0o777) == "0o600"
    assert oct(second.authorized_keys.parent.stat().st_mode & 0o777) == "0o700"


async def test_the_gpu_tool_answers_every_form(node: StandInNode, client: Client) -> None:
    """Rows for any list of fields, the plain header, -L, and an error for an unknown field."""
    gpu = GpuModel.for_node("test", 0)
    fields = "index,uuid,name,memory.total,driver_version,utilization.gpu,temperature.gpu"
    rows = (await client.run(node, f"nvidia-smi --query-gpu={fields} --format=csv,noheader,nounits")).stdout
    assert isinstance(rows, bytes)
    table = [line.split(", ") for line in rows.decode().splitlines()]
    assert [row[:5] for row in table] == [
        [str(i), uuid, gpu.model, str(gpu.memory_mib), gpu.driver] for i, uuid in enumerate(gpu.uuids)
    ]
    assert all(0 <= int(row[5]) <= 100 and 20 < int(row[6]) < 95 for row in table)
    plain = (await client.run(node, "nvidia-smi")).stdout
    assert isinstance(plain, bytes)
    assert b"Driver Version: 570.124.06" in plain
    assert b"CUDA Version: 12.8" in plain
    assert b"stand-in" in plain
    listed = (await client.run(node, "nvidia-smi -L")).stdout
    assert isinstance(listed, bytes)
    assert listed.decode().splitlines()[0] == f"GPU 0: {gpu.model} (UUID: {gpu.uuids[0]})"
    wrong = await client.run(node, "nvidia-smi --query-gpu=index,bogus --format=csv,noheader")
    assert (wrong.exit_status, wrong.stdout) == (2, b'Field "bogus" is not a valid field to query.\n')


async def test_the_gpus_follow_the_file_of_the_node(node: StandInNode, client: Client) -> None:
    """gpu.conf is read at every call; a node without a GPU says so with status 6."""
    (node.directory / "gpu.conf").write_text("MODEL='Tesla T4'\nUUIDS='GPU-1 GPU-2'\n")
    names = await client.run(node, "nvidia-smi --query-gpu=name --format=csv,noheader")
    assert names.stdout == b"Tesla T4\nTesla T4\n"
    (node.directory / "gpu.conf").write_text("UUIDS=''\n")
    assert (await client.run(node, "nvidia-smi -L")).exit_status == 6


async def test_the_docker_tool_is_a_stand_in(node: StandInNode, client: Client) -> None:
    """It tells its version and refuses to run anything."""
    assert b"stand-in" in raw(await client.run(node, "docker --version"))
    refused = await client.run(node, "docker run --rm alpine true")
    assert refused.exit_status == 125


async def test_a_machine_without_python3_lends_its_nodes_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no python3 is in the PATH, as with python3.14 or uv alone, the node runs the one that runs this."""
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.setattr(stand_in_node, "SYSTEM_PATH", str(empty))
    client = Client(tmp_path)
    node = StandInNode(tmp_path / "node")
    await node.start()
    try:
        node.authorized_keys.write_text(client.line + "\n")
        told = await client.run(node, "command -v python3; python3 -I -c 'import sys; print(sys.version)'")
    finally:
        await node.stop()
    path, version = raw(told).decode().split("\n", 1)
    assert Path(path).parent == tmp_path / "node" / "bin"
    assert version.strip() == sys.version.strip()


async def test_stop_leaves_no_process(tmp_path: Path) -> None:
    """Running, abandoned and detached commands are gone when the node has stopped."""
    node = StandInNode(tmp_path / "node")
    await node.start()
    client = Client(tmp_path)
    node.authorized_keys.write_text(f"{client.line}\n")
    connection = await client.connect(node)
    running = await connection.create_process("echo $$; sleep 600")
    abandoned = await connection.create_process("trap '' HUP PIPE TERM; echo $$; sleep 600")
    pids = [int(await running.stdout.readline()), int(await abandoned.stdout.readline())]
    abandoned.close()
    detached = await connection.run("setsid sh -c 'echo $$; exec sleep 600 >/dev/null 2>&1' & sleep 0.1", timeout=60)
    pids.append(int(raw(detached)))
    assert all(Path(f"/proc/{pid}").exists() for pid in pids)
    await node.stop()
    for _ in range(3000):  # init reaps the detached one
        if not any(_is_alive(pid) for pid in pids):
            break
        time.sleep(0.02)
    assert not any(_is_alive(pid) for pid in pids)
    connection.abort()


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_fifty_nodes_serve_at_once(tmp_path: Path) -> None:
    """A whole fleet starts in one process, and each member answers with its own GPUs."""
    client = Client(tmp_path)
    nodes = [StandInNode(tmp_path / f"n{i}", gpu=GpuModel.for_node("fleet", i)) for i in range(50)]
    await asyncio.gather(*(node.start() for node in nodes))
    limit = asyncio.Semaphore(8)

    async def ask(node: StandInNode) -> bytes:
        node.authorized_keys.write_text(f"{client.line}\n")
        async with limit:
            return raw(await client.run(node, "nvidia-smi --query-gpu=uuid --format=csv,noheader"))

    answers = await asyncio.gather(*(ask(node) for node in nodes))
    await asyncio.gather(*(node.stop() for node in nodes))
    assert len({node.port for node in nodes}) == 50
    assert len({line for answer in answers for line in answer.splitlines()}) == sum(
        len(GpuModel.for_node("fleet", i).uuids) for i in range(50)
    )

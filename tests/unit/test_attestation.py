"""The attestation program and its judge: signatures, binding, products, and answers made by an enemy."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from engine.errors import AttestationRefused
from engine.localnet.gpu_model import GpuModel
from engine.validator.attestation import Attestation, Device, program_sha256, read_attestation
from engine.validator.envelopes import ENVELOPES, envelope_of, envelope_problems
from engine.validator.full import time_problems
from engine.validator.hostile_json import Reader, parse_json
from engine.validator.product import ProductTask, ShownRows, are_products, read_rows, seeded_matrix
from tests.support.ptx import Kernel

SOURCE = Path(__file__).parents[2] / "engine" / "attestation" / "node_program.py"
TOOLS = Path(__file__).parents[2] / "engine" / "localnet" / "stand_in"
CHALLENGE = "5a" * 32
TASK = ProductTask(size=64, rows=16)
OTHER_SIZE = {"possible": True, "size": 16, "cuda": "", "devices": []}
UUID = "GPU-11111111-aaaa-bbbb-cccc-000000000001"


def load_program() -> Any:
    spec = importlib.util.spec_from_file_location("node_program", SOURCE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PROGRAM = load_program()


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A directory with a stand-in nvidia-smi that shows one H100."""
    (tmp_path / "bin").mkdir()
    shutil.copy(TOOLS / "nvidia-smi", tmp_path / "bin" / "nvidia-smi")
    (tmp_path / "gpu.conf").write_text(GpuModel(uuids=(UUID,)).to_text())
    return tmp_path / "bin"


def run_program(tools: Path, *, challenge: str = CHALLENGE, task: ProductTask = TASK, **env: str) -> bytes:
    words = json.dumps({"challenge": challenge, "size": task.size, "rows": task.rows})
    done = subprocess.run(
        [sys.executable, "-I", "-B", str(SOURCE), words],
        stdout=subprocess.PIPE,
        check=True,
        env={"PATH": f"{tools}:{os.environ['PATH']}", **env},
    )
    return done.stdout


def read(data: bytes, *, challenge: str = CHALLENGE, task: ProductTask = TASK) -> Attestation:
    return read_attestation(data, challenge=challenge, task=task)


def resigned(data: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    """What a node's owner can do: change the facts and sign them with a key of their own."""
    document = json.loads(data)
    facts = json.loads(document["facts"])
    change(facts)
    document["facts"] = json.dumps(facts)
    document["public_key"] = PROGRAM.public_key(7).hex()
    message = PROGRAM.message(
        document["challenge"], document["program_sha256"], document["public_key"], document["facts"]
    )
    document["signature"] = PROGRAM.sign(7, message).hex()
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("message", "r", "s"),
    [
        (
            "sample",
            "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716",
            "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8",
        ),
        (
            "test",
            "F1ABB023518351CD71D881567B1EA663ED3EFCF6C5132B354F28D3B0B7D38367",
            "019F4113742A2B14BD25926B49C649155F267E60D3814B4C0CC84250E46F0083",
        ),
    ],
)  # fmt: skip
def test_signatures_are_those_of_rfc_6979(message: str, r: str, s: str) -> None:
    """The P-256 vectors of RFC 6979 A.2.5 come out to the last bit."""
    private = 0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721
    assert PROGRAM.sign(private, message.encode()).hex().upper() == r + s
    point = "0460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"
    assert PROGRAM.public_key(private).hex().startswith(point)


@pytest.mark.parametrize("private", [1, 2, 3, PROGRAM.N - 1, 12345678901234567890])
def test_a_library_accepts_the_signatures(private: int) -> None:
    """Edge keys included, an independent implementation verifies what the program signs."""
    signature = PROGRAM.sign(private, b"words")
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), PROGRAM.public_key(private))
    pair = encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    key.verify(pair, b"words", ec.ECDSA(hashes.SHA256()))


def test_an_honest_answer_is_believed(tools: Path) -> None:
    """The facts of this machine arrive typed; without a CUDA driver the product says that it is not possible."""
    found = read(run_program(tools))
    (gpu,) = found.gpus
    assert (gpu.uuid, gpu.model, gpu.memory_mib) == (UUID, "NVIDIA H100 80GB HBM3", 81559)
    assert (gpu.compute_capability, found.cuda) == ("9.0", "12.8")
    assert found.cpu_threads == os.cpu_count()
    assert found.memory_bytes > 1 << 28
    assert (found.compute.possible, bool(found.compute.reason)) == (False, True)


def test_the_program_is_python_3_8(tools: Path) -> None:
    """The file parses with the grammar of the oldest Python that it promises, and imports the standard library only."""
    import ast

    tree = ast.parse(SOURCE.read_text(), feature_version=(3, 8))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert names <= sys.stdlib_module_names
    names = {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert names == {"__future__", "typing"}


def _truncated(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _other_program(data: bytes) -> bytes:
    document = json.loads(data)
    document["program_sha256"] = "00" * 32
    return json.dumps(document).encode()


def _other_facts(data: bytes) -> bytes:
    document = json.loads(data)
    document["facts"] = document["facts"].replace("H100", "H200")
    return json.dumps(document).encode()


def _zero_signature(data: bytes) -> bytes:
    return json.dumps({**json.loads(data), "signature": "00" * 64}).encode()


def _point_not_on_curve(data: bytes) -> bytes:
    return json.dumps({**json.loads(data), "public_key": "04" + "11" * 64}).encode()


@pytest.mark.parametrize(
    ("forge", "reason"),
    [
        (_truncated, "malformed"),
        (_other_program, "program_changed"),
        (_other_facts, "signature_wrong"),
        (_zero_signature, "signature_wrong"),
        (_point_not_on_curve, "signature_wrong"),
        (lambda data: b"Welcome to my node!\n" + data, "malformed"),
        (lambda data: data.replace(b'"version": 1', b'"version": 1, "version": 1'), "malformed"),
        (lambda data: data.replace(b'"version": 1', b'"version": 2'), "malformed"),
        (lambda data: b"", "malformed"),
        (lambda data: b"[" * 100_000, "malformed"),
        (lambda data: b"\xff" + data, "malformed"),
        (lambda data: data + b" " * (9 << 20), "malformed"),
        (lambda data: b'{"version": NaN}', "malformed"),
        (lambda data: resigned(data, lambda f: f.update(clock=-1)), "malformed"),
        (lambda data: resigned(data, lambda f: f.update(cpu=[])), "malformed"),
        (lambda data: resigned(data, lambda f: f["memory"].update(MemTotal=True)), "malformed"),
        (lambda data: resigned(data, lambda f: f["network"].update(hostname="x" * 9999)), "malformed"),
        (lambda data: resigned(data, lambda f: f["nvidia_smi"].update(gpus=[{}] * 65)), "malformed"),
        (lambda data: resigned(data, lambda f: f["nvidia_smi"]["gpus"][0].update(uuid="GPU-1")), "lying"),
        (lambda data: resigned(data, lambda f: f["nvidia_smi"].update(gpus=f["nvidia_smi"]["gpus"] * 2)), "lying"),
        (lambda data: resigned(data, lambda f: f.update(compute=OTHER_SIZE)), "lying"),
    ],
)  # fmt: skip
def test_a_forged_answer_is_refused(tools: Path, forge: Callable[[bytes], bytes], reason: str) -> None:
    """Each forgery ends in the one error class, with the word for it."""
    with pytest.raises(AttestationRefused) as caught:
        read(forge(run_program(tools)))
    assert caught.value.reason == reason


def test_a_replayed_answer_is_refused(tools: Path) -> None:
    """An answer is good for its own challenge alone."""
    with pytest.raises(AttestationRefused, match="another challenge") as caught:
        read(run_program(tools), challenge="00" * 32)
    assert caught.value.reason == "challenge_mismatch"


def test_a_product_without_gpus_is_a_problem(tools: Path) -> None:
    """A node that shows a GPU and an empty list of products is caught, not passed."""
    empty = {"possible": True, "size": TASK.size, "cuda": "12.8", "devices": []}
    found = read(resigned(run_program(tools), lambda f: f.update(compute=empty)))
    assert found.compute.problems == ("the driver and nvidia-smi show different GPUs",)


def test_products_of_no_gpu_at_all_are_a_problem(tools: Path) -> None:
    """A node that says that its driver works, and shows a GPU nowhere, has proved nothing."""
    empty = {"possible": True, "size": TASK.size, "cuda": "12.8", "devices": []}

    def bare(facts: dict[str, Any]) -> None:
        facts.update(compute=empty)
        facts["nvidia_smi"]["gpus"] = []

    found = read(resigned(run_program(tools), bare))
    assert found.compute.problems == ("the driver is said to work, but shows no GPU",)


def test_a_gpu_that_cannot_compute_is_a_fault_and_no_lie(tools: Path) -> None:
    """Memory that a tenant holds is no forgery: the step fails with the driver's word. It excuses one GPU, not two."""
    broken = {"possible": True, "size": TASK.size, "cuda": "12.8", "devices": [{"error": "cuMemAlloc: error 2"}]}
    found = read(resigned(run_program(tools), lambda f: f.update(compute=broken)))
    assert (found.compute.problems, found.compute.errors) == ((), ("GPU 0: cuMemAlloc: error 2",))

    def twice(facts: dict[str, Any]) -> None:
        facts.update(compute=broken)
        other = {**facts["nvidia_smi"]["gpus"][0], "index": "1", "uuid": UUID[:-4] + "ffff"}
        facts["nvidia_smi"]["gpus"].append(other)

    found = read(resigned(run_program(tools), twice))
    assert found.compute.problems == ("the driver and nvidia-smi show different GPUs",)


def test_a_uuid_in_capitals_is_the_same_gpu(tools: Path) -> None:
    """One GPU cannot be shown as two by writing its UUID in another way."""
    loud = "GPU-" + UUID.removeprefix("GPU-").upper()
    found = read(resigned(run_program(tools), lambda f: f["nvidia_smi"]["gpus"][0].update(uuid=loud)))
    assert UUID in found.uuids


def test_the_kernel_multiplies() -> None:
    """The PTX itself, emulated thread by thread, gives the product of two matrices of 32 x 32."""
    size = 32
    left, right = seeded_matrix(CHALLENGE, 0, "A", size), seeded_matrix(CHALLENGE, "all", "B", size)
    memory = bytearray(left + right + bytes(4 * size * size))
    Kernel(PROGRAM.PTX).run((2, 2), (16, 16), [0, size * size, 2 * size * size, size], memory)
    assert memory[2 * size * size :] == plain_product(left, right, size)


def plain_product(left: bytes, right: bytes, size: int) -> bytes:
    rows = [left[i * size : (i + 1) * size] for i in range(size)]
    columns = [right[j::size] for j in range(size)]
    values = [sum(a * b for a, b in zip(row, column, strict=True)) for row in rows for column in columns]
    return struct.pack(f"<{size * size}I", *values)


@pytest.mark.parametrize("place", [0, 31, 32 * 31, 32 * 32 - 1])
def test_one_wrong_number_in_a_shown_row_is_found(place: int) -> None:
    """With every row shown, a single unit too much anywhere fails Freivalds' test."""
    size, task = 32, ProductTask(32, 32)
    right = seeded_matrix(CHALLENGE, "all", "B", size)
    product = bytearray(plain_product(seeded_matrix(CHALLENGE, 3, "A", size), right, size))
    assert are_products([shown(bytes(product), 3, task)], CHALLENGE, size)
    struct.pack_into("<I", product, place * 4, struct.unpack_from("<I", product, place * 4)[0] + 1)
    assert not are_products([shown(bytes(product), 3, task)], CHALLENGE, size)


def shown(product: bytes, gpu: int, task: ProductTask) -> ShownRows:
    root, rows = PROGRAM.open_rows(CHALLENGE, gpu, product, task.size, task.rows)
    found = read_rows(Reader({"root": root, "rows": rows}, "device"), CHALLENGE, gpu, task)
    assert isinstance(found, ShownRows)
    return found


def test_rows_outside_the_commitment_are_found() -> None:
    """Rows that were not committed to, or not asked for, do not get as far as the product."""
    task, product = ProductTask(32, 8), bytes(32 * 32 * 4)
    root, rows = PROGRAM.open_rows(CHALLENGE, 0, product, 32, 8)
    other = [{**rows[0], "data": rows[0]["data"].replace("A", "B", 1)}, *rows[1:]]
    assert "committed" in str(read_rows(Reader({"root": root, "rows": other}, "d"), CHALLENGE, 0, task))
    assert "other rows" in str(read_rows(Reader({"root": root, "rows": rows[:7]}, "d"), CHALLENGE, 0, task))
    assert "other rows" in str(read_rows(Reader({"root": "0" * 64, "rows": rows}, "d"), CHALLENGE, 0, task))


@pytest.fixture(scope="module")
def fake_driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a libcuda.so.1 that computes on the processor."""
    if shutil.which("gcc") is None:
        pytest.skip("no C compiler here")
    path = tmp_path_factory.mktemp("cuda")
    source = Path(__file__).parents[1] / "support" / "fake_cuda.c"
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", str(path / "libcuda.so.1"), str(source)], check=True)
    return path


def test_a_product_through_the_driver_api_is_checked(tools: Path, fake_driver: Path) -> None:
    """Over a stand-in driver the whole way from PTX to Freivalds' test is walked, and the product is right."""
    compute = read(run_program(tools, LD_LIBRARY_PATH=str(fake_driver))).compute
    (device,) = compute.devices
    assert (compute.possible, compute.problems, compute.cuda) == (True, (), "12.8")
    assert (device.uuid, device.compute_capability, device.multiprocessors) == (UUID, "9.0", 132)


def test_half_a_product_is_caught(tools: Path, fake_driver: Path) -> None:
    """A node that computes half of the rows cannot show the rows that its own commitment asks for."""
    compute = read(run_program(tools, LD_LIBRARY_PATH=str(fake_driver), CHEAT="1")).compute
    assert compute.problems == ("a product is wrong",)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA B200", "B200"),
        ("NVIDIA A100-SXM4-80GB", "A100"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("NVIDIA RTX A1000", None),
        ("NVIDIA GH200 480GB", None),
        ("", None),
    ],
)
def test_models_have_their_envelope(name: str, word: str | None) -> None:
    """Each name leads to its own model; look-alikes to none."""
    found = envelope_of(name)
    assert (None if found is None else found.word) == word


@pytest.mark.parametrize(
    ("changes", "problems"),
    [
        ({}, 0),
        ({"memory_bytes": 24 << 30}, 1),
        ({"compute_capability": "8.9"}, 1),
        ({"multiprocessors": 128 + 16}, 1),
        ({"multiprocessors": None}, 1),
        ({"kernel_ms": 16.49}, 0),
        ({"kernel_ms": 15.8}, 1),
        ({"kernel_ms": 17.0, "multiprocessors": 114}, 1),
        ({"kernel_ms": 120.0}, 1),
        ({"kernel_ms": 60_000.0}, 1),
        ({"memory_bytes": 24 << 30, "compute_capability": "8.9", "kernel_ms": 0.0}, 3),
    ],
)
def test_an_h100_must_be_like_one(changes: dict[str, Any], problems: int) -> None:
    """Memory, capability, multiprocessors and time each count; an unknown model is not judged."""
    card = {
        "memory_bytes": 79 << 30, "compute_capability": "9.0", "multiprocessors": 132, "kernel_ms": 30.0, "size": 4096,
    }  # fmt: skip
    assert len(envelope_problems("NVIDIA H100 80GB HBM3", **{**card, **changes})) == problems
    assert envelope_problems("Mystery 9000", **{**card, **changes}) == ()


@pytest.mark.parametrize(
    ("name", "size", "idle_ms", "busy_ms"),
    [
        ("NVIDIA H100 80GB HBM3", 1024, 0.307, 5.0),
        ("NVIDIA H100 80GB HBM3", 2048, 2.115, 5.2),
        ("NVIDIA H100 80GB HBM3", 4096, 16.489, 42.739),
        ("NVIDIA H100 80GB HBM3", 8192, 131.754, 261.119),
        ("NVIDIA H200", 1024, 0.299, 5.0),
        ("NVIDIA H200", 2048, 2.122, 5.119),
        ("NVIDIA H200", 4096, 16.485, 38.525),
        ("NVIDIA H200", 8192, 131.816, 251.623),
    ],
)
def test_measured_cards_fit(name: str, size: int, idle_ms: float, busy_ms: float) -> None:
    """The times that real cards took, idle and beside a busy neighbour, are within their model's bounds."""
    item = envelope_of(name)
    assert item is not None and item.is_measured
    low, high = item.kernel_ms(size, 132)
    assert low <= idle_ms <= busy_ms <= high
    assert low > idle_ms * 0.8


@pytest.mark.parametrize("name", ["h100", "h200"])
def test_recorded_answers_of_real_cards_are_believed(name: str) -> None:
    """What a real card answered passes every check: signature, binding, product, and its model's envelope."""
    data = (Path(__file__).parents[1] / "data" / f"attestation-{name}.json").read_bytes()
    document = json.loads(data)
    found = read_attestation(
        data,
        challenge=document["challenge"],
        task=ProductTask(256, 8),
        program_digest=document["program_sha256"],
    )
    assert (found.compute.possible, found.compute.problems, found.compute.cuda) == (True, (), "13.0")
    (gpu,), (device,) = found.gpus, found.compute.devices
    assert name.upper() in gpu.model and gpu.uuid == device.uuid
    assert envelope_problems(
        gpu.model,
        memory_bytes=device.memory_bytes,
        compute_capability=device.compute_capability,
        multiprocessors=device.multiprocessors,
        kernel_ms=device.kernel_ms,
        size=found.compute.size,
    ) == ()  # fmt: skip


def test_a_recorded_answer_with_one_wrong_number_is_not(tmp_path: Path) -> None:
    """One row of a real card's product changed and committed to anew is found by the product's check."""
    data = (Path(__file__).parents[1] / "data" / "attestation-h100.json").read_bytes()
    document = json.loads(data)

    def spoil(facts: dict[str, Any]) -> None:
        row = facts["compute"]["devices"][0]["rows"][0]
        row["data"] = row["data"][:8] + ("A" if row["data"][8] != "A" else "B") + row["data"][9:]

    found = read_attestation(
        resigned(data, spoil),
        challenge=document["challenge"],
        task=ProductTask(256, 8),
        program_digest=document["program_sha256"],
    )
    assert any("committed" in problem for problem in found.compute.problems)


@pytest.mark.parametrize(
    ("kernel_ms", "wall_ms", "program_ms", "problems"),
    [(16.5, 120.0, 950.0, 0), (130.0, 120.0, 950.0, 1), (16.5, 1200.0, 950.0, 1), (1300.0, 1200.0, 950.0, 2)],
)
def test_claimed_times_fit_our_clock(kernel_ms: float, wall_ms: float, program_ms: float, problems: int) -> None:
    """A kernel cannot outlast its GPU's turn, nor the turns the program's run as the validator saw it."""
    device = Device("GPU-1", "NVIDIA H100", "", 1, "9.0", 132, kernel_ms, wall_ms)
    assert len(time_problems([device], program_ms)) == problems


def test_every_envelope_is_possible() -> None:
    """No model's own bounds contradict each other."""
    for item in ENVELOPES:
        low, high = item.kernel_ms(4096)
        assert 0 < low < high
        assert item.memory_gib[0] < item.memory_gib[1]
        assert item.multiprocessors[0] <= item.multiprocessors[1]


@pytest.mark.parametrize("text", ["{", "nan", '{"a":1,"a":2}', "[" * 20 + "]" * 20, "9" * 30, "1e999x", '"\\ud800'])
def test_hostile_json_is_refused(text: str) -> None:
    """What a lenient parser would take is an error here."""
    with pytest.raises(AttestationRefused):
        parse_json(text)


def test_the_digest_is_that_of_the_file() -> None:
    """What is uploaded is the file in the package."""
    import hashlib

    assert program_sha256() == hashlib.sha256(SOURCE.read_bytes()).hexdigest()

"""Broken nodes: GPUs and Docker by the words of the real tools, the host behind the account."""

from __future__ import annotations

from tests.gallery.node_breaks import (
    NTP,
    REBOOT,
    both,
    docker_file,
    gpus,
    half_full_gb,
    leftovers,
    not_in_docker,
    nothing,
    setup,
    smi,
    smi_with,
    sshd,
    without,
    wrong_clock,
)
from tests.gallery.situation import NodeSituation

HARDWARE = (
    # GPUs, by the words of the real tool
    NodeSituation(
        "no driver and no GPU", "node.gpu", "no_tool_no_gpu", "", without("bin/nvidia-smi"), None, False, REBOOT
    ),
    NodeSituation(
        "the kernel module is not loaded",
        "node.gpu",
        "no_driver",
        "",
        smi(
            "echo \"NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure "
            'that the latest NVIDIA driver is installed and running."; exit 9'
        ),
        None,
        False,
        REBOOT,
    ),
    NodeSituation(
        "driver and library differ",
        "node.gpu",
        "mismatch",
        "",
        smi('echo "Failed to initialize NVML: Driver/library version mismatch"; exit 18'),
        None,
        False,
        REBOOT,
    ),
    NodeSituation(
        "no card is found", "node.gpu", "no_gpu", "", smi('echo "No devices were found"; exit 6'), None, False, REBOOT
    ),
    NodeSituation(
        "a card fell off the bus",
        "node.gpu",
        "lost",
        "",
        smi(
            'echo "Unable to determine the device handle for GPU0000:41:00.0: GPU is lost.  Reboot the system '
            'to recover this GPU"; exit 15'
        ),
        None,
        False,
        REBOOT,
    ),
    NodeSituation(
        "device files are closed",
        "node.gpu",
        "denied",
        "",
        smi('echo "Failed to initialize NVML: Insufficient Permissions"; exit 4'),
        None,
        False,
        REBOOT,
    ),
    NodeSituation("nvidia-smi hangs", "node.gpu", "hangs", "", smi("exec sleep 60"), None, False, REBOOT),
    NodeSituation(
        "fewer cards than configured", "node.gpu", "fewer", "config.gpu_count", nothing, node=", gpu_count = 8"
    ),
    NodeSituation(
        "an old driver", "node.driver", "old", "", gpus(driver="535.183.01", cuda="12.2"), None, False, REBOOT
    ),
    NodeSituation("an old CUDA", "node.cuda", "old", "", gpus(cuda="12.4"), None, False, REBOOT),
    NodeSituation(
        "a low compute capability",
        "node.compute",
        "low",
        "",
        gpus(compute_cap="8.0"),
        None,
        False,
        "other cards are needed",
    ),
    NodeSituation(
        "a model without rewards",
        "node.model",
        "unrewarded",
        "",
        gpus(model="NVIDIA L40S", compute_cap="8.9"),
        None,
        False,
        "other cards are needed",
    ),
    NodeSituation(
        "uncorrected ECC errors",
        "node.gpu_errors",
        "ecc",
        "",
        smi_with("ecc.errors.*) value=0", "ecc.errors.*) value=3"),
        None,
        False,
        "a card is replaced by hand",
    ),
    NodeSituation(
        "Xid in the kernel's log",
        "node.gpu_errors",
        "xid",
        "",
        lambda m: m.put_tool(
            "dmesg",
            "#!/bin/sh\n# stand-in\necho '[ 12.3] NVRM: Xid (PCI:0000:41:00): 79, "
            "pid=1, GPU has fallen off the bus.'\n",
        ),
        None,
        False,
        "a person looks at the card",
    ),
    # Docker, by the words of the real one
    NodeSituation(
        "Docker is not installed",
        "node.docker",
        "absent",
        "node.install_docker",
        without("bin/docker"),
        None,
        False,
        "it installs packages from the distribution, which this test does not",
    ),
    NodeSituation("the account is not in docker", "node.docker", "no_permission", "node.docker_group", not_in_docker),
    NodeSituation(
        "Docker does not run", "node.docker", "no_daemon", "node.docker_start", setup("rm /run/docker-stand-in")
    ),
    NodeSituation("Docker hangs", "node.docker", "hangs", "node.docker_start", setup("touch /run/docker-hangs")),
    NodeSituation(
        "the runtime is not registered",
        "node.nvidia_runtime",
        "not_configured",
        "node.nvidia_runtime",
        without("etc/docker/daemon.json"),
    ),
    NodeSituation(
        "the toolkit is not installed",
        "node.nvidia_runtime",
        "no_toolkit",
        "node.install_toolkit",
        both(without("etc/docker/daemon.json"), without("bin/nvidia-ctk")),
        None,
        False,
        "it installs packages from NVIDIA, which this test does not",
    ),
    NodeSituation(
        "a container lost its devices",
        "node.container",
        "cgroups",
        "node.docker_start",
        both(
            docker_file("has-image", ""),
            docker_file("container-says", "Failed to initialize NVML: Unknown Error\n"),
        ),
        None,
        False,
        "the stand-in starts no containers, so a restart changes nothing",
    ),
    NodeSituation(
        "a container finds no device driver",
        "node.container",
        "no_hook",
        "node.nvidia_runtime",
        both(
            docker_file("has-image", ""),
            docker_file("container-fails", ""),
            docker_file(
                "container-says",
                'docker: Error response from daemon: could not select device driver "" with capabilities: [[gpu]].\n',
            ),
        ),
        None,
        False,
        "the stand-in starts no containers, so a restart changes nothing",
    ),
    # the host behind the account
    NodeSituation(
        "a small disk",
        "node.disk",
        "small",
        "",
        nothing,
        repaired=False,
        why_not="a disk is added by hand",
        disk_min_gb=1e6,
    ),
    NodeSituation(
        "Docker on the small disk",
        "node.disk",
        "wrong_mount",
        "",
        both(docker_file("root-dir", "/srv"), setup("mount -t tmpfs -o size=8m tmpfs /srv")),
        repaired=False,
        why_not="data is moved while nothing is rented",
    ),
    NodeSituation(
        "a full large disk",
        "node.disk",
        "full",
        "",
        nothing,
        repaired=False,
        why_not="what may be deleted, a person decides",
        disk_min_gb=half_full_gb(),
    ),
    NodeSituation(
        "the extra mount is missing",
        "node.disk",
        "no_mount",
        "",
        nothing,
        None,
        False,
        "a person mounts it",
        node=', extra_mount_path = "/data"',
    ),
    NodeSituation(
        "no Python",
        "node.tools",
        "no_python",
        "node.install_tools",
        setup("mount --bind /dev/null /usr/bin/python3"),
        None,
        False,
        "it installs packages from the distribution, which this test does not",
    ),
    NodeSituation(
        "a Python that is too old",
        "node.tools",
        "old_python",
        "",
        lambda machine: machine.put_tool("python3", "#!/bin/sh\n# stand-in\necho python3 3.6\n"),
        None,
        False,
        "which distribution comes next, a person decides",
    ),
    NodeSituation(
        "no sha256sum",
        "node.tools",
        "no_hash_tool",
        "node.install_tools",
        setup("mount --bind /dev/null /usr/bin/sha256sum"),
        None,
        False,
        "the package is there and its file is not: a person finds out why",
    ),
    NodeSituation(
        "a clock ten minutes ahead", "node.clock", "ahead", "node.ntp", wrong_clock("+10m"), None, False, NTP
    ),
    NodeSituation("a clock behind", "node.clock", "behind", "node.ntp", wrong_clock("-10m"), None, False, NTP),
    NodeSituation(
        "passwords are accepted", "node.hardening", "password_login", "node.harden", sshd("PasswordAuthentication yes")
    ),
    NodeSituation(
        "keyboard-interactive is accepted",
        "node.hardening",
        "keyboard_login",
        "node.harden",
        sshd("KbdInteractiveAuthentication yes"),
    ),
    NodeSituation(
        "root may log in by password", "node.hardening", "root_login", "node.harden", sshd("PermitRootLogin yes")
    ),
    NodeSituation("X11 forwarding", "node.hardening", "x11", "node.harden", sshd("X11Forwarding yes")),
    NodeSituation("MaxSessions 2", "node.capacity", "sessions", "node.harden", sshd("MaxSessions 2")),
    NodeSituation(
        "MaxStartups 2",
        "node.capacity",
        "startups",
        "node.harden",
        sshd("MaxStartups 2:90:2"),
    ),
    NodeSituation("leftovers of the deployed miner", "node.leftovers", "keys", "node.remove_leftovers", leftovers),
)

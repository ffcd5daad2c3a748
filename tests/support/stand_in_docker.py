"""A `docker` for machines without a Docker daemon: it starts what the compose file says as a process of this host.

The file's command, working directory and runtime directory are taken as they are written; images, mounts and the
hardening are not. ``exec`` runs in the same runtime directory, which nobody outside knows.
"""

from __future__ import annotations

import sys
from pathlib import Path

_PROGRAM = """#!{python}
import json, os, re, subprocess, sys
words, private = sys.argv[1:], {private!r}

def of(key):
    return json.loads(re.search(rf"^ *{{key}}: (.+)$", text, re.M)[1])

if words[:1] == ["compose"] and "-f" in words:
    text = open(words[2]).read()
    env = {{**os.environ, "RUNTIME_DIRECTORY": private, "PYTHONPATH": {root!r}}}
    engine, rest = [sys.executable, "-m", "basilica_tui"], words[3:]
    log = os.path.join(private, "log")
    if rest[0] == "up":
        subprocess.Popen([*engine, *of("command")], cwd=of("working_dir"), env=env, stdin=subprocess.DEVNULL,
                         stdout=open(log, "ab"), stderr=subprocess.STDOUT, start_new_session=True)
    elif rest[0] == "exec":
        sys.exit(subprocess.call([*engine, *rest[rest.index("basilica-tui") + 1:]], env=env))
    elif rest[0] == "logs":
        print(open(log).read())
elif words[0] in {lacks!r}:
    print("docker: unknown command: docker", words[0] + "\\n\\nRun 'docker --help' for more information",
          file=sys.stderr)
    sys.exit(1)
"""


def put_docker(directory: Path, *, lacks: tuple[str, ...] = ()) -> None:
    """An executable ``docker`` in the directory; the sub-commands in ``lacks`` fail."""
    directory.mkdir(parents=True, exist_ok=True)
    private = directory / "inside"
    private.mkdir(mode=0o700, exist_ok=True)
    program = directory / "docker"
    root = str(Path(__file__).parents[2])
    program.write_text(_PROGRAM.format(python=sys.executable, private=str(private), root=root, lacks=lacks))
    program.chmod(0o755)

"""What the benchmark needs of the machine: a compiler, libmodbus, two cores, and the gateway's own environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parent.parent
SCRATCH: Final = ROOT / ".run" / "bench"
GATEWAY_LOCK: Final = ROOT / "requirements" / "bench-gateway.lock"


@dataclass(frozen=True)
class Cores:
    """Where the client under test runs and where all that serves it does; the same core when there is only one."""

    client: int
    server: int


def cores() -> Cores:
    """The last two cores this process may use."""
    allowed = sorted(os.sched_getaffinity(0))
    return Cores(client=allowed[-1], server=allowed[0])


def spawn(command: list[str], core: int, *, python: bool = False) -> subprocess.Popen[str]:
    """A process of its own, bound to a core from its first instruction on."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "proto" / "gen")])}
    folder = SCRATCH / "work" if python else SCRATCH
    folder.mkdir(parents=True, exist_ok=True)
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if python else None,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )


def compiled(source: str, *libraries: str) -> Path | None:
    """The program made of a C file here, None where compiler or library are missing. Made anew when the source is."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    program, text = SCRATCH / Path(source).stem, HERE / source
    if compiler is None:
        return None
    if program.exists() and program.stat().st_mtime > text.stat().st_mtime:
        return program
    SCRATCH.mkdir(parents=True, exist_ok=True)
    fresh = program.with_suffix(f".{os.getpid()}")
    command = [compiler, "-O2", "-pthread", "-o", str(fresh), str(text)]
    command += ["-I/usr/include/modbus", *(f"-l{library}" for library in libraries)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(f"{source}: not compiled: {done.stderr.strip().splitlines()[0]}", file=sys.stderr)
        return None
    fresh.replace(program)
    return program


def install_system_packages() -> None:
    """Install gcc and libmodbus through apt-get where that is possible; without them what needs them is left out."""
    missing = [] if shutil.which("gcc") else ["gcc", "libc6-dev"]
    if not Path("/usr/include/modbus/modbus.h").exists():
        missing.append("libmodbus-dev")
    if not missing:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        print(f"not installed: {', '.join(missing)}; what needs them is left out", file=sys.stderr)
        return
    print(f"installing {', '.join(missing)} ...", file=sys.stderr)
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "--no-install-recommends"]):
        full = command + (missing if "install" in command else [])
        subprocess.run(full, env=quiet, stdout=subprocess.DEVNULL, check=False)


def gateway_python(*, make: bool) -> Path | None:
    """The interpreter of the gateway's environment, None where it is not there and `make` does not ask for it."""
    folder = SCRATCH / "gateway"
    python, ready = folder / "bin" / "python", folder / ".ready"
    if ready.exists() and ready.stat().st_mtime > GATEWAY_LOCK.stat().st_mtime:
        return python
    if not make:
        return None
    print("making the gateway's environment ...", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    install = ["uv", "pip", "sync", "--quiet", "--python", str(python), "--require-hashes", str(GATEWAY_LOCK)]
    done = subprocess.run([sys.executable, "-m", *install], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(f"the gateway could not be installed; it is left out: {done.stderr.strip()[-500:]}", file=sys.stderr)
        return None
    ready.touch()
    return python

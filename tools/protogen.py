"""Generates proto/gen from proto/lichtbuch, or checks that what is committed is what would be generated.

    python tools/protogen.py [--check]

The generated code is committed, so that nobody needs a compiler to read or run Lichtbuch, and never edited.
"""

from __future__ import annotations

import filecmp
import os
import shutil
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
GEN = PROTO / "gen"


def generate(target: Path) -> None:
    """Write messages, stubs and their types for every contract below `target`."""
    files = sorted(str(path.relative_to(PROTO)) for path in (PROTO / "lichtbuch").rglob("*.proto"))
    arguments = ["protoc", f"-I{PROTO}", f"-I{Path(protoc.__file__).parent / '_proto'}"]
    arguments += [f"--{kind}_out={'quiet:' if 'mypy' in kind else ''}{target}" for kind in ("python", "mypy")]
    if protoc.main([*arguments, *files]) != 0:
        raise SystemExit("protoc failed")
    services = [name for name in files if "\nservice " in (PROTO / name).read_text(encoding="utf-8")]
    arguments = [*arguments[:3], f"--grpc_python_out={target}", f"--mypy_grpc_out=quiet:{target}"]
    if protoc.main([*arguments, *services]) != 0:
        raise SystemExit("protoc failed")


def drift(generated: Path) -> list[str]:
    """Files that differ between `generated` and what is committed, by path."""
    fresh = {path.relative_to(generated) for path in generated.rglob("*.py*") if "__pycache__" not in path.parts}
    kept = {path.relative_to(GEN) for path in GEN.rglob("*.py*") if "__pycache__" not in path.parts}
    same = {path for path in fresh & kept if filecmp.cmp(generated / path, GEN / path, shallow=False)}
    return sorted(str(path) for path in (fresh | kept) - same)


def main() -> None:
    """Generate in place, or with --check into a scratch folder that is compared."""
    # protoc looks for its plugins on the path; they lie beside this interpreter.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch))
        if "--check" not in sys.argv:
            for stale in GEN.rglob("*_pb2*"):
                stale.unlink()
            shutil.copytree(scratch, GEN, dirs_exist_ok=True)
            return
        if differing := drift(Path(scratch)):
            raise SystemExit(
                "generated code differs from its contracts, run `make proto`:\n  " + "\n  ".join(differing)
            )
    print("generated code agrees with its contracts")


if __name__ == "__main__":
    main()

"""Compiling the kernels: from the C sources beside this file to one shared library for each set of instructions.

Done once, when the package is built; `python -m mlp_core.backends.cpu.compile` does it in place. Nothing but the
standard library is imported, so that a build can run this file by its path.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
BUILT = HERE / "built"
"""Where the libraries lie in the package, beside a list of them, MANIFEST."""
MANIFEST = "kernels.json"

_V3 = ("-mavx2", "-mfma", "-mf16c", "-mbmi", "-mbmi2", "-mlzcnt", "-mmovbe")
_V4 = (*_V3, *(f"-mavx512{part}" for part in ("f", "bw", "cd", "dq", "vl")), "-mprefer-vector-width=512")
LEVELS: dict[str, dict[str, tuple[int, tuple[str, ...]]]] = {
    "x86_64": {"x86-64": (1, ()), "x86-64-v3": (3, _V3), "x86-64-v4": (4, _V4)},
    "arm64": {"arm64": (1, ())},
}
"""The sets of instructions of a machine, each with the level that `kernels_level` in plain.c gives it and its flags."""

FLAGS = (
    *("-std=gnu11", "-O3", "-shared", "-fvisibility=hidden"),
    *("-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"),  # no bit of a result depends on these
)
SUFFIX = {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")
STRICT = ("-Wall", "-Wextra", "-Wshadow", "-Werror")
MINUTES = 10


class CannotCompile(Exception):
    """The compiler is not there, or failed; the message is its reason."""


def machine() -> str:
    """The kind of processor that this Python is for, by the name that LEVELS knows where it does."""
    name = platform.machine().lower()
    return {"amd64": "x86_64", "aarch64": "arm64"}.get(name, name)


def sources() -> list[Path]:
    """All that the libraries are made from."""
    return [HERE.parent / "formulas.h", *sorted([*HERE.glob("*.c"), *HERE.glob("*.h")])]


def digest() -> str:
    """Of the sources, of their names, and of how they are compiled."""
    found = hashlib.sha256(repr((FLAGS, LEVELS)).encode())
    for path in sources():
        found.update(f"{path.name} ".encode() + hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def compile_kernels(out: Path, compiler: Sequence[str], strict: bool = False) -> None:
    """Compile all libraries into a folder, which is made or replaced, and list them there.

    compiler: the command that a C compiler is called by, such as ["cc"]. strict: warnings are errors. Raises
    CannotCompile, and then the folder is as it was.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="kernels-", dir=out.parent) as draft:
        made, levels = Path(draft) / "built", LEVELS.get(machine(), {machine(): (1, ())})
        made.mkdir()
        with ThreadPoolExecutor(os.cpu_count() or 1) as threads:
            jobs = {name: threads.submit(_library, made, name, compiler, strict) for name in levels}
        files = {name: job.result() for name, job in jobs.items()}
        facts = {"sources": digest(), "machine": machine(), "system": sys.platform, "libraries": files}
        (made / MANIFEST).write_text(json.dumps(facts, indent=1) + "\n")
        shutil.rmtree(out, ignore_errors=True)
        made.replace(out)


def stamp(name: str) -> str:
    """What the library of a set of instructions says of itself."""
    return f"mlpbp kernels {name} {digest()}"


def _library(folder: Path, name: str, compiler: Sequence[str], strict: bool) -> dict[str, str | int]:
    level, flags = LEVELS.get(machine(), {}).get(name, (1, ()))
    path = folder / f"kernels-{name}{SUFFIX}"
    system = [] if sys.platform == "win32" else ["-fPIC", "-lm", "-lpthread"]
    command = [*compiler, *FLAGS, *flags, *(STRICT if strict else ()), f'-DSTAMP="{stamp(name)}"']
    command += [str(HERE / "kernels.c"), "-o", str(path), *system]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60 * MINUTES)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotCompile(f"{compiler[0]}: {error}") from None
    if done.returncode or not path.is_file():
        lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.strip().splitlines()
        raise CannotCompile(f"{' '.join(compiler)}: {lines[0] if lines else f'ended with {done.returncode}'}")
    return {"file": path.name, "level": level, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def main() -> int:
    """Compile in place, with the compiler given, or the system's, or that of the package ziglang."""
    if sys.argv[1:]:
        commands = [sys.argv[1:]]
    else:
        named = [name for name in ("cc", "gcc", "clang") if shutil.which(name)][:1]
        commands = [*([[name] for name in named]), [sys.executable, "-m", "ziglang", "cc"]]
    reasons = []
    for command in commands:
        try:
            compile_kernels(BUILT, command, strict=True)
        except CannotCompile as error:
            reasons.append(str(error))
        else:
            print(f"kernels: {', '.join(sorted(path.name for path in BUILT.iterdir()))} by {' '.join(command)}")
            return 0
    print("\n".join(reasons), file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())

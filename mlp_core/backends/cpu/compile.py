"""Compiling the kernels: from the C sources beside this file to one shared library for each set of instructions.

Done once, when the package is built; `python -m mlp_core.backends.cpu.compile` does it in place. Nothing but the
standard library is imported, so that a build can run this file by its path.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
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
STRICT = ("-Wall", "-Wextra", "-Wshadow", "-Werror", "-Wno-unused-parameter")  # all of a kind have one face
MINUTES = 10
ZIG = [sys.executable, "-m", "ziglang", "cc"]

PROBE = """
#include <math.h>
#include <stdatomic.h>
typedef float floats __attribute__((vector_size(64)));
void twice(floats *x) { *x += *x; }
"""


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
    return {"file": path.name, "level": level, "sha256": _sha256(path)}


def compile_somehow(out: Path, commands: Sequence[Sequence[str]] | None = None, strict: bool = False) -> str:
    """Compile with the first of these compilers that can, by default all that are here; says what was done.

    Sound kernels from the same sources stay, unless a compiler is asked for. Raises CannotCompile, with all reasons.
    """
    if commands is None and "CC" not in os.environ and _up_to_date(out):
        return f"kernels: those in {out} are from the same sources"
    zig = [ZIG] if "CC" not in os.environ and find_spec("ziglang") else []
    reasons = []
    for command in [*compilers(), *zig] if commands is None else commands:
        try:
            compile_kernels(out, command, strict)
        except CannotCompile as error:
            reasons.append(str(error))
        else:
            return f"kernels: compiled by {' '.join(command)} into {out}"
    raise CannotCompile("; ".join(reasons) or "no C compiler")


def compilers() -> list[list[str]]:
    """The commands that may be C compilers here: the one that CC names, and then no other, or those of the system."""
    if "CC" in os.environ:
        return [shlex.split(os.environ["CC"])] if os.environ["CC"].strip() else []
    # On Windows, what MinGW compiles needs MinGW's libraries when it runs, and Microsoft's compiler knows no vectors.
    names = () if sys.platform == "win32" else ("cc", "gcc", "clang")
    return [[name] for name in names if shutil.which(name)]


def offered() -> bool:
    """Whether PyPI has a package for this machine that is a C compiler."""
    return sys.platform in ("linux", "darwin", "win32") and machine() in LEVELS


def requirements() -> list[str]:
    """The package that is a C compiler, if it is needed, offered, and CC names no other."""
    needed = "CC" not in os.environ and offered() and not any(map(_works, compilers()))
    return ["ziglang>=0.13"] if needed else []


def _works(compiler: Sequence[str]) -> bool:
    """Whether it takes what the kernels ask of a compiler, tried on a few lines."""
    flags = max(LEVELS.get(machine(), {"": (1, ())}).values())[1]
    with tempfile.TemporaryDirectory() as folder:
        (source := Path(folder) / "probe.c").write_text(PROBE)
        try:
            command = [*compiler, *FLAGS, *flags, str(source), "-o", str(source.with_suffix(SUFFIX))]
            return subprocess.run(command, capture_output=True, timeout=60 * MINUTES).returncode == 0
        except (OSError, subprocess.TimeoutExpired):
            return False


def _up_to_date(folder: Path) -> bool:
    """Whether the kernels in a folder are from these sources, for this machine, and as they were when compiled."""
    try:
        facts = json.loads((folder / MANIFEST).read_text())
        same = all(_sha256(folder / one["file"]) == one["sha256"] for one in facts["libraries"].values())
        return same and (facts["sources"], facts["machine"]) == (digest(), machine())
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> int:
    """Compile in place, with the compiler given, or the system's, or that of the package ziglang."""
    try:
        print(compile_somehow(BUILT, [sys.argv[1:]] if sys.argv[1:] else None, strict=True))
    except CannotCompile as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What must not be in the source: ways to run code from a file, and ways to the network."""

from __future__ import annotations

import ast
from pathlib import Path

import mlpbp
import pytest

import mlp_core

ROOTS = {"mlp_core": Path(mlp_core.__file__).parent, "cli": Path(mlpbp.__file__).parent}
FILES = sorted((name, path) for name, root in ROOTS.items() for path in root.rglob("*.py"))
FORBIDDEN_MODULES = {
    *("pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"),
    *("dbm", "copyreg", "imp", "code", "codeop", "pty", "tarfile", "shutil"),
    *("zipimport", "runpy", "xmlrpc", "socket", "ssl", "http", "urllib", "ftplib"),
    *("smtplib", "poplib", "imaplib", "telnetlib", "socketserver", "asyncio", "requests", "httpx"),
    *("aiohttp", "urllib3", "webbrowser", "subprocess", "multiprocessing", "ctypes", "cffi"),
}
FORBIDDEN_CALLS = frozenset({"eval", "exec", "compile", "__import__", "breakpoint", "input"})
FORBIDDEN_ATTRIBUTES = {
    "yaml": {
        "load",
        "load_all",
        "unsafe_load",
        "unsafe_load_all",
        "full_load",
        "full_load_all",
        "Loader",
        "UnsafeLoader",
    },
    "np": {"load", "loads", "fromfile", "memmap", "DataSource", "genfromtxt"},
    "numpy": {"load", "fromfile", "memmap"},
    "os": {"system", "popen", "execv", "execve", "execvp", "spawnv", "startfile", "fork"},
    "importlib": {"import_module"},
}
EXTRACTING = frozenset({"extract", "extractall", "unpack_archive"})
ALLOWED = {
    ("cli", "standard_input.py"): {"import shutil"},  # copies what comes on standard input to a file of its own
    **{
        ("cli", file): {"import shutil"} for file in ("usage.py", "console.py", "workers.py")
    },  # how wide is the terminal
    ("mlp_core", "runs/trained_rows.py"): {"np.load"},  # never of pickles, and of a file of its own that is bounded
    ("mlp_core", "backends/cuda/detect.py"): {"import ctypes"},  # asks the driver whether there is a GPU
    ("mlp_core", "backends/cuda/blas.py"): {"import ctypes"},  # calls cuBLAS
    ("mlp_core", "backends/cpu/compile.py"): {
        "import subprocess",
        "import shutil",
    },  # calls the C compiler when mlpbp is built
    ("mlp_core", "backends/cpu/library.py"): {"import ctypes"},  # opens what was compiled then
    ("mlp_core", "backends/cpu/crew.py"): {"import ctypes"},
    ("mlp_core", "export/check.py"): {
        "import subprocess",
        "import shutil",
    },  # compiles and runs what was exported, as its user would
    ("mlp_core", "proof/planted/slip.py"): {"compile()"},  # changes the program's own functions for the self-test
    ("mlp_core", "proof/machine.py"): {"compile()", "eval()"},  # of arithmetic alone: no attributes, no texts
    ("mlp_core", "scratch.py"): {"import shutil"},  # deletes the folders that it made
    ("mlp_core", "search/workers.py"): {"import multiprocessing"},  # starts processes of its own, which it hands tasks
    ("mlp_core", "workers/launch.py"): {"import subprocess"},  # starts mpiexec, which starts this program
    ("mlp_core", "training/peak_memory.py"): {"import ctypes"},  # gives freed memory back to the system
}


def findings(tree: ast.AST) -> list[str]:
    """Everything forbidden in a module."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [(node.module or "").split(".")[0]]
        else:
            names = []
        found += [f"import {name}" for name in names if name in FORBIDDEN_MODULES]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FORBIDDEN_CALLS:
            found.append(f"{node.func.id}()")
        if isinstance(node, ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            if node.attr in FORBIDDEN_ATTRIBUTES.get(owner, ()):
                found.append(f"{owner}.{node.attr}")
            if node.attr in EXTRACTING:
                found.append(f".{node.attr}")
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle" and getattr(node.value, "value", 1):
            found.append("allow_pickle")
    return found


@pytest.mark.parametrize(("package", "path"), FILES, ids=[f"{name}/{path.name}" for name, path in FILES])
def test_nothing_runs_code_from_a_file_or_reaches_the_network(package: str, path: Path) -> None:
    allowed = ALLOWED.get((package, str(path.relative_to(ROOTS[package]))), set())
    assert set(findings(ast.parse(path.read_text()))) - allowed == set()


PLANTED = [
    "import pickle",
    "from pickle import loads",
    "import urllib.request",
    "import socket as s",
    "def f():\n    from http.client import HTTPSConnection",
    "eval('1')",
    "exec(text)",
    "yaml.load(text, yaml.Loader)",
    "np.load(path)",
    "import numpy as np\nnp.lib.format.read_array(f, allow_pickle=True)",
    "zipfile.ZipFile(f).extractall()",
    "os.system('ls')",
]


@pytest.mark.parametrize("text", PLANTED)
def test_the_reader_of_the_source_sees_what_it_should(text: str) -> None:
    assert findings(ast.parse(text))

"""The kernels under AddressSanitizer and UBSan: no byte read or written beside an array, nothing undefined.

Takes minutes, so it runs where MLPBP_SANITIZE is set, as `make soak` sets it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mlp_core.backends.cpu import compile as compiling

HERE = Path(__file__).parent
QUICK = tuple("-O1" if flag == "-O3" else flag for flag in compiling.FLAGS)
"""Those of the kernels, but that with all checks in it -O3 takes a compiler a quarter of an hour."""
FLAGS = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
PROGRAM = """
import sys
from pathlib import Path
from mlp_core.backends.cpu import compile
compile.BUILT, compile.FLAGS = Path(sys.argv[1]), tuple(sys.argv[2].split())
import pytest
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", *sys.argv[3:]]))
"""

pytestmark = [
    pytest.mark.skipif("MLPBP_SANITIZE" not in os.environ, reason="MLPBP_SANITIZE is not set: it takes minutes"),
    pytest.mark.skipif(sys.platform != "linux" or not shutil.which("gcc"), reason="no gcc, or not its sanitizers"),
]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sanitized") / "built"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiling, "FLAGS", QUICK)
        compiling.compile_kernels(folder, ["gcc", *FLAGS])
    return folder


TESTS = ("test_whole_native_steps.py", "test_kernels.py", "test_products.py", "test_crew.py")


@pytest.mark.parametrize("tests", [*TESTS, "../../workers/test_compiled_shards.py"])
def test_nothing_is_undefined(tests, built):
    names = (f"lib{kind}san.so" for kind in ("a", "ub"))
    files = [subprocess.check_output(["gcc", f"-print-file-name={name}"], text=True).strip() for name in names]
    settings = {"LD_PRELOAD": " ".join(files), "ASAN_OPTIONS": "detect_leaks=0"}  # Python's own are many
    command = [
        sys.executable,
        "-c",
        PROGRAM,
        str(built),
        " ".join(QUICK),
        str(HERE / tests),
        "-k",
        "not bytes and not fork",
    ]
    result = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]

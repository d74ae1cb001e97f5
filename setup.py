"""How the package is built: which folders are its packages, and the kernels, compiled from C.

This file is the build backend, too: setuptools' own, which asks PyPI for a C compiler where the system has none.
"""

import importlib.util
import shutil
import sys
from pathlib import Path

from setuptools import Distribution, build_meta, find_packages, setup
from setuptools.build_meta import *  # noqa: F403  the hooks that stay as they are
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

CPU = Path("mlp_core/backends/cpu")


def _kernels():
    """The module that compiles them, which needs nothing but the standard library."""
    spec = importlib.util.spec_from_file_location("compile_kernels", Path(__file__).parent / CPU / "compile.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def get_requires_for_build_wheel(config_settings=None):
    """What pip has to install before it builds a wheel."""
    return build_meta.get_requires_for_build_wheel(config_settings) + _kernels().requirements()


def get_requires_for_build_editable(config_settings=None):
    """What pip has to install before `pip install -e`."""
    return build_meta.get_requires_for_build_editable(config_settings) + _kernels().requirements()


class Modules(build_py):
    """The modules and the kernels beside them: into a folder that is new, or in place for `pip install -e`."""

    def run(self):
        if not self.editable_mode:
            shutil.rmtree(self.build_lib, ignore_errors=True)  # modules of an older build would go into the wheel
        super().run()
        kernels, built = _kernels(), CPU / "built"
        made = built if self.editable_mode else Path(self.get_finalized_command("build").build_base) / "kernels"
        try:
            print(kernels.compile_somehow(made))
            if not self.editable_mode:
                shutil.copytree(made, Path(self.build_lib) / built)
        except kernels.CannotCompile as error:
            print(f"mlpbp is built without its kernels and will work on numpy alone: {error}", file=sys.stderr)


class Wheel(bdist_wheel):
    """A wheel for one kind of machine and for every Python, since the kernels know nothing of Python."""

    def get_tag(self):
        *_, system = super().get_tag()
        built = any(Path(self.bdist_dir).glob(f"**/{CPU.name}/built/*"))
        return "py3", "none", system.replace("universal2", _kernels().machine()) if built else "any"


class OneMachine(Distribution):
    """A package that is not the same on all machines."""

    def has_ext_modules(self):
        return True


if __name__ == "__main__":
    setup(
        packages=["mlpbp", "mlpbp.configs", "mlp_core.datasets", *find_packages(include=["mlp_core", "mlp_core.*"])],
        cmdclass={"build_py": Modules, "bdist_wheel": Wheel},
        distclass=OneMachine,
    )

"""The packages that are installed: the folders of the engine, and three others under names of their own."""

from setuptools import find_packages, setup

setup(packages=["mlpbp", "mlpbp.configs", "mlp_core.datasets", *find_packages(include=["mlp_core", "mlp_core.*"])])

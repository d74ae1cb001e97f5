"""The config: one YAML file, strictly read into frozen values."""

from mlp_core.config.dump import dump_yaml
from mlp_core.config.loader import defaults, from_mapping, load, sparse, with_overrides
from mlp_core.config.schema import Config, changed_keys

__all__ = ["Config", "changed_keys", "defaults", "dump_yaml", "from_mapping", "load", "sparse", "with_overrides"]

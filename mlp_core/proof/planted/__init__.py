"""Slips to plant in the program, one at a time: the proof of training must notice every one."""

from mlp_core.proof.planted.cases import CASES, config
from mlp_core.proof.planted.data import DATA_SLIPS
from mlp_core.proof.planted.engine import ENGINE_SLIPS
from mlp_core.proof.planted.kernels import KERNEL_SLIPS
from mlp_core.proof.planted.shards import SHARD_SLIPS, WORKER_SLIPS
from mlp_core.proof.planted.slip import Slip
from mlp_core.proof.planted.training import TRAINING_SLIPS

SLIPS: tuple[Slip, ...] = (*ENGINE_SLIPS, *TRAINING_SLIPS, *KERNEL_SLIPS, *SHARD_SLIPS, *WORKER_SLIPS, *DATA_SLIPS)

__all__ = ["CASES", "SLIPS", "Slip", "config"]

"""NVIDIA GPUs: whether one can be used, and the engine on it. Only this room imports cupy, and only when asked to."""

from mlp_core.backends.cuda.backend import cuda_backend
from mlp_core.backends.cuda.detect import Unusable, count_devices, cuda_index, find_device, find_nccl

__all__ = ["Unusable", "count_devices", "cuda_backend", "cuda_index", "find_device", "find_nccl"]

"""The same training step, faster: compiled for the processor (`cpu`), or on a GPU (`cuda`)."""

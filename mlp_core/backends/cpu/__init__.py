"""The training step on the CPU as compiled code, and whole steps as lists of its instructions."""

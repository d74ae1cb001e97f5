"""A run on the disk: what it writes, how it goes on, and the use of the model in it."""

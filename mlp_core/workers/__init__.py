"""The workers of a run, one process each: what they say to each other, and sums over them in one order."""

"""The rows of a split, wherever they lie, gathered batch by batch in the order of an epoch."""

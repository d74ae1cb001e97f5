"""From files to batches: what a table holds, what is to be learned from it, and which rows go where."""

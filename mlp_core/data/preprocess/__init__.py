"""From cells to the inputs of the network: fitted on training rows, kept as plain values."""

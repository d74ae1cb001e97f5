"""The network and its training step: the derivation in code, on any array module."""

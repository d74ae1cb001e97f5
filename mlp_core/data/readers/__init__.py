"""Readers: from a data file, broken or hostile as it may be, to host arrays in bounded memory."""

"""The example configs, installed beside the program so that they work from anywhere."""

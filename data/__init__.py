"""The embedded data sets, small enough to travel with the program."""

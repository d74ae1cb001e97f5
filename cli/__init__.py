"""The command line of mlpbp."""

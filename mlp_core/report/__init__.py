"""What is shown of finished work: the list of runs, and the report of one or several of them."""

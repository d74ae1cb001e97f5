"""From a config to a trained model: the objects, the loop, what it tells, and what is saved."""

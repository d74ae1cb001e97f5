"""Many trainings that answer one question: folds of cross-validation, trials of a search, a learning rate's range."""

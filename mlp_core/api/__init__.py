"""The tool from Python: training that yields its events, trained models, and estimators for scikit-learn."""

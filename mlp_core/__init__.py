"""The engine of mlpbp: multilayer perceptrons trained by backpropagation derived by hand."""

__version__ = "0.1.0"

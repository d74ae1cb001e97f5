"""Leaving the tool: a trained model as an ONNX graph, as C, as numpy or as PyTorch, which checks itself.

`operations` what a model does, as a plain list; `describe` from a loaded model to that list; `walk` how a format goes
through it; `probes` the test rows that travel with it; `to_onnx`, `to_c`, `to_numpy`, `to_torch` one format each,
`c_...`, `onnx_...`, `python_...` their parts; `check` runs what was written; `export` all of it.
"""

"""Writes torch modules as ONNX graphs.

emitter.py           traces a module and writes each of its steps
functions.py         steps that are functions of torch or methods of tensors
attention.py         window attention as a whole
block_attention.py   the same, in blocks
foreign.py           networks by others, as ONNX graphs in the place of a module
builder.py           builds a graph from nodes and constants
export.py            networks, stages and frame graphs as ONNX models
graph_cache.py       exported graphs in the cache folder
"""

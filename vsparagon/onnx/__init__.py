"""Modules of torch as ONNX graphs.

emitter.py           walks a traced module and adds what each of its steps is:
functions.py         functions and methods of torch
attention.py         window attention as a whole
block_attention.py   the same in blocks
graph.py             the graph, from nodes and constants
"""

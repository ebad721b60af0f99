"""Modules of torch as ONNX graphs.

`graph` builds one from nodes and constants, `emitter` walks a traced module and adds what each of its steps is:
`functions` and methods, and the two kinds of attention as a whole (`attention`, `block_attention`).
"""

"""Engines: what TensorRT and TensorRT-RTX make of a graph for one GPU.

build.py      ONNX graph -> engine
progress.py   how far a build is, and how it is interrupted
cache.py      engines that are kept, for exactly what they were built for
"""

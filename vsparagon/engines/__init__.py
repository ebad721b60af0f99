"""Engines: graphs that TensorRT or TensorRT-RTX has compiled for one GPU.

build.py      ONNX graph -> engine
progress.py   log the progress of a build, and interrupt it
cache.py      cached engines, each used only for exactly what it was built for
"""

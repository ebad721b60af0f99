"""The frame graph as few kernels of our own, for NVIDIA GPUs: a third of what torch would start.

`kernels` is what runs on the GPU; `colours` and `features` say what it is given, on a `canvas`; `executor` starts it.
"""

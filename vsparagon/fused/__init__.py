"""The frame graph as few kernels of our own, for NVIDIA GPUs: a third of what torch would start.

kernels.py            what runs on the GPU, in Triton
canvas.py             how pictures and features lie in its memory
shapes.py             how large the programs of each kernel are
colours.py            what the conversions are given
features.py           what the network's own part is given
executor.py           all of it, bound to the tensors of a lane and started
attention_kernel.py   window attention in one kernel, in Triton
attention.py          what that is given, within torch's other kernels
support.py            whether all of this can be used
"""

"""The frame graph as our own fused kernels for NVIDIA GPUs: a third as many as torch would launch.

kernels.py            the kernels, in Triton
canvas.py             memory layout of pictures and features, and how kernels are launched
shapes.py             rows and warps of each kernel's programs
colours.py            launches of the colour conversions
features.py           launches of the network itself
executor.py           all launches, bound to the tensors of a lane
attention_kernel.py   window attention as one kernel, in Triton
attention.py          a module that launches it, among torch's own kernels
support.py            whether the kernels can be used
"""

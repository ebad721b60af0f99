"""A device (an NVIDIA GPU) and the frames that pass through it, whatever computes them.

gpus.py       lists the GPUs, and says whether torch can use them
lanes.py      rooms for frames on a device: memory, streams and order
executor.py   the contract between a lane and what computes on it
recorded.py   CUDA graphs
failures.py   a device's failures as errors of this project
"""

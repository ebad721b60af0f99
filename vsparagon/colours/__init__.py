"""What the samples of a frame mean.

description.py   a frame's colours, from its properties
layout.py        how samples lie in planes, and the linear maps between them and RGB
resampling.py    chroma planes to the size of luma and back
"""

"""What the samples of a frame mean.

description.py   a frame's colours, from its properties
formats.py       VapourSynth's formats as layouts
conversion.py    clips to float and back
properties.py    the frame properties of the result
layout.py        how samples lie in planes, and the linear maps between them and RGB
resampling.py    chroma planes to the size of luma and back
"""

"""What the commands for files are given: `encode`, `preview` and `compare` begin here.

job.py             the input, the network, the encoding: what was asked for
streams.py         what streams a file has
source.py          file or script -> clip, upscaled clip
times.py           frame times that a file has wrong, mended
opening.py         a file or script, opened to be looked at
pixel_formats.py   the formats that leave, by ffmpeg's names
"""

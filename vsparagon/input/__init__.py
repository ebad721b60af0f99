"""Open the input of the commands that work on files: `encode`, `preview` and `compare`.

job.py             what was asked for: input, network and encoding
streams.py         the streams in a file
source.py          file or script -> clip -> upscaled clip
times.py           repair of missing or wrong timestamps
opening.py         open an input for `preview` and `compare`
pixel_formats.py   the output's pixel formats, by ffmpeg's names
"""

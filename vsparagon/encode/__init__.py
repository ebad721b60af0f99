"""Upscale a video file into another: `vsparagon encode`.

    contents.py      the input's other streams, and which of them the output can hold
    encoders.py      the ffmpeg encoders that can be chosen
    codec.py         choose the encoder and pixel format; their ffmpeg options
    commands.py      the ffmpeg command lines: for a segment, the finished file and the audio check
    process.py       a running ffmpeg that is fed through a pipe
    segment.py       clip -> segment files of a few hundred frames each
    parts.py         the folder next to the output that holds the finished segments
    fingerprint.py   what decides the pictures, apart from the job
    cluster.py       segments encoded by other processes or machines
    join.py          segments + everything else in the input -> output
    sound.py         check that the audio can be kept, before the work starts
    left_out.py      what the output will lack of the input
    progress.py      progress reports
    run.py           the whole encode, step by step

`vsparagon.input` opens the input. The work is cut into segments of a fixed number of frames, each encoded on its own
and starting with a key frame. Which frames a segment holds depends on the job alone, so segments can be made at any
time, in any order and by any process.
"""

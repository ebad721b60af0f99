"""From file to file: `vsparagon encode`.

    contents.py      what else is in the input, and what of it the output can hold
    encoders.py      the encoders of ffmpeg that are used
    codec.py         what is chosen of encoders and formats, ffmpeg's options for it
    commands.py      the two command lines: a segment, the finished file
    process.py       a running ffmpeg that is fed through a pipe
    segment.py       clip -> files of some hundred frames each
    parts.py         the folder beside the output, with the finished segments
    environment.py   what decides the pictures beside the job
    cluster.py       segments made by other processes and machines
    join.py          segments, and everything else of the input -> output
    sound.py         whether the sound can come along, asked before the work
    left_out.py      what of the input does not reach the output
    progress.py      what is shown meanwhile
    run.py           all of it in order

What is encoded is opened by `vsparagon.input`. The work is cut into segments of a fixed number of frames, each encoded
on its own from a key frame on. Which frames a segment holds depends on the job alone, so it does not matter when, in
which order or by whom they are made.
"""

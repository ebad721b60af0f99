"""From file to file: `vsparagon encode`.

    job.py        what is asked for, and by which words it is recognised when it is continued
    source.py     input -> clip, frame times        contents.py  input -> what else is in the file
    encoders.py   the encoders of ffmpeg that are used
    codec.py      formats and codecs: what is chosen, ffmpeg's options for it
    commands.py   the two command lines: a segment, the finished file
    process.py    a running ffmpeg that is fed through a pipe
    segment.py    clip -> files of some hundred frames each
    workshop.py   the folder beside the output: segments and the manifest
    cluster.py    segments made by other processes and machines
    join.py       segments, and everything else of the input -> output
    left_out.py   what of the input does not reach the output
    progress.py   what is shown meanwhile
    run.py        all of it in order

The work is cut into segments of a fixed number of frames, each encoded on its own from a key frame on. Which frames a
segment holds depends on the job alone, so it does not matter when, in which order or by whom they are made.
"""

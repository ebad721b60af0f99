"""The parts of `scripts/demo.py`.

film.py    the clip, filmed from photographs
pipe.py    vspipe | ffmpeg
sheet.py   pictures side by side
"""

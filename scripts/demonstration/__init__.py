"""The parts of `scripts/demo.py`.

film.py    make a clip from photographs
pipe.py    run vspipe | ffmpeg
sheet.py   put pictures side by side
"""

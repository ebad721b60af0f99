"""From a picture to its enlargement in tiles, with the result of the whole frame.

extension.py   the picture, mirrored beyond its borders: what a network sees
geometry.py    where tiles lie; numbers alone
ways.py        a network run on the whole, on exact tiles, in stages of tiles, on blended tiles
choice.py      which of these, for a model, a size and what the caller wants
"""

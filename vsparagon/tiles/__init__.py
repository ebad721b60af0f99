"""Upscale a picture in tiles with the result of the whole frame, or blended tiles if the network allows no better.

choice.py     what the caller asked for
planning.py   plan the tiles from that, the model and the picture's size
tilings.py    the plan: the whole picture, exact tiles, stages of tiles or blended tiles
runners.py    run an open network by a plan
"""

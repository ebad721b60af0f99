"""Upscale a picture in tiles with the result of the whole frame, or blended tiles if the network allows no better.

ways.py     run a network on the whole picture, in exact tiles, in stages of tiles or in blended tiles
choice.py   choose among these by model, picture size and the caller's arguments
"""

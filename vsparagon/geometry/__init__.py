"""Where pixels lie: pure geometry, without pictures, networks or devices.

extension.py   the extended picture that a network sees: mirrored beyond its borders
tiling.py      positions and weights of tiles
"""

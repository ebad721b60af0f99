"""Play a video while it is being upscaled: `vsparagon preview`.

    levels.py        the ways to upscale a source: as asked for, then cheaper and cheaper ones
    screen.py        one clip that switches to a cheaper level when the machine is too slow, and says so in the picture
    matroska.py      the bytes of a Matroska file, without its frames
    description.py   what that file says about a clip
    virtual_file.py  a clip as such a file
    server.py        serve the file over HTTP to players on this machine
    player.py        mpv, ffplay or another player
    viewer.py        vsview or vspreview, which show a script's outputs
    run.py           the whole preview, step by step

A player cannot seek in a pipe, so it gets an HTTP address. All frames of raw video have the same size, so the position
of each frame in the file is known before it is computed; a player that seeks asks for the bytes from there on. The
player's own keys, timeline and audio work as with any file. The container is Matroska because it tells each frame's
time and the colours, including HDR10 metadata, so players need no options for them.
"""

from typing import Final

PLAYERS: Final = ("mpv", "ffplay")  # the first that is found is used
VIEWERS: Final = ("vsview", "vspreview")  # if there is no player, the first of these

"""On the screen while it is computed: `vsparagon preview`.

    levels.py    the ways to enlarge this source: as asked for, then ever cheaper ones
    screen.py    one clip that goes from level to level when the machine cannot keep up, and says so in the picture
    y4m.py       a clip as the bytes of a file that nobody has written
    server.py    that file over HTTP, to players on this machine
    player.py    mpv, ffplay or another player of such a file
    viewer.py    vsview or vspreview instead, which show a script
    run.py       all of it in order

A pipe cannot be wound back. The players are given an address instead: every frame of raw video has the same size, so
the place of each frame in the file is known before it is computed, and a player that seeks asks for the bytes from
there on. Its own keys, timeline and sound work as with any file.
"""

from typing import Final

VIEWERS: Final = ("vsview", "vspreview")  # the first that is installed is taken
PLAYERS: Final = ("mpv", "ffplay")  # or else the first of these

"""The same frames enlarged in several ways, to be looked at: `vsparagon compare`.

versions.py   the ways, and frames of a clip or a picture made in each
sheet.py      all of them on one picture: the same detail of each frame, side by side
page.py       all of them on one HTML page (page.html, page.css, page.js) that needs nothing else
run.py        all of it in order
"""

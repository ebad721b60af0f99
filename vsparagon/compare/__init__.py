"""Enlarge the same frames in several ways and show them side by side: `vsparagon compare`.

versions.py   the ways to enlarge, and frames of a clip or an image made in each
sheet.py      one picture with the same detail of each frame in all versions
page.py       one self-contained HTML page with all versions (from page.html, page.css, page.js)
run.py        the whole comparison, step by step
"""

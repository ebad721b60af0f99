"""Still pictures.

image_file.py   for `vsparagon image`: read, enlarged and written with all that belongs to them
tiff_exif.py    EXIF in TIFF files, which libvips neither reads nor writes
stills.py       which kinds of files there are, and 8 bit of what they hold: for comparisons and training
"""

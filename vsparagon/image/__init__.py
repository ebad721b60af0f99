"""Still images.

image_file.py   for `vsparagon image`: read, enlarge and write images with their metadata
tiff_exif.py    EXIF in TIFF files, which libvips neither reads nor writes
stills.py       supported file types, and conversion to 8-bit RGB for comparisons and training
"""

"""Segmenting whole slides as a stream: windows in, rows of labels out, in memory that does not grow with the slide.

A slide is a grid of windows at the resolution of the model. Windows of one row are computed together in *segments*;
what a segment gives is added to a row of windows in a fixed order, so that one process and many give the same bits.
"""

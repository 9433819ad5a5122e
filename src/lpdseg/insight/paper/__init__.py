"""Figures for a paper: PNG, SVG or PDF of a given size in millimetres, drawn with matplotlib (extra: figures)."""

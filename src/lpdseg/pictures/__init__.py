"""Masks as pictures: palettes, overlays, legends and scale bars, for one image at a time."""

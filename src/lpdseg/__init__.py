"""Weakly supervised segmentation of H&E histopathology with learnable, diverse prototypes (LPD)."""

__version__ = "0.1.0.dev0"

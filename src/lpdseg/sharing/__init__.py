"""Bundles: what prediction needs of a run, as one folder of known files that can be given away, also by a hub."""

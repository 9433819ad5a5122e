"""Labelled patches: where they are, what they say, and whether they can be trusted."""

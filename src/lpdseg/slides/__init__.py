"""Whole slides: reading them at any resolution, finding their tissue, and cutting them into windows."""

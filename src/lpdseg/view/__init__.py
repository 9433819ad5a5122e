"""A run in a browser: slides and patches under its layers, its prototypes, and corrections."""

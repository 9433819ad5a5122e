"""The network: encoders, prototypes, and the frozen encoders of the contrast."""

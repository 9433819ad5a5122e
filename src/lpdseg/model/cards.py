"""What cards of published weights say of the pixels that they expect, where no file of theirs does."""

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and sd of RGB in [0, 1]."""

CARDS: dict[str, Normalisation] = {
    "bioptimus/H-optimus-0": ((0.707223, 0.578729, 0.703617), (0.211883, 0.230117, 0.177517)),
    "kaiko-ai/midnight": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
"""By hub id."""

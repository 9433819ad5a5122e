"""What counts as glass, for patches and slides alike; figures alone, so that readers of slides need no PyTorch."""

GLASS_DENSITY = 0.06
"""Mean optical density (base 10) of a pixel that is as likely glass as tissue: 87 % transmitted, or 222 of 255, the
usual threshold for white in H&E."""

GLASS_STEP = 0.008
"""Width of the soft step around it."""

GLASS_WINDOW = 13
"""Pixels over which the optical density is averaged, so that chinks between fibres and small lumina stay tissue."""

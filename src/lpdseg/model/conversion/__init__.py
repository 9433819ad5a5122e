"""Weights of timm, torchvision and state dicts → folders that `transformers` reads."""

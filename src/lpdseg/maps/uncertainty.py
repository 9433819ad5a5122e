"""How sure a mask is at each pixel, from the class probabilities that make it (method §4).

These are the probabilities after gate, offsets and background, and before any refinement: the likeliest channel is
the unrefined mask. Background counts as a class where it has a channel; a class that the gate has closed has
probability 0 and counts among the n as well, so that the figures of all images of a run are on one scale.

n channels, H x W pixels; `*batch` images, or nothing.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def tempered(probabilities: Float[Tensor, "*batch n H W"], temperature: float) -> Float[Tensor, "*batch n H W"]:
    """softmax(log p / T): the probabilities that the same logits give, divided by T before the softmax.

    Their order is the same for every T > 0, so no mask changes; 0 stays 0. At 1 they are given back as they are.
    """
    if temperature == 1:
        return probabilities
    return (probabilities.log() / temperature).softmax(-3)


def normalised_entropy(probabilities: Float[Tensor, "*batch n H W"]) -> Float[Tensor, "*batch H W"]:
    """−Σ p log p / log n, in 0..1: 0 where one channel has it all, 1 where all n are equally likely; of one channel
    0."""
    channels = probabilities.shape[-3]
    if channels == 1:
        return torch.zeros_like(probabilities[..., 0, :, :])
    entropy: Tensor = torch.special.entr(probabilities).sum(-3) / math.log(channels)
    return entropy.clamp(0, 1)


def gap_of_two_best(probabilities: Float[Tensor, "*batch n H W"]) -> Float[Tensor, "*batch H W"]:
    """The highest probability minus the one that comes next, in 0..1; of one channel the probability itself."""
    first, *others = probabilities.unbind(-3)
    best, second = first, torch.zeros_like(first)
    for channel in others:  # `topk` along a dimension that is not the last takes many times as long
        second = torch.maximum(second, torch.minimum(best, channel))
        best = torch.maximum(best, channel)
    return best - second


def is_unsure(gap: Float[Tensor, "*batch H W"], below: float) -> Bool[Tensor, "*batch H W"]:
    """Where the two best are nearer to each other than `below` (the setting `predict.unsure`)."""
    return gap < below

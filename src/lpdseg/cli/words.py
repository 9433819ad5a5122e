"""Words that options take. Light: the command line imports this before it knows what to do."""

from enum import StrEnum


class Split(StrEnum):
    """Splits of a data set."""

    train = "train"
    valid = "valid"
    test = "test"


class AnyGate(StrEnum):
    """Which classes a mask may show."""

    predicted = "predicted"
    oracle = "oracle"
    none = "none"


class OpenGate(StrEnum):
    """Gates that need no ground truth."""

    predicted = "predicted"
    none = "none"


class BackgroundRule(StrEnum):
    """Whether pixels whose truth is background count."""

    keep = "keep"
    ignore = "ignore"


class Refinement(StrEnum):
    """What is done to the maps before the mask."""

    none = "none"
    crf = "crf"


class Checkpoint(StrEnum):
    """Which state of a run."""

    best = "best"
    last = "last"


class Runtime(StrEnum):
    """What computes the network."""

    torch = "torch"
    onnx = "onnx"
    openvino = "openvino"
    onnx_int8 = "onnx-int8"
    openvino_int8 = "openvino-int8"


class Source(StrEnum):
    """What of the network a mask is made from."""

    maps = "maps"
    head = "head"


class Engine(StrEnum):
    """Who computes slides: this machine, or a Ray cluster."""

    local = "local"
    ray = "ray"


class OnError(StrEnum):
    """What to do with an image or slide that cannot be read."""

    stop = "stop"
    skip = "skip"


class Origin(StrEnum):
    """Where the coordinates of regions count from."""

    bounds = "bounds"
    slide = "slide"

"""Words that may be chosen from, each set of them in one place: for settings, functions and options alike.

Light: the command line imports this before it knows what to do, and shows the words in its help.
"""

from typing import Literal

Split = Literal["train", "valid", "test"]
"""Splits of a data set, in the order in which they are used."""

MethodName = Literal["lpd", "cam", "pbip", "supervised", "lpd-released"]
"""What can be trained, see `lpdseg.methods.table`."""

WorstBy = Literal["error", "uncertainty", "disagreement"]
"""What patches are ordered by, the worst first: wrong pixels, unsure ones, or those on which runs differ."""

Merge = Literal["mean", "softmax"]
"""How prototype scores become class scores."""

EncoderName = Literal[
    "pvt_v2_b0", "pvt_v2_b1", "pvt_v2_b2", "mit_b0", "mit_b1", "mit_b2", "mit_b3", "mit_b4", "mit_b5",
    "resnet18", "resnet50", "swin_tiny", "swinv2_tiny", "convnext_tiny", "convnextv2_tiny", "dinov3_convnext_tiny",
    "focalnet_tiny", "efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2", "dinov2_small",
    "dinov3_vit_small", "auto",
]  # fmt: skip
"""Architectures of the encoder, see `lpdseg.model.encoders.ENCODERS`, or auto: family and size of the weights;
`lpdseg licenses` has the weights' terms."""

Tuning = Literal["auto", "none", "norm", "last_blocks", "all"]
"""What of an encoder learns; auto: nothing of a plain vision transformer, all of the others."""

ImageMerge = Literal["mean", "softmax", "pixel"]
"""How prototype maps become the image-level logits of the classes, see `lpdseg.maps.merge.image_logits`."""

HeadName = Literal["prototypes", "free", "linear"]
"""What decides a pixel's class in the segmentation head: projections of the shared prototypes, prototypes of its
own, or a linear layer, which has none."""

HeadMerge = Literal["softmax", "logsumexp"]
"""How the dense scores of a class's prototypes become its logit, see `lpdseg.maps.merge.joint_logits`."""

Negatives = Literal["other_classes", "published"]
"""Which prototypes the contrast of a pair pushes away."""

Fill = Literal["black", "white"]
"""What masked-out tissue becomes before an image encoder sees it; white is glass."""

Precision = Literal["auto", "32-true", "bf16-mixed"]
"""In which numbers a model is trained; auto: bf16 where supported."""

View = Literal["plain", "flip", "dark", "flip_dark", "bright", "flip_bright"]
"""A horizontal flip or none, times brightness 0.9 (dark), 1.0 or 1.1 (bright)."""

Gate = Literal["predicted", "oracle", "none"]
"""Which classes a mask may show, see `lpdseg.maps.gate`."""

OpenGate = Literal["predicted", "none"]
"""Gates that need no ground truth."""

Source = Literal["maps", "head"]
"""What of the network a mask is made from: class maps, or the segmentation head."""

AnySource = Literal["auto", "maps", "head"]
"""The same in the settings; auto: the head where there is one."""

MorphologyFit = Literal["mixture", "kmeans"]
"""How the morphologies of a class are found: a mixture of as many components as the data say, or k clusters."""

MapSource = Literal["auto", "maps"]
"""Which prototypes a loss sees: those of the dense map where they make one, or those of the coarsest class maps."""

BackgroundRule = Literal["power", "glass", "none"]
"""How background pixels are found, see `lpdseg.maps.background`. Glass is what holds no tissue: nearly white."""

Background = Literal["keep", "ignore"]
"""Whether pixels whose truth is background count. `keep`: they do, and tissue predicted there is a false
positive. `ignore`: they are dropped, while background predicted on a tissue pixel stays a miss."""

Refinement = Literal["none", "crf"]
"""What is done to the class maps before the mask."""

Palette = Literal["own", "colour-blind"]
"""Colours of the classes in masks and pictures: their own, or ones that people of any colour vision tell apart."""

Checkpoint = Literal["best", "last"]
"""Which state of a run."""

Backend = Literal["torch", "onnx", "openvino", "onnx-int8", "openvino-int8"]
"""What computes the network."""

SlideEngine = Literal["local", "ray"]
"""Who computes slides: this machine, or a Ray cluster."""

OnError = Literal["stop", "skip"]
"""What to do with an image or slide that cannot be read."""

Origin = Literal["bounds", "slide"]
"""Where the coordinates of regions count from: the corner of the scanned part, or of the whole slide."""

"""The families of networks that can be an encoder, by the type of their configuration."""

from lpdseg.errors import WeightsError
from lpdseg.model import encoder_kinds as kinds
from lpdseg.model.plain_vit import PlainVit, Registers, Vit

FAMILIES: dict[str, kinds.Kind] = {
    "convnext": kinds.ConvNeXt(),
    "convnextv2": kinds.ConvNeXt(),
    "dinov2": PlainVit(),
    "dinov2_with_registers": Registers(),
    "dinov3_convnext": kinds.ConvNeXt(),
    "dinov3_vit": PlainVit(),
    "efficientnet_lite": kinds.EfficientNetLite(),
    "focalnet": kinds.FocalNet(),
    "hgnet_v2": kinds.HGNetV2(),
    "pvt_v2": kinds.Strided(),
    "resnet": kinds.ResNet(),
    "segformer": kinds.Segformer(),
    "swin": kinds.Swin(),
    "swinv2": kinds.Windowed(),
    "vit": Vit(),
}


def kind_of(model_type: str | None) -> kinds.Kind:
    """What a type of `transformers`, or one of ours, needs.

    **Raises:** `WeightsError` for one that is not known here.
    """
    if model_type is None or model_type not in FAMILIES:
        raise WeightsError(
            f"a network of the type {model_type!r} cannot be the encoder; those that can are {', '.join(FAMILIES)}"
        )
    return FAMILIES[model_type]

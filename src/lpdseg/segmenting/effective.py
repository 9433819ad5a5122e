"""Settings of prediction as they act: what means nothing for some classes is dropped, and told."""

from lpdseg.sections import PredictSettings
from lpdseg.tissue import TissueClasses


def effective(settings: PredictSettings, classes: TissueClasses) -> tuple[PredictSettings, tuple[str, ...]]:
    """The settings that act for these classes, and a sentence for each that was asked for and does not."""
    if settings.background == "none" or classes.background is not None:
        return settings, ()
    note = (
        f"predict.background = {settings.background} is left out: the classes have no background, so every pixel "
        "of a mask gets a class, glass too; give background a mask value in classes.yaml, or with "
        "--mask-value 255=background"
    )
    return settings.model_copy(update={"background": "none"}), (note,)

"""The table of methods: each is a network and what is minimised to train it."""

from collections.abc import Callable
from dataclasses import dataclass

from lpdseg.choices import MethodName
from lpdseg.methods import cam, lpd, pbip, released, supervised
from lpdseg.methods.task import Task
from lpdseg.model.encoder import Encoder
from lpdseg.model.lpd import LPD
from lpdseg.model.network import Network
from lpdseg.settings import Settings
from lpdseg.tissue import TissueClasses


@dataclass(frozen=True)
class Method:
    """One method.

    - `network`: from an encoder, the settings and the number of classes to the network that predicts.
    - `task`: that network and its objective, at the first step.
    - `needs_masks`: whether it is trained on true masks; those of the others are never opened.
    - `composites`: whether it learns from composites where `loss.composite.weight` is above 0.
    - `first_stage`: where prototypes are those of a classifier that only teaches `network`, from an encoder, the
      settings, the number of classes and the width of the prototypes to it; the task has it as `classifier`.
    """

    network: Callable[[Encoder, Settings, int], Network]
    task: Callable[[Encoder, Settings, TissueClasses], Task]
    needs_masks: bool = False
    composites: bool = False
    first_stage: Callable[[Encoder, Settings, int, int], LPD] | None = None


METHODS: dict[MethodName, Method] = {
    "lpd": Method(lpd.network, lpd.task, composites=True),
    "cam": Method(cam.network, cam.task),
    "pbip": Method(pbip.network, pbip.task, first_stage=pbip.first_stage),
    "supervised": Method(supervised.network, supervised.task, needs_masks=True),
    "lpd-released": Method(released.network, released.task),
}

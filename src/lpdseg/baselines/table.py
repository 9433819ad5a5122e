"""The table of methods: each is a network and what is minimised to train it."""

from collections.abc import Callable
from dataclasses import dataclass

from lpdseg.baselines import cam, lpd
from lpdseg.model.encoders import Encoder
from lpdseg.model.network import Network
from lpdseg.settings import MethodName, Settings
from lpdseg.tissue import TissueClasses
from lpdseg.training.base import Task


@dataclass(frozen=True)
class Method:
    """One method.

    - `network`: from an encoder, the settings and the number of classes to the network that predicts.
    - `task`: that network and its objective, at the first step.
    """

    network: Callable[[Encoder, Settings, int], Network]
    task: Callable[[Encoder, Settings, TissueClasses], Task]


METHODS: dict[MethodName, Method] = {
    "lpd": Method(lpd.network, lpd.task),
    "cam": Method(cam.network, cam.task),
}

"""What the patches of one patient have in common: the stain, the grade of the tumour, the sub-types it leans to."""

from dataclasses import dataclass

from lpdseg.data.records import SPLITS
from lpdseg.data.synthetic.noise import between, generator
from lpdseg.data.synthetic.stain import Stain, draw_stain
from lpdseg.data.synthetic.subtypes import SUBTYPES

_PATIENT_STREAM = 1


@dataclass(frozen=True)
class Patient:
    """One patient.

    **Arguments:**

    - `name`: for example `TRAIN-03`; unique over splits.
    - `stain`: of the patient's slides.
    - `leaning`: weight of every sub-type, in the order of `SUBTYPES`.
    - `nuclear_size`: factor on the size of tumour nuclei.
    - `pleomorphism`: 0..1, how much tumour nuclei differ from one another.
    - `nucleoli`: 0..1, how often tumour nuclei show them.
    - `cleft`: 0..1, how far tumour nests have shrunk from their stroma.
    - `infiltration`: scattered lymphocytes per square millimetre of stroma.
    """

    name: str
    stain: Stain
    leaning: tuple[float, ...]
    nuclear_size: float
    pleomorphism: float
    nucleoli: float
    cleft: float
    infiltration: float


def patient_name(split: str, number: int) -> str:
    """For example `TRAIN-03`."""
    return f"{split.upper()}-{number:02d}"


def draw_patient(seed: int, split: str, number: int) -> Patient:
    """Patient `number` of a split; the same whatever else is drawn."""
    rng = generator(_PATIENT_STREAM, seed, SPLITS.index(split), number)
    return Patient(
        name=patient_name(split, number),
        stain=draw_stain(rng),
        # Factors 0.3..1.7 with mean 1, so that shares over all patients stay near the table's.
        leaning=tuple(subtype.share * between(rng, 0.3, 1.7) for subtype in SUBTYPES),
        nuclear_size=between(rng, 0.9, 1.15),
        pleomorphism=between(rng, 0.2, 1.0),
        nucleoli=between(rng, 0.3, 0.9),
        cleft=max(0.0, between(rng, -0.8, 1.0)),
        infiltration=between(rng, 0.0, 900.0),
    )

"""How good the masks are: confusion matrices, the figures of the field, intervals and records."""

from lpdseg.choices import Background
from lpdseg.evaluation.bootstrap import Estimate, Intervals, intervals, mean_miou, paired_difference
from lpdseg.evaluation.confusion import Scores, confusion_matrix, sum_by_patient
from lpdseg.evaluation.image_level import ImageLevelScores, choose_thresholds, score_images
from lpdseg.evaluation.protocol import Protocol, record, table, write_csv

__all__ = [
    "Background",
    "Estimate",
    "ImageLevelScores",
    "Intervals",
    "Protocol",
    "Scores",
    "choose_thresholds",
    "confusion_matrix",
    "intervals",
    "mean_miou",
    "paired_difference",
    "record",
    "score_images",
    "sum_by_patient",
    "table",
    "write_csv",
]

"""`classes.yaml`: the tissue classes of a data set, kept beside its images."""

from pathlib import Path

import yaml

from lpdseg.errors import DataError, SettingsError
from lpdseg.files import read_text, write_text
from lpdseg.plain_yaml import read_yaml_words, write_yaml
from lpdseg.tissue import TissueClasses

CLASSES_FILE = "classes.yaml"


def read_classes(folder: Path) -> TissueClasses | None:
    """The classes that `folder`'s `classes.yaml` tells; None where there is no such file.

    **Raises:** `DataError` for a file that is no YAML, has nearly that name, or does not describe tissue classes.
    """
    path = folder / CLASSES_FILE
    try:
        text = read_text(path)
    except FileNotFoundError:
        names = {CLASSES_FILE, "classes.yml"}
        like = [found.name for found in folder.glob("[Cc]*.[Yy]*") if found.name.lower() in names]
        if like:
            raise DataError(f"{folder / like[0]} is not read under that name; call it {CLASSES_FILE}") from None
        return None
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    try:
        value = read_yaml_words(text)
        if not isinstance(value, dict):
            raise DataError(f"{path} must be a mapping with `names`, one per tissue class")
        return TissueClasses.from_dict(value)
    except yaml.YAMLError as error:
        raise DataError(f"{path} is no valid YAML: {' '.join(str(error).split())}") from error
    except SettingsError as error:
        raise DataError(f"{path}: {error}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path} holds a value of the wrong kind ({error}); see the one of a preset") from error


def write_classes(classes: TissueClasses, folder: Path) -> None:
    """Writes `classes.yaml` into `folder`; `read_classes` reads it back."""
    write_text(folder / CLASSES_FILE, write_yaml(classes.as_dict()))

"""`manifest.csv`: patches with labels, splits and patients. What was taken is the same once it was written."""

from pathlib import Path

from lpdseg.data.manifest import read_manifest, write_manifest
from lpdseg.errors import DataError
from mutations import csv_changed as mutate

__all__ = ["KIND", "LONGEST", "mutate", "parse", "seeds"]

KIND = "text"
LONGEST = 2000


def seeds(folder: Path) -> list[bytes]:
    return [
        b"path,TUM,STR,LYM,NEC,split,patient,mask,mpp,subtype\n"
        b"train/a[1010].png,1,0,1,0,train,p1,,0.5,\nvalid/img/b.png,,,,,valid,p2,valid/mask/b.png,0.25,x\n",
        b'\xef\xbb\xbfpath,gland,stroma,split\r\n"a,1.png",1.0,0.0,training\r\nb/TCGA-A1-A0SK_MPP-0.2500.png,0,1,Test\r\n',
    ]


def parse(data: bytes, folder: Path) -> None:
    path = folder / "manifest.csv"
    path.write_bytes(data)
    (folder / "classes.yaml").unlink(missing_ok=True)
    manifest = read_manifest(path)
    again = folder / "again.csv"
    try:
        write_manifest(manifest, again)
    except DataError:  # a class has the name of a column
        return
    found = read_manifest(again)
    assert found.classes == manifest.classes
    assert [(one.path, one.labels, one.split, one.patient, one.mask, one.mpp) for one in found.records] == [
        (one.path, one.labels, one.split, one.patient, one.mask, one.mpp) for one in manifest.records
    ]

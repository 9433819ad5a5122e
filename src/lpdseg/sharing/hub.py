"""Bundles on the Hugging Face hub, named `hf:OWNER/NAME` or `hf:OWNER/NAME@REVISION`.

Only the files of a bundle are ever fetched or sent, by their names, so that no code and no pickle is.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from lpdseg.errors import CheckpointError, OutputError
from lpdseg.model.configuration import first_line
from lpdseg.model.hub import cache_alone
from lpdseg.model.weights_folder import gated
from lpdseg.sharing.folder import FILES, SUMS, check

PREFIX = "hf:"
_WORD = r"[A-Za-z0-9][\w.-]*"
_ID = re.compile(rf"(?P<id>{_WORD}/{_WORD})(@(?P<revision>[\w./-]+))?", re.ASCII)


def local(run: str | Path) -> Path:
    """The folder of a run or bundle: what is named or, of `hf:OWNER/NAME`, its copy in the hub's cache.

    The hub is asked for the latter alone, once in a process; without a network what is in the cache is taken.

    **Raises:** `CheckpointError` for a hub id that is none, or a bundle that the hub does not give us.
    """
    path = Path(run)
    named = path.as_posix()
    return path if not named.startswith(PREFIX) or path.exists() else _fetched(named)


@lru_cache
def _fetched(named: str) -> Path:
    from huggingface_hub import snapshot_download

    repo, revision = _parts(named)
    away = cache_alone(repo)
    why = "it is not in the cache of the hub, which does not answer" if away else None
    with _told(named, CheckpointError, "check its name, go online once, or name a folder", why):
        folder = Path(
            snapshot_download(repo, revision=revision, allow_patterns=[*FILES, SUMS], local_files_only=away)
        )
    if not (folder / SUMS).is_file():
        raise CheckpointError(
            f"{named} is no bundle, for it has no {SUMS}; name one that `lpdseg bundle push` sent"
        )
    return folder


def push(folder: Path, name: str, *, private: bool = True) -> str:
    """Sends a bundle to the hub, as the user whom its library knows; a repository that is not there is made.

    `name` is `OWNER/NAME`, with or without `hf:`; `private` is of a new repository, others stay as they are.

    **Returns:** its address.

    **Raises:** `CheckpointError` where the bundle is not whole; `OutputError` where the hub refuses.
    """
    from huggingface_hub import HfApi

    files = check(folder)
    repo, revision = _parts(name)
    if cache_alone(repo):
        raise OutputError(f"{name}: the hub does not answer; go online to send a bundle")
    api = HfApi()
    with _told(name, OutputError, "log in with 'hf auth login' or set HF_TOKEN, and check the name"):
        made = api.create_repo(repo, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repo,
            folder_path=folder,
            allow_patterns=list(files),
            delete_patterns=[one for one in FILES if one not in files],  # such as a graph of the bundle before
            revision=revision,
            commit_message="Bundle of lpdseg",
        )
    return str(made)


def _parts(named: str) -> tuple[str, str | None]:
    found = _ID.fullmatch(named.removeprefix(PREFIX))
    if found is None or ".." in named:
        raise CheckpointError(f"{named!r} is no id of the hub; write hf:OWNER/NAME or hf:OWNER/NAME@REVISION")
    return found["id"], found["revision"]


@contextmanager
def _told(
    named: str, kind: type[CheckpointError] | type[OutputError], advice: str, why: str | None = None
) -> Iterator[None]:
    """What the hub's library raises, as a sentence; `why` is the reason where that is known."""
    try:
        yield
    except Exception as error:  # of whichever library the hub's asks through
        why = why or f"the hub did not do it ({first_line(error)[:300]})"
        raise kind(f"{named}: {gated(named, error) or f'{why}; {advice}'}") from error

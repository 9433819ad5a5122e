"""A hub in a folder, in place of the two calls of its library that reach the network."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.utils import filter_repo_objects

from lpdseg.sharing import hub


class StandIn:
    """Repositories below a folder; every name that is fetched is kept in `fetched`."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        self.root, self.fetched, self.made = root, list[str](), list[tuple[str, bool]]()
        patch.setattr("huggingface_hub.snapshot_download", self.snapshot_download)
        patch.setattr("huggingface_hub.HfApi", lambda: self)
        patch.setattr(hub, "cache_alone", lambda repo: False)
        hub._fetched.cache_clear()

    def repository(self, name: str) -> Path:
        return self.root / "hub" / name

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> str:
        assert exist_ok
        self.made.append((repo_id, private))
        self.repository(repo_id).mkdir(parents=True, exist_ok=True)
        return f"https://hub/{repo_id}"

    def upload_folder(
        self, *, repo_id: str, folder_path: Path, allow_patterns: list[str], delete_patterns: list[str], **_: Any
    ) -> None:
        there = self.repository(repo_id)
        for gone in filter_repo_objects(_names(there), allow_patterns=delete_patterns):
            (there / gone).unlink()
        for name in filter_repo_objects(_names(Path(folder_path)), allow_patterns=allow_patterns):
            shutil.copyfile(Path(folder_path) / name, there / name)

    def snapshot_download(
        self, repo_id: str, *, revision: str | None, allow_patterns: list[str], local_files_only: bool
    ) -> str:
        assert not local_files_only
        there = self.repository(repo_id)
        if not there.is_dir():
            raise FileNotFoundError(f"no repository {repo_id}.\nIts page says more.")
        copy = self.root / "cache" / repo_id / (revision or "main")
        for name in filter_repo_objects(_names(there), allow_patterns=allow_patterns):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(there / name, copy / name)
            self.fetched.append(name)
        copy.mkdir(parents=True, exist_ok=True)
        return str(copy)


def _names(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]

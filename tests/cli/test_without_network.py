"""Every command works without a network, and asks for none: all sockets but those of this machine are refused and
noted, in processes of their own and in those that they start.
"""

import json
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from processes import program

GUARD = """
import os, socket

def refused(what, error):
    with open(os.environ["ATTEMPTS"], "a", encoding="utf-8") as file:
        file.write(f"{what}\\n")
    raise error

def is_here(host):
    host = host.decode() if isinstance(host, bytes) else host
    return host in (None, "", "localhost", "::1", "0.0.0.0", "::") or host.startswith("127.")

def guarded(real):
    def connect(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and not is_here(address[0]):
            refused(f"connect {address}", OSError(101, "Network is unreachable"))
        return real(self, address)
    return connect

def look_up(host, *rest, **options):
    if not is_here(host):
        refused(f"look up {host}", socket.gaierror(-3, "Temporary failure in name resolution"))
    return real_look_up(host, *rest, **options)

real_look_up, socket.getaddrinfo = socket.getaddrinfo, look_up
socket.socket.connect = guarded(socket.socket.connect)
socket.socket.connect_ex = guarded(socket.socket.connect_ex)
"""
"""Of `sitecustomize`, which Python loads at every start."""

MANY = """
import json, sys
from lpdseg.cli.main import main
for words in json.loads(sys.argv[1]):
    code = main(words)
    assert code == 0, (code, words)
    print("did", *words[:2], file=sys.stderr)
"""


@pytest.fixture
def alone(tmp_path: Path) -> dict[str, str]:
    """An environment without network, and with nothing in the hub's cache."""
    (tmp_path / "guard").mkdir()
    (tmp_path / "guard" / "sitecustomize.py").write_text(GUARD)
    left_out = ("HF_", "HUGGINGFACE_", "TRANSFORMERS_", "LPDSEG_DATA")
    found = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    path = [str(tmp_path / "guard"), *filter(None, [found.get("PYTHONPATH")])]
    cache = {"HF_HOME": str(tmp_path / "hub"), "LPDSEG_CACHE": str(tmp_path / "cache")}
    return found | cache | {"PYTHONPATH": os.pathsep.join(path), "ATTEMPTS": str(tmp_path / "attempts.txt")}


def attempts(alone: dict[str, str]) -> list[str]:
    path = Path(alone["ATTEMPTS"])
    return path.read_text().splitlines() if path.is_file() else []


def test_the_guard_refuses_others_and_notes_them(alone: dict[str, str]) -> None:
    asks = "import socket, urllib.request as u; s = socket.socket(); print(s.connect_ex(('192.0.2.1', 80)))"
    for words in (asks, "import urllib.request as u; u.urlopen('http://lpdseg.invalid')"):
        done = subprocess.run([sys.executable, "-c", words], env=alone, capture_output=True, text=True, check=False)
        assert done.returncode != 0
    assert attempts(alone) == ["connect ('192.0.2.1', 80)", "look up lpdseg.invalid"]


@pytest.mark.e2e
def test_no_command_asks_for_the_network(
    alone: dict[str, str], small_data: Path, small_settings: tuple[str, ...], tmp_path: Path
) -> None:
    run, data, cpu = str(tmp_path / "run"), str(small_data), ["--device", "cpu"]
    changes = [word for one in small_settings for word in ("--set", one)]
    weights = [
        "--weights",
        "imagenet",
        "--encoder",
        "efficientnet_lite0",
        "--epochs",
        "0.5",
        "--classes",
        "pink,blue",
    ]
    commands = [
        ["data", "synth", str(tmp_path / "synth"), "--size", "56", "--train", "2", "--valid", "1", "--test", "1"],
        ["data", "check", data, "--classes", "pink,blue"],
        ["train", "--data", data, "--out", run, *changes, *weights, *cpu],
        ["evaluate", run, "--data", data, *cpu],
        ["segment", run, str(small_data / "valid" / "img"), "--out", str(tmp_path / "masks"), *cpu],
        ["report", run, *cpu],
        ["prototypes", run, "--data", data, "--out", str(tmp_path / "atlas.html"), *cpu],
        ["figure", "curves", run, "--out", str(tmp_path / "curves.png")],
        ["export", run, "--out", str(tmp_path / "model.onnx")],
        ["verify", run, *cpu],
        ["licenses", run],
        ["weights", "list"],
        ["settings"],
        ["doctor"],
    ]
    done = subprocess.run(
        [sys.executable, "-c", MANY, json.dumps(commands)], env=alone, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert attempts(alone) == []


@pytest.mark.e2e
def test_the_viewer_starts_and_answers_without_network(alone: dict[str, str], prototype_run: Path) -> None:
    words = ["view", str(prototype_run), "--no-browser", "--device", "cpu"]
    own = {"env": alone | {"PYTHONUNBUFFERED": "1"}, "stdout": subprocess.PIPE, "text": True}
    with program([sys.executable, "-m", "lpdseg", *words], **own) as started:
        assert started.stdout is not None
        told = started.stdout.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+/\S*", told)
        assert address is not None, told
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        with opener.open(address[0]) as answer:
            assert answer.status == 200
    assert attempts(alone) == []


@pytest.mark.parametrize(
    "words",
    [
        ["train", "--data", "{data}", "--out", "{out}", "--classes", "pink,blue", "--encoder", "dinov2_small",
         "--weights", "lab/net"],
        ["weights", "convert", "lab/net", "{out}"],
    ],
    ids=["train", "convert"],
)  # fmt: skip
def test_what_must_be_downloaded_is_asked_for_once(
    words: list[str], alone: dict[str, str], small_data: Path, tmp_path: Path
) -> None:
    asked = [word.format(data=small_data, out=tmp_path / "out") for word in words]
    done = subprocess.run(
        [sys.executable, "-m", "lpdseg", *asked], env=alone, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    said = done.stderr.strip().splitlines()[-1]
    assert said.startswith("lpdseg: ") and "lab/net" in said and "go online" in said, done.stderr
    assert len(attempts(alone)) <= 2, attempts(alone)

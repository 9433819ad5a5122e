"""Lines and tables that no name can steer a terminal with."""

import ast
from pathlib import Path

import pytest
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

import lpdseg
from lpdseg.terminal import Terminal, hand_over, say

STEERS = "x\x1b[2J\x07\ny\x9b\u202e"
SHOWN = "x�[2J��y��"


def test_lines(capsys: pytest.CaptureFixture[str]) -> None:
    say(STEERS, Path("a\nb"))
    say(err=True)
    say(STEERS, err=True)
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == (f"{SHOWN}\na�b\n", f"{SHOWN}\n")


def test_documents_are_handed_over_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    hand_over('{\n  "a": 1\n}')
    hand_over("a: \u00e4\n")
    assert capsys.readouterr().out == '{\n  "a": 1\n}\na: \u00e4\n'


def test_texts_and_tables(capsys: pytest.CaptureFixture[str]) -> None:
    console = Terminal()
    table = Table(title=STEERS, box=None, pad_edge=False)
    table.add_column(STEERS, overflow="fold")
    table.add_column("[red]n[/red]")
    table.add_row(STEERS, "[b]1")
    console.print(STEERS)
    console.print("a", STEERS, style="bold red")
    console.print(table)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [SHOWN, f"a {SHOWN}"] and all(line.isprintable() for line in lines), lines
    assert lines[-2:] == [f"{SHOWN}  [red]n[/red]", f"{SHOWN}  [b]1        "]


def test_texts_that_rich_has_made(capsys: pytest.CaptureFixture[str]) -> None:
    """It leaves bells out by itself."""
    text, table = Text(STEERS), Table()
    table.add_column(text)
    table.add_row(text)
    Terminal().print(text)
    Terminal().print(table)
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == "x�[2J�y��" and all(line.isprintable() for line in lines), lines


def test_styles_stay(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    Terminal().print(Text.assemble((STEERS, "bold"), " end"))
    shown = capsys.readouterr().out
    assert shown == "\x1b[1mx�[2J�y��\x1b[0m end\n"


def test_bars(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(console=Terminal(stderr=True)) as bar:
        bar.add_task(STEERS, total=1)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("x�[") and all(line.isprintable() for line in lines), lines


def printing(source: str) -> list[str]:
    """What a module prints with, other than what this one offers: `print`, `typer.echo`, a console of rich."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            whole = ast.unparse(node)
            if whole in ("typer.echo", "typer.secho", "sys.stdout.write", "sys.stderr.write"):
                found.append(whole)
        elif isinstance(node, ast.Name) and node.id == "print":
            found.append(node.id)
        elif isinstance(node, ast.ImportFrom) and node.module in ("rich", "rich.console", "rich.pretty", "click"):
            found.append(f"{node.module}.{node.names[0].name}")
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name in ("rich", "rich.console", "click")]
    return found


def test_commands_print_in_no_other_way() -> None:
    folder = Path(lpdseg.__file__).parent / "cli"
    found = {path.name: printing(path.read_text(encoding="utf-8")) for path in folder.glob("*.py")}
    assert {name: ways for name, ways in found.items() if ways} == {}
    odd = "import rich\nfrom rich.console import Console\nprint(1)\ntyper.echo(2)\nsys.stderr.write('3')"
    assert len(printing(odd)) == 5

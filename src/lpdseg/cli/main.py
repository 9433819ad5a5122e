"""The command `lpdseg`: its sub-commands, and what a person reads when one of them fails.

Nothing here or in the modules of the sub-commands imports PyTorch before a command runs, so that `--help` is quick.
"""

import errno
import io
import logging
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.core import TyperGroup

from lpdseg.cli import (
    benchmark,
    bundle,
    data,
    demo,
    doctor,
    evaluate,
    export,
    figure,
    licenses,
    prototypes,
    report,
    segment,
    settings,
    train,
    verify,
    view,
    weights,
)
from lpdseg.cli.processes import is_first
from lpdseg.cli.quietly import quietly
from lpdseg.cli.stop import Stopped
from lpdseg.errors import LpdsegError
from lpdseg.plain import ESCAPED
from lpdseg.terminal import say

_UsageError = typer.BadParameter.__mro__[1]  # typer keeps its own copy of this class of click's

_REFUSED = {
    errno.ENOSPC: ("no space is left", "free space or choose another folder"),
    errno.EDQUOT: ("your quota is used up", "free space or choose another folder"),
    errno.EACCES: ("permission is missing", "change rights or choose another folder"),
    errno.EPERM: ("permission is missing", "change rights or choose another folder"),
    errno.EROFS: ("the file system is read-only", "choose another folder"),
    errno.ENAMETOOLONG: ("a name is too long", "choose a shorter one"),
}
"""What the operating system refuses, and how a user mends it; any other `OSError` is a fault of the program."""


class _InReadingOrder(TyperGroup):
    """Lists the commands as someone new needs them."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """The names of the commands."""
        order = (
            "demo", "data", "weights", "settings", "train", "evaluate", "segment", "view", "report", "prototypes",
            "figure", "export", "bundle", "benchmark", "verify", "doctor", "licenses",
        )  # fmt: skip
        return sorted(self.commands, key=lambda name: order.index(name) if name in order else len(order))


app = typer.Typer(
    cls=_InReadingOrder,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(quietly(demo.demo))
app.add_typer(data.app, name="data")
app.add_typer(weights.app, name="weights")
app.command()(quietly(settings.settings))
app.command()(quietly(train.train))
app.command()(quietly(evaluate.evaluate))
app.command()(quietly(segment.segment))
app.command()(quietly(view.view))
app.command()(quietly(export.export))
app.add_typer(bundle.app, name="bundle")
app.command()(quietly(report.report))
app.command()(quietly(prototypes.prototypes))
app.add_typer(figure.app, name="figure")
app.command()(quietly(benchmark.benchmark))
app.command()(quietly(verify.verify))
app.command()(quietly(doctor.doctor))
app.command()(quietly(licenses.licenses))


def _show_version(asked: bool) -> None:
    if asked:
        from lpdseg.version import told_version

        say(f"lpdseg {told_version()}")
        raise typer.Exit


@app.callback(
    epilog="`lpdseg demo` shows the whole way, needs no data, and says first how long it will take.\n\n"
    "Exit codes: 0 done; 1 data, weights, a checkpoint or an output is at fault, or some inputs could not be used; "
    "2 a setting or option is at fault; 130 stopped by Ctrl-C or a signal, after saving."
)
def _lpdseg(
    version: Annotated[
        bool,
        typer.Option("--version", "-V", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Segment H&E histopathology with image-level tissue labels only: patches and labels in, pixel masks out."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code.

    0: done. 1: data, weights, checkpoint or output at fault. 2: a setting or option at fault. 130: stopped.
    An exception that no user can mend is a bug and keeps its traceback.
    """
    _speak_always()
    _let_idle_threads_sleep()
    try:
        code = app(
            list(sys.argv[1:] if arguments is None else arguments), prog_name="lpdseg", standalone_mode=False
        )
        sys.stdout.flush()
    except LpdsegError as error:
        return _say(str(error) or type(error).__name__, error.exit_code)
    except Stopped as stopped:
        return _say(f"stopped; {stopped}", stopped.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _say("stopped", 130)
    except BrokenPipeError:  # whoever read our output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        where = f" for {error.filename}" if error.filename else ""
        return _say(f"{_REFUSED[error.errno][0]}{where}; {_REFUSED[error.errno][1]}", 1)
    except Exception as error:
        if not isinstance(error, _UsageError):
            raise
        return _explain_usage(error)
    # Typer answers Ctrl-C itself, with this code and without a word.
    return _say("stopped", 130) if code == 130 else code or 0


def _speak_always() -> None:
    """No letter of a file's name may end a command; notes that the package logs go to standard error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ESCAPED)
    logger = logging.getLogger("lpdseg")
    if logging.lastResort is not None and logging.lastResort not in logger.handlers:
        logger.addHandler(logging.lastResort)


def _let_idle_threads_sleep() -> None:
    """Threads of OpenMP spin while they wait, which takes cores from whoever needs them: loaders, other jobs.

    Heeded where PyTorch is not loaded yet, and left as it is where somebody has chosen.
    """
    if "torch" not in sys.modules:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        os.environ.setdefault("KMP_BLOCKTIME", "0")


def _say(text: str, code: int) -> int:
    if is_first():
        say(f"lpdseg: {text}", err=True)
    return code


def _explain_usage(error: Exception) -> int:
    """A command line that cannot be understood: what is wrong, and where to look; help where nothing was asked."""
    told = " ".join(error.format_message().split()).replace("Value error, ", "")  # type: ignore[attr-defined]
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()  # type: ignore[attr-defined]
        return 2
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "lpdseg"
    return _say(f"{told.rstrip('.')}; see {command} --help", 2)

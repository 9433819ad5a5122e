"""Scripts without the main guard, which every process that they start would run again from the top."""

import multiprocessing

MAIN_GUARD = "a script that calls this needs its calls below `if __name__ == '__main__':`"
"""The sentence for it. It ends where another cause may follow."""


def end_if_run_again() -> None:
    """Ends a process that was started to help, and instead runs the script of its parent, without a word.

    The parent sees that its helper has ended, and says what is to be done once.
    """
    if getattr(
        multiprocessing.current_process(), "_inheriting", False
    ):  # set while a new process imports the script
        raise SystemExit(1)

"""How the command line ends: one message and one exit code for everything that can stop it."""

from __future__ import annotations

import os
import select
import sys
import traceback
from contextlib import suppress

from limbeck.cli.exit_codes import EXIT_INTERRUPTED, EXIT_NO_READER, EXIT_OUR_MISTAKE, EXIT_USER_ERROR
from limbeck.cli.signals import ignored_wait, terminable
from limbeck.errors import LimbeckError, OutputError
from limbeck.ranks.launched import message_of, num_ranks, rank_name, rank_number
from limbeck.version import __version__
from limbeck.waiting import bound_spinning

COMPLETION = "_LIMBECK_COMPLETE"  # set by a shell that asks what could follow
_NO_MEMORY = ("can't allocate memory", "out of memory", "bad_alloc")


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        bound_spinning()
        with terminable():
            code = _ended()
    except KeyboardInterrupt:  # before a command began, or after it had ended
        code = EXIT_INTERRUPTED
        _tell("limbeck: stopped")
    exec("")  # else python -m ends by SIGINT, whatever the code, where Ctrl-C came within an exec, as of a dataclass
    sys.exit(code)


def _ended() -> int:
    """Run a command; return its exit code when its output is written, and its message where it failed."""
    try:
        with ignored_wait():
            code = _run()
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except LimbeckError as error:
        return _refuse(error)
    except KeyboardInterrupt as interrupt:
        _tell(f"limbeck: {interrupt}" if str(interrupt) else "limbeck: stopped")
        return EXIT_INTERRUPTED
    except OSError as error:
        has_left = isinstance(error, BrokenPipeError) and _reader_has_left()
        _drop_output()
        if has_left:
            return EXIT_NO_READER
        return _refuse(_refused(error))
    except Exception as error:
        if isinstance(error, MemoryError) or any(words in str(error) for words in _NO_MEMORY):
            return _refuse(_too_little_memory(error))
        _tell(_our_mistake(error))
        return EXIT_OUR_MISTAKE
    finally:
        _drop_output(only_broken=True)


def _run() -> int:
    """Do what click's own main does, but for its ends: it says nothing where nobody reads, and little of signals."""
    import click

    from limbeck.cli.app import app

    group = app()
    if COMPLETION in os.environ:
        group(prog_name="limbeck")
    try:
        with group.make_context("limbeck", sys.argv[1:]) as context:
            group.invoke(context)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.ClickException as error:
        if rank_number() == 0:
            error.show()
        return error.exit_code
    return 0


def _refuse(error: LimbeckError) -> int:
    """Tell what the user can mend, unless another rank has told it; return the exit code."""
    message = message_of(error)
    if message is not None:
        _tell(f"limbeck: {message}")
    return EXIT_USER_ERROR


def _refused(error: OSError) -> LimbeckError:
    if error.filename is None:
        return OutputError(
            "The output could not be written.",
            received=error.strerror or str(error),
            expected="a terminal, file or program that takes all of it",
            remedy="what a job wrote into its folder is there all the same",
        )
    return OutputError(
        "The system refused a file.",
        received=f"{error.strerror}: {error.filename!s:.200}",
        remedy="see that the path exists, is not too long, and may be read or written",
    )


def _too_little_memory(error: BaseException) -> LimbeckError:
    return LimbeckError(
        "There is too little memory.",
        received=f"{error!s:.200}" or None,
        remedy="a smaller --batch-size, smaller networks or images, or a machine with more memory",
    )


def _our_mistake(error: BaseException) -> str:
    """Return what to say of a mistake of ours; the traceback comes first, as it is what a report needs."""
    frames = "".join(traceback.format_exception(error))
    where = f"{rank_name()}: " if num_ranks() > 1 else ""
    return (
        f"{frames}limbeck: {where}this is a mistake of limbeck {__version__}, not yours: {type(error).__name__}\n"
        "  remedy: please report it to the project (SECURITY.md says how), with the lines above and the command"
    )


def _tell(message: str) -> None:
    """Print to standard error where that is possible."""
    with suppress(OSError, ValueError, AttributeError):
        print(message, file=sys.stderr, flush=True)


def _reader_has_left() -> bool:
    """Tell whether standard output is a pipe that nobody reads any more."""
    try:
        output = select.poll()
        output.register(sys.stdout.fileno(), select.POLLOUT)
        return any(event & select.POLLERR for _, event in output.poll(0))
    except (AttributeError, OSError, ValueError):  # no poll on this system, or no file
        return False


def _drop_output(*, only_broken: bool = False) -> None:
    """Let what standard output could not take go nowhere, so that Python's own end does not fail on it again."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
        if only_broken:
            return
    except (OSError, ValueError):
        pass
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)

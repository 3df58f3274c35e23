"""The command line: flags only. What is heavy is imported when a command runs, so that --help answers at once."""

from limbeck.cli.ending import main

__all__ = ["main"]

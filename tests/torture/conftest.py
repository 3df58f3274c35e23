"""The campaign is a program (``make torture``), not a part of the tests."""

collect_ignore_glob = ["*.py"]

"""Benchmarks: each ``run`` returns a JSON-able dictionary with its floor, its targets and what it reached."""

from __future__ import annotations

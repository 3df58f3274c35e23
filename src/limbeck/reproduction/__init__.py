"""What the reproduction of a paper leaves behind: claims, observations, figures, and verdicts computed from them.

Without torch. A figure names observations and never repeats their values, so that page, table and record cannot differ.
"""

from limbeck.reproduction.claim import Claim, Verdict
from limbeck.reproduction.figure import Figure, Series, Strip
from limbeck.reproduction.numbers import drawn_factor, spread_text, summary_text, unit_text, value_text
from limbeck.reproduction.record import (
    FORMAT,
    NetworkFacts,
    Observation,
    ReproductionRecord,
    reproduction_from_json,
    reproduction_to_json,
)
from limbeck.reproduction.results import Results

__all__ = [
    "FORMAT",
    "Claim",
    "Figure",
    "NetworkFacts",
    "Observation",
    "ReproductionRecord",
    "Results",
    "Series",
    "Strip",
    "Verdict",
    "drawn_factor",
    "reproduction_from_json",
    "reproduction_to_json",
    "spread_text",
    "summary_text",
    "unit_text",
    "value_text",
]

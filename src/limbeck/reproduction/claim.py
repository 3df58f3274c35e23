"""Claims of a paper, and the verdicts on them."""

from __future__ import annotations

from dataclasses import dataclass

from limbeck.records.notebook import html_table
from limbeck.reproduction.numbers import summary_text, value_text
from limbeck.statistics import Summary

ROUNDING = 1e-9  # relative; a mean of floats that differs from its goal by less has reached it


@dataclass(frozen=True)
class Claim:
    """One number of the paper, and what we set out to reach: ``Claim("distilled", "test_errors", "...", paper=74)``.

    Args:
        condition: which of the recipe's networks, or whatever else was observed.
        quantity: what was observed of it.
        sentence: the claim in words, for a reader who has not the paper at hand.
        paper: the paper's number; None where it has none.
        at_most: our goal, where less is better; the mean over seeds is held against it.
        at_least: our goal, where more is better.
        unit: of paper, goal and observations: "count", "fraction", "points", "nats" or any other.
    """

    condition: str
    quantity: str
    sentence: str
    paper: float | None = None
    at_most: float | None = None
    at_least: float | None = None
    unit: str = "count"

    @property
    def has_goal(self) -> bool:
        """Whether there is something to reach."""
        return self.at_most is not None or self.at_least is not None

    def _repr_html_(self) -> str:
        """Return the claim as a table of one row, for a notebook."""
        paper, goal = Verdict(self, "no goal", None, 0).paper_text, Verdict(self, "no goal", None, 0).goal_text
        row = [f"{self.condition}, {self.quantity}", self.sentence, paper, goal or "—"]
        return html_table(["what", "claim", "paper", "goal"], [row])

    def is_reached_by(self, value: float) -> bool:
        """Return whether a value reaches the goal (both, where there are two)."""
        too_high = self.at_most is not None and value > self.at_most + ROUNDING * abs(self.at_most)
        too_low = self.at_least is not None and value < self.at_least - ROUNDING * abs(self.at_least)
        return not (too_high or too_low)


@dataclass(frozen=True)
class Verdict:
    """What the observations say of a claim.

    ``status`` is "reached", "not reached", "no goal", "not judged" (a smoke run) or "not measured". ``of_runs`` is
    False where ``ours`` is one number that belongs to no single run, such as the end of an interval over seeds.
    """

    claim: Claim
    status: str
    ours: Summary | None
    num_reaching: int  # runs that reach the goal each on its own
    of_runs: bool = True

    def _repr_html_(self) -> str:
        """Return the verdict as a table of one row, for a notebook."""
        return html_table(["what", "claim", "paper", "ours", "verdict"], [self.cells])

    @property
    def cells(self) -> list[str]:
        """What the claim is about, its sentence, paper, ours, and the verdict."""
        about = f"{self.claim.condition}, {self.claim.quantity}"
        return [about, self.claim.sentence, self.paper_text, self.ours_text, self.text]

    @property
    def paper_text(self) -> str:
        """The paper's number."""
        return "—" if self.claim.paper is None else value_text(self.claim.paper, self.claim.unit)

    @property
    def ours_text(self) -> str:
        """Our mean, spread and number of runs."""
        if self.ours is None:
            return "—"
        return summary_text(self.ours, self.claim.unit) if self.of_runs else value_text(self.ours.mean, self.claim.unit)

    @property
    def goal_text(self) -> str:
        """Our goal in words; "" where there is none."""
        unit = self.claim.unit
        parts = [f"at least {value_text(self.claim.at_least, unit)}"] if self.claim.at_least is not None else []
        parts += [f"at most {value_text(self.claim.at_most, unit)}"] if self.claim.at_most is not None else []
        return " and ".join(parts)

    @property
    def text(self) -> str:
        """The verdict in words.

        Example:
            >>> claim = Claim("distilled", "test_errors", "It makes 74.", paper=74, at_most=74)
            >>> Verdict(claim, "not reached", Summary(mean=75.5, spread=2.1, count=4), 1).text
            'not reached: the mean is 1.5 above the goal of at most 74; 1 of 4 runs reaches it'
        """
        if self.ours is None or self.status == "not measured":
            return "not measured"
        if self.status == "no goal" and self.claim.paper is None:
            return "no goal"
        if self.status == "no goal":
            return f"no goal: paper {self.paper_text}, ours {self.ours_text}"
        if self.status == "not judged":
            return "not judged: a smoke run" + (f" (goal: {self.goal_text})" if self.claim.has_goal else "")
        if self.ours.count == 1:
            by_how_much = "" if self.status == "reached" else f", {self._distance()}"
            by_whom = " by the one run there is" if self.of_runs else ""
            return f"{self.status}{by_whom}{by_how_much} (goal: {self.goal_text})"
        each = f"{self.num_reaching} of {self.ours.count} runs reach{'es' if self.num_reaching == 1 else ''} it"
        if self.status == "reached":
            return f"reached: the mean is {self.goal_text}; {each} on their own"
        return f"not reached: the mean is {self._distance()} the goal of {self.goal_text}; {each}"

    def _distance(self) -> str:
        assert self.ours is not None, "what was not measured is at no distance"
        above = self.claim.at_most is not None and self.ours.mean > self.claim.at_most
        goal = self.claim.at_most if above else self.claim.at_least
        assert goal is not None, "a mean that misses its goal has one"
        distance = abs(self.ours.mean - goal)
        text = value_text(distance, self.claim.unit)
        return f"{'less than 0.1' if text == '0' else text} {'above' if above else 'below'}"

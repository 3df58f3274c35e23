"""What a person sees of networks that train together: their mean."""

from __future__ import annotations

from limbeck.records import EpochRecord
from limbeck.training.progress import Progress
from limbeck.training.stacked_state import mean_record


class MeanProgress(Progress):
    """Takes what every network of a cohort reports and passes the means on when the last one has."""

    def __init__(self, shown: Progress, *, num_networks: int) -> None:
        self._shown, self._num_networks = shown, num_networks
        self._losses: list[dict[str, float]] = []
        self._records: list[EpochRecord] = []

    def begin(self, name: str, *, num_steps: int, done_steps: int, unit: str = "steps") -> None:
        pass

    def advance(self, step: int, losses: dict[str, float], *, samples_per_second: float, data_wait: float) -> None:
        self._losses.append(losses)
        if len(self._losses) == self._num_networks:
            means = {name: sum(each[name] for each in self._losses) / self._num_networks for name in losses}
            self._losses = []
            speed = samples_per_second * self._num_networks
            self._shown.advance(step, means, samples_per_second=speed, data_wait=data_wait)

    def epoch(self, record: EpochRecord) -> None:
        self._records.append(record)
        if len(self._records) == self._num_networks:
            self._shown.epoch(mean_record(self._records))
            self._records = []

    def end(self) -> None:
        pass

    def say(self, text: str) -> None:
        self._shown.say(text)

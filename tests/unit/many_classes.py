"""Evaluate a network of many classes in a process of its own; print its peak memory and the record's size."""

from __future__ import annotations

import json
import sys

import torch
from torch import nn

from limbeck.bench.memory import peak_resident_bytes
from limbeck.data import Samples, Views
from limbeck.distillation.evaluation import evaluate_network
from limbeck.distillation.trained import TrainedNetwork
from limbeck.records import DataRecord, RunRecord, to_json
from limbeck.reports.html import render_report
from limbeck.training import Runtime


def main(num_classes: int, num_samples: int) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = nn.Linear(8, num_classes)
    labels = torch.randint(0, num_classes, (num_samples,))
    names = tuple(str(number) for number in range(num_classes))
    test = Samples("test", torch.arange(num_samples), torch.randn(num_samples, 8), labels, names)
    trained = TrainedNetwork(role="distilled", name="linear", seed=0, origin="given", module=network)
    runtime = Runtime.resolve("cpu")
    record, measured = evaluate_network(trained, test=test, validation=test, views=Views(), runtime=runtime)
    data = DataRecord("many", "", list(names), [8], 1, 1, num_samples, num_samples)
    run = RunRecord("distill", "2026-01-01T00:00:00+00:00", "", 0.0, {}, {}, data, [0], [record] * 8, measured)
    text = to_json(run)
    page = render_report(run)
    print(json.dumps({"peak_bytes": peak_resident_bytes(), "record_bytes": len(text), "page_bytes": len(page)}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))

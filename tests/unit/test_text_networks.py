"""A network of transformers that its user built goes the whole way: trained, saved, loaded without code, evaluated."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

import limbeck
from limbeck.commands import evaluate as evaluate_command
from limbeck.data import Splits, as_samples, pad_collate
from limbeck.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def transformers():
    path = Path(__file__).parents[1] / "contracts" / "teacher_kinds.py"
    spec = importlib.util.spec_from_file_location("teacher_kinds", path)
    kinds = sys.modules.get("teacher_kinds") or importlib.util.module_from_spec(spec)
    if "teacher_kinds" not in sys.modules:
        sys.modules["teacher_kinds"] = kinds
        spec.loader.exec_module(kinds)
    return kinds.import_transformers()


def texts(lengths):
    """Return rows whose class is whether token 5 occurs, of these lengths in turn."""
    draw = torch.Generator().manual_seed(len(lengths))
    rows = [torch.randint(2, 20, (lengths[k % len(lengths)],), generator=draw).tolist() for k in range(60)]
    rows = [{"input_ids": row, "label": ("no", "yes")[5 in row]} for row in rows]
    return as_samples(rows, name="texts", collate=pad_collate(0))


def network(transformers, num_classes=2):
    size = transformers.DistilBertConfig(
        vocab_size=20, dim=8, hidden_dim=8, n_layers=1, n_heads=2, num_labels=num_classes, max_position_embeddings=16
    )
    torch.manual_seed(0)
    return transformers.DistilBertForSequenceClassification(size)


@pytest.fixture(scope="module")
def run(transformers, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "text"
    result = limbeck.distill(
        network(transformers),
        teachers=network(transformers),
        train=texts([4, 9, 6]),
        test=texts([7, 3]),
        recipe=limbeck.TrainConfig(num_epochs=1, batch_size=16),
        seeds=1,
        out=out,
        progress="silent",
    )
    return out, result


def test_it_is_rebuilt_from_its_configuration(run):
    out, result = run
    saved = limbeck.load_model(out)
    batch = {"input_ids": torch.tensor([[3, 4, 0]]), "attention_mask": torch.tensor([[1, 1, 0]])}
    assert torch.equal(saved.module(**batch).logits, result.student.eval()(**batch).logits)


def test_its_costs_are_measured_and_its_page_drawn(run):
    out, result = run
    for name in ("parameters", "flops", "latency_batch1", "latency_batch256"):
        (value,) = result.record.values("distilled", name, split="machine").values()
        assert value > 0
    assert (out / "report.html").stat().st_size > 10_000


def test_limbeck_evaluate_takes_texts_of_other_lengths(run, monkeypatch):
    out, result = run
    test = texts([7, 3])
    monkeypatch.setattr(evaluate_command, "load_data", lambda *args, **kwargs: Splits(texts([4, 9, 6]), None, test))
    measured = evaluate_command.run(
        out, data="texts", split="test", image_size=None, factory=None, device="cpu", num_threads=None
    )
    (errors,) = result.record.values("distilled", "errors").values()
    assert measured["measurements"]["errors"]["value"] == errors


def test_limbeck_evaluate_still_refuses_arrays_of_another_shape(run, monkeypatch):
    out, _ = run
    table = as_samples(({"input_ids": torch.ones(4, 5, dtype=torch.int64)}, ["no", "yes"] * 2))
    monkeypatch.setattr(evaluate_command, "load_data", lambda *args, **kwargs: Splits(table, None, table))
    with pytest.raises(DataError, match="another shape"):
        evaluate_command.run(
            out, data="texts", split="test", image_size=None, factory=None, device="cpu", num_threads=None
        )

"""limbeck.distill_self: a network with exits beside its ablations, every exit measured, a threshold by validation."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from limbeck.distillation import distill_self
from limbeck.distillation import self_distillation as job
from limbeck.errors import InvalidValue, UnknownName
from limbeck.metrics import count_flops, first_confident_exit
from limbeck.models import ExitNetwork, ModelFactory, load_model
from limbeck.records import from_json, to_json
from limbeck.reports import render_report
from limbeck.training import TrainConfig

RECIPE = TrainConfig(num_epochs=3, batch_size=32, learning_rate=0.1)
ROLES = [
    "baseline",
    "deep supervision",
    "deep supervision, hidden.1",
    "deep supervision, hidden.3",
    "deep supervision, all exits",
    "distilled",
    "distilled, hidden.1",
    "distilled, hidden.3",
    "distilled, all exits",
]


def network() -> nn.Module:
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden = nn.Sequential(
                nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 10), nn.ReLU(), nn.Linear(10, 8), nn.ReLU()
            )
            self.head = nn.Linear(8, 3)

        def forward(self, inputs):
            return self.head(self.hidden(inputs))

    return Net()


def arrays(count: int = 200, *, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    return torch.randn(count, 8, generator=generator) + 2 * torch.nn.functional.one_hot(labels, 8), labels


def distil(**settings):
    defaults = {
        "train": arrays(),
        "test": arrays(90, seed=1),
        "exits": ["hidden.1", "hidden.3"],
        "recipe": RECIPE,
        "seeds": 2,
        "progress": "silent",
        "device": "cpu",
    }
    return distill_self(network, **defaults | settings)


def test_both_ablations_stand_beside_it_and_every_exit_is_measured():
    record = distil().record
    assert record.kind == "self"
    assert record.roles() == ROLES
    for role in ROLES:
        assert list(record.values(role, "errors")) == [0, 1], role
        assert list(record.values(role, "flops", split="machine")) == [0, 1], role
        assert list(record.values(role, "latency_batch1", split="machine")) == [0, 1], role
    assert (record.comparisons[0].reference, record.comparisons[0].network) == ("baseline", "distilled")
    twins = {(c.reference, c.network) for c in record.comparisons}
    assert ("deep supervision, hidden.1", "distilled, hidden.1") in twins
    assert from_json(to_json(record)) == record


def test_the_student_is_the_plain_network_at_the_plain_networks_cost(tmp_path):
    result = distil(out=tmp_path / "run")
    assert type(result.student).__name__ == "Net"
    assert count_flops(result.student, (8,)) == count_flops(network(), (8,))
    inputs, labels = arrays(90, seed=1)
    errors = int((result.student(inputs).argmax(dim=1) != labels).sum())
    assert errors == result.record.values("distilled", "errors")[result.student_seed]
    for cost in ("flops", "parameters"):
        plain = result.record.values("baseline", cost, split="machine")
        assert result.record.values("distilled", cost, split="machine") == plain
    shallow = result.record.values("distilled, hidden.1", "parameters", split="machine")[0]
    assert shallow == sum(p.numel() for p in network().hidden[0].parameters()) + 8 * 3 + 3 + branch_parameters(12)


def branch_parameters(num_in: int) -> int:
    """Count a bottleneck's parameters: to 2 of 8 and back, each with the scale and shift of a batch norm."""
    return num_in * 2 + 4 + 2 * 8 + 16


def test_the_exits_come_back_from_their_folder_and_answer_as_measured(tmp_path):
    result = distil(out=tmp_path / "run")
    saved = load_model(tmp_path / "run" / "exits", factory=ModelFactory("network", network))
    assert isinstance(saved.module, ExitNetwork)
    assert saved.module.paths == ("hidden.1", "hidden.3")
    inputs, labels = arrays(90, seed=1)
    logits = saved.module.all_logits(inputs)
    seed = result.student_seed
    for place, name in enumerate(("hidden.1", "hidden.3")):
        errors = int((logits[:, place].argmax(dim=1) != labels).sum())
        assert errors == result.record.values(f"distilled, {name}", "errors")[seed]
    pooled = torch.softmax(logits, dim=2).mean(dim=1)
    errors = int((pooled.argmax(dim=1) != labels).sum())
    assert errors == result.record.values("distilled, all exits", "errors")[seed]
    assert_close(saved.module(inputs), result.student(inputs))

    curve = next(c for c in result.record.early_exits if (c.network, c.seed) == ("distilled", seed))
    for point in curve.points:
        chosen = first_confident_exit(logits, threshold=point.threshold)
        outputs = logits[torch.arange(len(logits)), chosen].argmax(dim=1)
        assert point.accuracy == pytest.approx(float((outputs == labels).double().mean()))
        assert list(point.shares) == pytest.approx([float((chosen == e).double().mean()) for e in range(3)])


def test_the_threshold_is_chosen_on_validation_and_never_on_the_test_set(monkeypatch):
    chosen_on = []
    original = job._points
    test_labels = arrays(90, seed=1)[1]

    def watched(logits, samples, costs):
        chosen_on.append(len(samples) == 90 and torch.equal(samples.labels, test_labels))
        return original(logits, samples, costs)

    monkeypatch.setattr(job, "_points", watched)
    record = distil().record
    assert chosen_on[:4] == [False] * 4  # of two networks with exits, two seeds each, before the test set is read
    assert all(chosen_on[4:])
    for curve in record.early_exits:
        assert curve.chosen in curve.points
    free, strict = distil(tolerance=1.0).record, distil(tolerance=0.0).record
    assert all(curve.chosen.cost == curve.points[0].cost for curve in free.early_exits)
    assert all(s.chosen.cost >= f.chosen.cost for s, f in zip(strict.early_exits, free.early_exits, strict=True))


def test_without_validation_no_threshold_is_chosen():
    record = distil(validation_fraction=0.0).record
    assert all(curve.chosen is None for curve in record.early_exits)
    assert any("no confidence threshold" in note for note in record.notes)


def test_with_the_labels_alone_it_is_its_own_ablation():
    record = distil(hard_weight=1.0, soft_weight=0.0, hint_weight=0.0).record
    for exit_name in ("", ", hidden.1", ", hidden.3", ", all exits"):
        assert record.values(f"distilled{exit_name}", "nll") == record.values(f"deep supervision{exit_name}", "nll")


def test_the_report_draws_the_exits_and_what_made_a_difference():
    page = render_report(distil().record)
    for title in ("Early exit", "Who answers", "What made a difference", "Self-distillation"):
        assert title in page
    assert "leaves at hidden.3" in page


def test_mistakes_are_told_before_anything_is_written(tmp_path):
    with pytest.raises(UnknownName, match=r"hiden") as unknown:
        distil(exits=["hiden.1"], out=tmp_path / "run")
    assert "hidden.1" in str(unknown.value)
    with pytest.raises(InvalidValue, match="paths of their own") as none:
        distil(exits=[], out=tmp_path / "run")
    assert "hidden.3" in str(none.value)
    with pytest.raises(InvalidValue, match="before the deepest"):
        distil(exits=["head"], out=tmp_path / "run")
    with pytest.raises(InvalidValue, match="tolerance"):
        distil(tolerance=1.5, out=tmp_path / "run")
    with pytest.raises(InvalidValue, match="hint_weight"):
        distil(hint_weight=-1.0, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()

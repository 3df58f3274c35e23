"""limbeck specialists: from a saved generalist to a plan, a committee and what it is worth; one message a mistake."""

from __future__ import annotations

import json

import pytest
import torch

from limbeck.data import load_data
from limbeck.distillation import load_committee
from limbeck.metrics import accuracy, conditional_accuracy, count_errors
from limbeck.models import load_model
from limbeck.specialists import load_plan

SMALL = ["--epochs", "2", "--seeds", "1", "--labels", "200", "--progress", "silent"]


@pytest.fixture
def generalist(limbeck):
    trained = limbeck("train", "--data", "digits", "--student", "mlp:widths=12", *SMALL, "--out", "generalist")
    assert trained.returncode == 0, trained.stderr


@pytest.mark.usefixtures("generalist")
def test_a_plan_is_written_with_its_picture_and_named_after_its_generalist(limbeck, tmp_path):
    job = ["specialists", "plan", "--generalist", "generalist", "--data", "digits", "--count", "3", "--max-size", "5"]
    made = limbeck(*job, "--overlap", "1", "--method", "spectral", "--out", "plans/plan.yaml")
    assert made.returncode == 0, made.stderr
    plan = load_plan(tmp_path / "plans" / "plan.yaml")
    assert len(plan.class_sets) == 3
    assert all(1 <= len(names) <= 5 for names in plan.class_sets)
    assert plan.generalist_fingerprint == load_model(tmp_path / "generalist").fingerprint
    for number, names in enumerate(plan.class_sets):
        assert f"  {number}: {', '.join(names)}" in made.stdout
    assert (tmp_path / "plans" / "plan.png").read_bytes().startswith(b"\x89PNG")

    again = limbeck(*job, "--overlap", "1", "--method", "spectral", "--out", "again.yaml", "--json")
    summary = json.loads(again.stdout)
    assert summary["class_sets"] == plan.class_sets
    assert summary["coverage"] == plan.coverage()
    assert (tmp_path / "again.yaml").read_bytes() == (tmp_path / "plans" / "plan.yaml").read_bytes()


@pytest.mark.usefixtures("generalist")
def test_the_confusion_matrix_reads_labels_and_gives_other_sets_of_the_size_asked_for(limbeck, tmp_path):
    job = ["specialists", "plan", "--generalist", "generalist", "--data", "digits", "--count", "3", "--size", "4"]
    made = limbeck(*job, "--method", "confusion", "--split", "validation", "--out", "plan.yaml")
    assert made.returncode == 0, made.stderr
    plan = load_plan(tmp_path / "plan.yaml")
    assert [len(names) for names in plan.class_sets] == [4, 4, 4]
    assert plan.method == "confusion"


@pytest.mark.usefixtures("generalist")
def test_mistakes_get_one_message_and_write_nothing(limbeck, tmp_path):
    for arguments, words in (
        (["--count", "0"], "num_specialists"),
        (["--count", "2", "--size", "10"], "size is out of range"),
        (["--count", "2", "--method", "kmean"], "did you mean kmeans"),
        (["--count", "2", "--split", "trian"], "did you mean train"),
        (["--count", "2", "--data", "digit"], "did you mean digits"),
        (["--count", "2", "--generalist", "convnet"], "no saved model"),
    ):
        refused = limbeck("specialists", "plan", "--generalist", "generalist", *arguments, "--out", "plan.yaml")
        assert refused.returncode == 2, (arguments, refused.stderr)
        assert refused.stderr.startswith("limbeck: ")
        assert words in refused.stderr
    refused = limbeck("specialists", "plan", "--generalist", "generalist", "--count", "2", "--out", "plan.json")
    assert (refused.returncode, "YAML" in refused.stderr) == (2, True)
    assert not list(tmp_path.glob("plan.*"))


@pytest.mark.usefixtures("generalist")
def test_specialists_are_trained_and_the_committee_teaches_a_student(limbeck, tmp_path):
    job = ["--generalist", "generalist", "--data", "digits"]
    sets = ["--count", "3", "--max-size", "5", "--overlap", "1", "--method", "spectral"]
    assert limbeck("specialists", "plan", *job, *sets, "--out", "plan.yaml").returncode == 0
    train = ["specialists", "train", *job, "--plan", "plan.yaml", "--epochs", "2", "--labels", "200"]
    made = limbeck(*train, "--out", "committee", "--progress", "silent", "--json")
    assert made.returncode == 0, made.stderr
    summary = json.loads(made.stdout)["specialists"]
    assert [one["class_set"] for one in summary] == load_plan(tmp_path / "plan.yaml").class_sets
    again = limbeck(*train, "--out", "committee", "--progress", "silent")
    assert again.stdout.count("was there") == 3
    full = limbeck(*train, "--variant", "full_softmax", "-T", "3", "--out", "full", "--progress", "silent", "--json")
    assert full.returncode == 0, full.stderr
    assert json.loads(full.stdout)["variant"] == "full_softmax"
    for one, other in zip(json.loads(full.stdout)["specialists"], summary, strict=True):
        saved = load_model(tmp_path / "full" / one["folder"])
        assert (len(saved.class_names), one["class_set"]) == (10, other["class_set"])
        assert "temperature=3.0" in saved.extra["identity"]["objective"]
    cached = limbeck("cache", "--data", "digits", "--teacher", "full", "--out", "store")
    assert cached.returncode == 0, cached.stderr
    student = ["distill", "--data", "digits", "--teacher", "full", "--student", "mlp:widths=8", "--epochs", "1"]
    distilled = limbeck(*student, "--seeds", "1", "--out", "student", "--progress", "silent")
    assert distilled.returncode == 0, distilled.stderr
    assert "committee of 3 specialists" in (tmp_path / "student" / "record.json").read_text()

    other = limbeck("train", "--data", "digits", "--student", "mlp:widths=9", *SMALL, "--out", "other")
    assert other.returncode == 0
    for arguments, words in (
        (["--generalist", "other", "--plan", "plan.yaml"], "another generalist"),
        (["--generalist", "generalist", "--plan", "nowhere.yaml"], "nowhere.yaml"),
        (["--generalist", "generalist", "--plan", "plan.yaml", "--special-share", "1"], "share"),
        (["--generalist", "generalist", "--plan", "plan.yaml", "--top-classes", "0"], "1 to 10"),
        (["--generalist", "generalist", "--plan", "plan.yaml", "--form", "papers"], "did you mean paper"),
        (["--generalist", "generalist", "--plan", "plan.yaml", "--jobs", "process"], "did you mean processes"),
        (["--generalist", "generalist", "--plan", "plan.yaml", "--variant", "full"], "did you mean full_softmax"),
        (["--generalist", "generalist", "--plan", "plan.yaml", "--variant", "full_softmax", "-T", "0"], "temperature"),
    ):
        refused = limbeck("specialists", "train", "--data", "digits", *arguments, "--out", "new")
        assert refused.returncode == 2, (arguments, refused.stderr)
        assert words in refused.stderr
        assert not list((tmp_path / "new").glob("*")) if (tmp_path / "new").exists() else True


@pytest.mark.usefixtures("generalist")
def test_a_committee_is_measured_beside_its_generalist(limbeck, tmp_path):
    job = ["--generalist", "generalist", "--data", "digits"]
    assert limbeck("specialists", "plan", *job, "--count", "2", "--size", "4", "--out", "plan.yaml").returncode == 0
    train = ["specialists", "train", *job, "--plan", "plan.yaml", "--epochs", "1", "--out", "committee"]
    made = limbeck(*train, "--top-classes", "3", "--progress", "silent")
    assert made.returncode == 0, made.stderr
    evaluate = ["evaluate", "committee", "--data", "digits", "--split", "validation"]
    evaluated = limbeck(*evaluate, "--json")
    assert evaluated.returncode == 0, evaluated.stderr
    measured = json.loads(evaluated.stdout)
    found = {name: item["value"] for name, item in measured["measurements"].items()}

    samples = load_data("digits").validation
    committee, generalist = load_committee(tmp_path / "committee"), load_model(tmp_path / "generalist")
    mean, std = (torch.tensor(generalist.normalise[name]).reshape(-1, 1, 1) for name in ("mean", "std"))
    inputs = (samples.inputs.float() / 255 - mean) / std
    together = committee(samples.ids, inputs).logits_at(1.0)
    assert committee.num_top_classes == 3
    assert found["errors"] == count_errors(together, samples.labels)
    with torch.no_grad():
        alone = generalist.module(inputs)
    assert found["generalist_accuracy"] == pytest.approx(accuracy(alone, samples.labels))
    for name, logits in (("conditional_accuracy", together), ("generalist_conditional_accuracy", alone)):
        assert found[name] == pytest.approx(conditional_accuracy(logits, samples.labels, committee.class_sets))
    rows = measured["by_coverage"]
    assert [row["num_specialists"] for row in rows] == [0, 1, 2][: len(rows)]
    assert sum(row["num_samples"] for row in rows) == len(samples)
    change = count_errors(alone, samples.labels) - count_errors(together, samples.labels)
    assert sum(row["change_in_right"] for row in rows) == change

    shown = limbeck(*evaluate, "--top-classes", "1").stdout
    assert "n = 1" in shown
    assert "true class known to no specialist" in shown
    for arguments, words in (
        (["committee", "--top-classes", "11"], "1 to 10"),
        (["committee", "--threshold", "0.5"], "exits"),
        (["generalist", "--top-classes", "2"], "this is none"),
    ):
        refused = limbeck("evaluate", *arguments, "--data", "digits")
        assert refused.returncode == 2
        assert words in refused.stderr

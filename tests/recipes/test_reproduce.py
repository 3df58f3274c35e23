"""``limbeck reproduce``: the whole path on a few real images, found again and not trained twice, mistakes explained."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch
from real_archives import copy_every

from limbeck.cli import main
from limbeck.data import Samples, Splits, load_data
from limbeck.recipes import RECIPES, load_recipe
from limbeck.recipes import data as recipe_data
from limbeck.reports import read_reproduction
from limbeck.reproduction import Claim
from limbeck.training import Runtime
from limbeck.training.schedule import learning_rate_at

DATA = Path(os.environ.get("LIMBECK_DATA", "")) / "mnist"
needs_mnist = pytest.mark.skipif(
    not os.environ.get("LIMBECK_DATA") or not DATA.is_dir(), reason="LIMBECK_DATA names no folder with mnist"
)
TABLE = "hinton2015-mnist"
OF_MNIST = [
    TABLE,
    "hinton2015-mnist-temperature",
    "hinton2015-mnist-logit-matching",
    "hinton2015-mnist-missing-class",
    "hinton2015-mnist-few-labels",
    "hinton2015-mnist-ensemble",
    "hinton2015-mnist-transfer-set",
    "hinton2015-mnist-beyond",
    "zhang2018-mutual-mnist",
    "zhang2019-self-mnist",
]
OF_DIGITS = ["zhang2018-mutual-digits", "zhang2019-self-digits"]
OF_CIFAR = ["cifar10-vgg-student", "tian2020-cifar100", "zhang2018-mutual", "zhang2019-self"]
CIFAR = DATA.parent / "cifar10-jpeg.tar.gz"
needs_cifar = pytest.mark.skipif(
    not os.environ.get("LIMBECK_DATA") or not CIFAR.is_file(), reason="LIMBECK_DATA names no folder with CIFAR-10"
)
OF_CLIPS = ["wu2019-compressed-video", "wu2019-compressed-lips"]
needs_av = pytest.mark.skipif(importlib.util.find_spec("av") is None, reason="PyAV is not installed")
TINY_IMAGENET = DATA.parent / "tiny-imagenet-32.tar.gz"
OF_TINY_IMAGENET = ["hinton2015-specialists"]
needs_tiny_imagenet = pytest.mark.skipif(
    not os.environ.get("LIMBECK_DATA") or not TINY_IMAGENET.is_file(),
    reason="LIMBECK_DATA names no folder with Tiny ImageNet",
)
OF_AN4 = ["hinton2015-speech", "hinton2015-speech-beyond", "hinton2015-speech-folds"]
needs_an4 = pytest.mark.skipif(
    not os.environ.get("LIMBECK_DATA") or not (DATA.parent / "an4-mfcc.tar.gz").is_file(),
    reason="LIMBECK_DATA names no folder with AN4",
)
together = pytest.mark.xdist_group("tiny-imagenet")  # in one process, which decodes the images once
TINY = ["--set", "teacher=mlp:widths=20", "--set", "student=mlp:widths=8", "--seeds", "1"]


@pytest.fixture
def limbeck(tmp_path, monkeypatch, capsys):
    """Run a command line in this process, in ``tmp_path``; return exit code, standard output and error."""
    monkeypatch.chdir(tmp_path)
    num_threads = torch.get_num_threads()

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["limbeck", *map(str, arguments)])
        with pytest.raises(SystemExit) as finished:
            main()
        output = capsys.readouterr()
        return int(finished.value.code or 0), output.out, output.err

    yield run
    torch.set_num_threads(num_threads)


def forbid_training(monkeypatch):
    def fail(*arguments, **more):
        raise AssertionError("this network is there and needs no training")

    monkeypatch.setattr("limbeck.distillation.cache.fit", fail)
    monkeypatch.setattr("limbeck.distillation.cache.fit_stacked", fail)
    monkeypatch.setattr("limbeck.distillation.cache.fit_cohort", fail)


@functools.cache
def some_of(name):
    """Return every tenth photograph of a data set: to decode all takes longer than a smoke run of a few hundred."""
    archive = {"cifar10": CIFAR, "tiny-imagenet-32": TINY_IMAGENET}[name]
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIMBECK_DATA", folder)
        patch.setenv("LIMBECK_CACHE", str(Path(folder) / "cache"))
        copy_every(10, archive, Path(folder) / archive.name)
        return load_data(name, validation_fraction=0.0)


@pytest.fixture
def few_photographs(monkeypatch):
    monkeypatch.setattr(recipe_data, "load_data", lambda name, **how: some_of(name))


SPECIALISTS = ["--smoke", "--progress", "silent", "--threads", "1", "--seeds", "1"]
SPECIALISTS += ["--set", "plan=kmeans:2x80", "--set", "sweep=spectral:2x80"]  # four jobs: two specialists of each kind


@pytest.fixture(scope="module")
def specialists_made_here(tmp_path_factory):
    """The folder of a smoke run, one seed, whose specialists were trained in this process."""
    folder = tmp_path_factory.mktemp("serial")
    out = ["--set", "jobs=serial", "--out", str(folder / "run"), "--networks", str(folder / "networks")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipe_data, "load_data", lambda name, **how: some_of(name))
        patch.setattr(sys, "argv", ["limbeck", "reproduce", "hinton2015-specialists", *SPECIALISTS, *out])
        num_threads = torch.get_num_threads()
        with pytest.raises(SystemExit) as finished:
            main()
        torch.set_num_threads(num_threads)
    assert not finished.value.code
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [*OF_DIGITS, *(pytest.param(name, marks=needs_mnist) for name in OF_MNIST),
     *(pytest.param(name, marks=needs_cifar) for name in OF_CIFAR),
     *(pytest.param(name, marks=needs_an4) for name in OF_AN4),
     *(pytest.param(name, marks=needs_av) for name in OF_CLIPS),
     *(pytest.param(name, marks=[needs_tiny_imagenet, together]) for name in OF_TINY_IMAGENET)],
)  # fmt: skip
def test_a_smoke_run_goes_the_whole_way_and_trains_nothing_twice(limbeck, tmp_path, monkeypatch, name, request):
    if name in (*OF_CIFAR, *OF_TINY_IMAGENET):
        request.getfixturevalue("few_photographs")
    monkeypatch.setenv("COLUMNS", "120")  # no claim's name is broken into two lines
    code, shown, error = limbeck("reproduce", name, "--smoke", "--progress", "silent", "--threads", "1")
    assert code == 0, error
    folder = tmp_path / "runs" / "reproduce" / f"{name}-smoke"
    record = read_reproduction(folder)
    assert record.smoke
    assert record.command == f"limbeck reproduce {name} --smoke --progress silent --threads 1"
    assert record.claims == load_recipe(name).CLAIMS
    statuses = {verdict.status for verdict in record.verdicts()}
    if name in ("tian2020-cifar100", "hinton2015-specialists"):  # measured on CIFAR-100 alone; no gain, so none kept
        statuses.discard("not measured")
    assert statuses == {"not judged"}
    for claim in record.claims:
        assert f"{claim.condition}".replace("_", " ") in shown
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg xmlns") >= len(record.figures) > 0
    assert (tmp_path / "runs" / "reproduce" / "networks").is_dir()

    forbid_training(monkeypatch)
    monkeypatch.setattr("limbeck.reports.html.draw_observations", lambda record: [])  # they were drawn
    code, again, error = limbeck("reproduce", name, "--smoke", "--progress", "silent", "--threads", "1")
    assert code == 0, error
    assert again == shown
    found = read_reproduction(folder)
    assert found.observations == record.observations
    assert all(network.was_cached for network in found.networks)

    assert limbeck("report", folder.parent, "--markdown", tmp_path / "results.md")[0] == 0
    own_page = tmp_path / "results" / f"{name}-smoke.md"
    assert f"limbeck reproduce {name} --smoke" in own_page.read_text(encoding="utf-8")

    (folder / "report.html").unlink()
    assert limbeck("report", folder)[0] == 0
    assert "A smoke run" in (folder / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
@together
@needs_tiny_imagenet
def test_specialists_are_the_same_where_ray_runs_their_jobs(
    limbeck, specialists_made_here, few_photographs, monkeypatch
):
    pytest.importorskip("ray", reason="Ray is not installed")
    shutil.copytree(specialists_made_here / "networks", "networks", ignore=shutil.ignore_patterns("specialist-*"))
    with tempfile.TemporaryDirectory(prefix="ray") as folder:  # no Ray of this machine is joined
        monkeypatch.setenv("RAY_TMPDIR", folder)
        out = ["--set", "jobs=ray", "--out", "run", "--networks", "networks"]
        code, _, error = limbeck("reproduce", "hinton2015-specialists", *SPECIALISTS, *out)
    assert code == 0, error
    first, second = (read_reproduction(run).observations for run in (specialists_made_here / "run", Path("run")))
    timed = ("training_seconds", "longest_job_seconds", "parallelism")
    assert [one for one in first if one.quantity not in timed] == [one for one in second if one.quantity not in timed]
    assert Path("run", "plan.yaml").read_text() == (specialists_made_here / "run" / "plan.yaml").read_text()
    assert Path("run", "plan.png").is_file()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("nums_top_classes=0", "nums_top_classes"),
        ("overfit_sets=0", "overfit_sets"),
        ("gate=resent", "resnet"),
        ("temperature=0", "temperature"),
        ("plan=kmeans:10", "METHOD:COUNTxSIZE"),
        ("plan=confusion:3x80", "kmeans"),
        ("sweep=kmeans:3x200", "200"),
        ("jobs=threads", "processes"),
        ("--jobs=threads", "processes"),
    ],
)
def test_committees_that_cannot_be_are_refused_before_anything_is_trained(limbeck, monkeypatch, change, words):
    def load_noise(name, **how):
        pixels = torch.randint(0, 256, (2000, 3, 32, 32), dtype=torch.uint8)
        noise = Samples(name, torch.arange(2000), pixels, torch.arange(2000) % 200, tuple(map(str, range(200))))
        return Splits(noise.take(torch.arange(1600)), test=noise.take(torch.arange(1600, 2000)), name=name)

    monkeypatch.setattr(recipe_data, "load_data", load_noise)
    forbid_training(monkeypatch)
    arguments = ["--smoke", "--progress", "silent", "--set", "num_train=0", "--set", "num_validation=200"]
    flags = [change] if change.startswith("--") else ["--set", change]
    code, _, error = limbeck("reproduce", "hinton2015-specialists", *arguments, *flags)
    assert code == 2
    assert words in error


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_CIFAR)
def test_another_data_set_is_a_setting(limbeck, monkeypatch, name):
    asked = []

    def load_noise(name, **how):
        asked.append(name)
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randint(0, 256, (1500, 3, 32, 32), generator=generator, dtype=torch.uint8)
        noise = Samples(name, torch.arange(1500), pixels, torch.arange(1500) % 100, tuple(map(str, range(100))))
        return Splits(noise.take(torch.arange(1000)), test=noise.take(torch.arange(1000, 1500)), name=name)

    monkeypatch.setattr(recipe_data, "load_data", load_noise)
    changes = ["data=cifar100", "num_train=300", "seeds=0"]
    changes += ["num_peers=3"] if name == "zhang2018-mutual" else ["num_validation=200"]
    assignments = [word for change in changes for word in ("--set", change)]
    code, _, error = limbeck("reproduce", name, "--smoke", "--progress", "silent", *assignments, "--out", "run")
    assert code == 0, error
    record = read_reproduction(Path("run"))
    assert asked == ["cifar100"]
    assert (record.data.num_train, record.data.num_test, len(record.data.class_names)) == (300, 300, 100)


@pytest.mark.slow
def test_published_numbers_are_judged_on_whole_cifar_100_alone(limbeck, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (400, 3, 32, 32), generator=generator, dtype=torch.uint8)
    noise = Samples("noise", torch.arange(400), pixels, torch.arange(400) % 100, tuple(map(str, range(100))))
    splits = Splits(noise.take(torch.arange(200)), test=noise.take(torch.arange(200, 400)), name="noise")
    monkeypatch.setattr(recipe_data, "load_data", lambda name, **how: splits)
    arguments = ["--smoke", "--progress", "silent", "--set", "pairs=vgg", "--set", "recipe.num_epochs=1"]
    quantities = {}
    for data, num_train in (("cifar100", 0), ("cifar100", 100), ("cifar10", 0)):
        out = f"{data}-{num_train}"
        changes = ["--set", f"data={data}", "--set", f"num_train={num_train}", "--out", out]
        code, _, error = limbeck("reproduce", "tian2020-cifar100", *arguments, *changes)
        assert code == 0, error
        record = read_reproduction(Path(out))
        quantities[out] = {o.quantity for o in record.observations if o.quantity.startswith("cifar100")}
        if quantities[out]:
            accuracies = record.summary("vgg_kd", "test_accuracy")
            reached = record.summary("vgg_kd", "cifar100_accuracy_plus_deviation").mean
            assert reached == pytest.approx(accuracies.mean + accuracies.spread)
            assert record.summary("vgg_teacher", "cifar100_accuracy").count == 1
    assert quantities["cifar100-0"] == {"cifar100_accuracy", "cifar100_accuracy_plus_deviation"}
    assert quantities["cifar100-100"] == quantities["cifar10-0"] == set()


def test_the_recipe_of_the_cifar_100_table():
    recipe = load_recipe("tian2020-cifar100")
    settings = recipe.Settings()
    train = settings.recipe
    assert (train.num_epochs, train.batch_size, train.learning_rate, train.weight_decay) == (240, 64, 0.05, 5e-4)
    assert (train.optimiser, train.momentum, train.nesterov) == ("sgd", 0.9, False)
    steps_per_epoch = 782  # 50,000 images, the last batch kept
    rates = [learning_rate_at(train, epoch * steps_per_epoch, 240 * steps_per_epoch) for epoch in range(240)]
    falls = [epoch for epoch in range(1, 240) if rates[epoch] < rates[epoch - 1]]
    assert falls == [150, 180, 210]
    assert rates[-1] == pytest.approx(5e-5)
    assert settings.warmup_fraction * 240 == pytest.approx(20)
    assert len(settings.seeds) == 5


@needs_cifar
def test_a_threshold_and_a_sweep_see_no_test_image(limbeck, few_photographs, monkeypatch):
    # All that is asked before the test set is read are training images: those that a network has learned from, to say
    # how well it fits them, and those that no network learns from, to choose by.
    from limbeck.distillation.experiment import Experiment
    from limbeck.recipes import evaluation

    learned, asked, running = set(), set(), []
    train = Experiment.train

    def trained(self, *names, samples, **more):
        running.append(self)
        learned.update(samples.ids.tolist())
        return train(self, *names, samples=samples, **more)

    def keep(real):
        def ask(network, samples, *views, **more):
            if not running[-1].is_evaluated and samples is running[-1].validation:
                asked.update(samples.ids.tolist())
            elif not running[-1].is_evaluated:
                assert learned >= set(samples.ids.tolist())
            return real(network, samples, *views, **more)

        return ask

    monkeypatch.setattr(Experiment, "train", trained)
    for verb in ("predictions_of", "exit_predictions_of"):
        monkeypatch.setattr(evaluation, verb, keep(getattr(evaluation, verb)))
    for name in ("zhang2019-self", "cifar10-vgg-student"):
        learned.clear(), asked.clear()
        code, _, error = limbeck("reproduce", name, "--smoke", "--progress", "silent", "--seeds", "1", "--out", name)
        assert code == 0, error
        assert len(asked) == recipe_data.SMOKE_TEST
        assert not asked & learned


@needs_mnist
def test_relatives_and_other_settings_share_the_teacher(limbeck, tmp_path, monkeypatch):
    shared = ["--smoke", "--progress", "silent", "--networks", "nets"]
    assert limbeck("reproduce", TABLE, *shared, *TINY, "--out", "first")[0] == 0
    before = {path.name for path in (tmp_path / "nets").iterdir()}
    code, _, error = limbeck("reproduce", TABLE, *shared, *TINY, "--set", "temperature=4", "--out", "second")
    assert code == 0, error
    new = {path.name for path in (tmp_path / "nets").iterdir()} - before
    retrained = sorted(name.split("-seed")[0] for name in new)
    assert retrained == ["distilled", "distilled_averaged"]  # teacher and baseline are the same
    assert read_reproduction(tmp_path / "second").settings["temperature"] == 4.0

    code, _, error = limbeck("reproduce", TABLE, *shared, *TINY, "--out", "second")
    assert code == 2
    assert "temperature = 4.0" in error
    assert read_reproduction(tmp_path / "second").settings["temperature"] == 4.0


@needs_mnist
def test_a_step_of_the_search_does_not_touch_the_test_set(limbeck, tmp_path, monkeypatch):
    arguments = ["--smoke", "--progress", "silent", *TINY, "--set", "held_out=10000", "--out", "search"]
    code, shown, error = limbeck("reproduce", TABLE, *arguments)
    assert code == 0, error
    record = read_reproduction(tmp_path / "search")
    assert {o.quantity for o in record.observations} == {"held_out_errors", "held_out_accuracy", "held_out_nll"}
    assert {verdict.status for verdict in record.verdicts()} == {"not measured"}
    assert record.data.num_test == 0
    assert "held out" in shown
    assert re.search(r"distilled +1 +\d+ ", shown)  # the errors that a search goes by


@pytest.fixture
def trainings(monkeypatch):
    """Keep, by name of the network, what ``Experiment.train`` is given."""
    from limbeck.distillation.experiment import Experiment

    given, trained = {}, Experiment.train

    def keep(self, name, *arguments, **more):
        given[name] = more
        return trained(self, name, *arguments, **more)

    monkeypatch.setattr(Experiment, "train", keep)
    return given


@needs_mnist
def test_students_of_a_missing_class_never_see_it_nor_the_images_that_choose_the_offset(
    limbeck, trainings, monkeypatch
):
    from limbeck.recipes import hinton2015_mnist_missing_class as recipe

    chosen_on = []
    correct = recipe.correct_class_bias

    def keep(logits, **more):
        chosen_on.append(len(logits))
        return correct(logits, **more)

    monkeypatch.setattr(recipe, "correct_class_bias", keep)
    name = "hinton2015-mnist-missing-class"
    code, _, error = limbeck("reproduce", name, "--smoke", "--progress", "silent", *TINY, "--out", "run")
    assert code == 0, error
    seen = {role: set(given["samples"].labels.tolist()) for role, given in trainings.items()}
    assert seen["teacher"] == seen["distilled"] == set(range(10))
    assert seen["no_3"] == seen["no_3_labels"] == set(range(10)) - {3}
    assert seen["only_7_8"] == seen["only_7_8_labels"] == {7, 8}
    assert chosen_on == [200] * 4
    everything = trainings["teacher"]["samples"]
    num_threes = int((everything.labels == 3).sum())
    held_out_threes = round(num_threes * 200 / len(everything))  # stratified
    assert len(trainings["no_3"]["samples"]) == len(everything) - 200 - num_threes + held_out_threes

    record = read_reproduction(Path("run"))
    for students in ("no_3", "no_3_labels", "only_7_8", "only_7_8_labels"):
        errors = {way: record.summary(students + way, "test_errors").mean for way in ("", "_matched", "_oracle")}
        assert errors["_oracle"] <= min(errors.values())  # by the definition of an oracle


@needs_mnist
def test_few_labels_are_the_same_few_with_hard_and_soft_targets(limbeck, trainings):
    name = "hinton2015-mnist-few-labels"
    code, _, error = limbeck("reproduce", name, "--smoke", "--progress", "silent", *TINY, "--out", "run")
    assert code == 0, error
    few = trainings["soft_few"]["samples"]
    assert len(few) == round(0.03 * len(trainings["hard_labels"]["samples"]))
    assert trainings["hard_few"]["samples"].fingerprint == trainings["hard_few_early"]["samples"].fingerprint
    assert trainings["hard_few"]["samples"].fingerprint == few.fingerprint
    assert trainings["hard_few"].get("validation") is trainings["soft_few"].get("validation") is None
    assert not set(few.ids.tolist()) & set(trainings["hard_few_early"]["validation"].ids.tolist())


@needs_mnist
def test_ctrl_c_tells_what_to_do_and_the_same_command_goes_on(tmp_path):
    job = [sys.executable, "-m", "limbeck", "reproduce", TABLE, "--smoke", *TINY, "--threads", "1", "--out", "run"]
    job += ["--set", "teacher_recipe.num_epochs=100000"]
    process = subprocess.Popen(job, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("networks/*.partial/events.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "run the same command again" in error
    assert "Traceback" not in error
    assert list(tmp_path.glob("networks/teacher-*.partial/checkpoint.pt"))
    process = subprocess.Popen(job, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines = []
    for line in process.stderr:
        lines.append(line)
        if "going on after" in line:
            break
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert "teacher-seed0" in lines[-1]


def test_the_list_names_every_recipe(limbeck):
    code, shown, _ = limbeck("reproduce", "--list")
    assert code == 0
    assert [line.split("  ")[0] for line in shown.splitlines()] == list(RECIPES)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["needs the name of a recipe", "--list"]),
        (["hinton2015-mnst"], ["'hinton2015-mnst'", "did you mean hinton2015-mnist"]),
        ([TABLE, "--set", "temprature=3"], ["'temprature'", "did you mean temperature"]),
        ([TABLE, "--set", "temperature=hot"], ["temperature", "'hot'", "number"]),
        ([TABLE, "--set", "student_recipe.num_epoch=3"], ["'num_epoch'", "did you mean num_epochs"]),
        ([TABLE, "--set", "student_recipe.num_epochs=0"], ["num_epochs", "received: 0"]),
        ([TABLE, "--set", "student_recipe=3"], ["student_recipe"]),
        ([TABLE, "--set", "seeds=1,two"], ["seeds", "two"]),
        ([TABLE, "--set", "seeds"], ["KEY=VALUE"]),
        ([TABLE, "--seeds", "0"], ["--seeds"]),
        ([TABLE, "--device", "tpu"], ["tpu"]),
        ([TABLE, "--out", "/proc/limbeck"], ["/proc/limbeck"]),
    ],
)
def test_mistakes_get_one_message_and_exit_code_2(limbeck, tmp_path, arguments, words):
    code, _, error = limbeck("reproduce", *arguments)
    assert code == 2, error
    assert error.startswith("limbeck: ")
    assert "Traceback" not in error
    for word in words:
        assert word in error


def test_a_page_of_results_needs_a_folder_of_records(limbeck, tmp_path):
    code, _, error = limbeck("report", "nowhere", "--markdown", "results.md")
    assert code == 2
    assert "nowhere" in error
    (tmp_path / "results" / "broken").mkdir(parents=True)
    (tmp_path / "results" / "broken" / "record.json").write_text("{")
    code, _, error = limbeck("report", "results", "--markdown", "results.md")
    assert code == 2
    assert str(Path("results") / "broken" / "record.json") in error
    assert not (tmp_path / "results.md").exists()


def test_ctrl_c_between_two_networks_tells_what_to_do_too(limbeck, monkeypatch):
    def stopped(*arguments, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr("limbeck.commands.reproduce.reproduce", stopped)
    code, _, error = limbeck("reproduce", TABLE)
    assert code == 130
    assert "run the same command again" in error


def test_settings_change_as_they_are_written():
    from limbeck.commands.reproduce import changed

    settings = load_recipe("hinton2015-mnist").Settings()
    for values, expected in (
        ({"seeds": "3,5"}, {"seeds": (3, 5)}),
        ({"seeds": 3}, {"seeds": (3,)}),
        ({"seeds": [1, 2]}, {"seeds": (1, 2)}),
        ({"temperature": 4}, {"temperature": 4.0}),
        ({"student_recipe": {"ema_decay": 0.99, "learning_rate": "1e-3"}}, {}),
    ):
        result = changed(settings, values, source="--set")
        assert all(getattr(result, key) == value for key, value in expected.items())
    assert (result.student_recipe.ema_decay, result.student_recipe.learning_rate) == (0.99, 0.001)
    assert result.teacher_recipe == settings.teacher_recipe


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_has_what_a_reader_expects(name):
    recipe, line = load_recipe(name), RECIPES[name][1]
    assert recipe.__doc__
    assert recipe.__doc__.splitlines()[0].endswith(".")
    assert line.endswith(".")
    assert recipe.PAPER
    assert all(isinstance(claim, Claim) and claim.sentence.endswith(".") for claim in recipe.CLAIMS)
    assert all(departure.endswith(".") for departure in recipe.DEPARTURES)
    assert dataclasses.is_dataclass(recipe.Settings)
    assert recipe.Settings.__dataclass_params__.frozen
    assert isinstance(recipe.SMOKE, recipe.Settings)
    assert recipe.Settings().seeds
    assert len(Path(recipe.__file__).read_text(encoding="utf-8").splitlines()) <= 160


def test_the_package_of_recipes_imports_nothing_heavy():
    listing = "import sys, limbeck.recipes; print([m for m in ('torch', 'numpy', 'pydantic') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_runs_compute_in_single_precision_unless_asked(monkeypatch, tmp_path):
    # bf16 where a chip has it would train other networks under the same command.
    from limbeck.recipes import running

    asked = []

    def stop(device, precision, **_):
        asked.append(precision)
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "Runtime", type("Stopped", (), {"resolve": staticmethod(stop)}))
    with pytest.raises(KeyboardInterrupt):
        running.reproduce("hinton2015-mnist", out=tmp_path, smoke=True)
    assert asked == ["fp32"]
    assert Runtime.resolve("cpu").precision == "fp32"

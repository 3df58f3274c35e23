"""Networks that look at one input, networks fused into one, and the weights that validation fits."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from limbeck.distillation.sources import network_from
from limbeck.errors import InvalidValue, ModelError, ShapeMismatch, UnknownName
from limbeck.models import FusedNetwork, OnKey, build, build_on_key, fingerprint, fuse, load_model, on_key, save_model
from limbeck.pooling import accuracy_weights, arithmetic_mean, fit_weights
from limbeck.records import sealed_text

SHAPE = (1, 8, 8)
CLIP = {"iframe": torch.rand(4, 3, 3, 16, 16), "motion": torch.rand(4, 3, 2, 16, 16)}


def save(folder, network, *, spec="x", shape=SHAPE):
    return save_model(
        folder, network, spec=spec, input_shape=shape, class_names=["a", "b", "c"], normalise=None, role="student"
    )


def two_streams():
    specs = ["on:iframe:convnet:channels=4x8", "on:motion:convnet:channels=4"]
    shapes = [(3, 3, 16, 16), (3, 2, 16, 16)]
    pairs = zip(specs, shapes, strict=True)
    members = [build_on_key(spec, input_shape=shape, num_classes=3) for spec, shape in pairs]
    for member in members:
        member(**CLIP)  # moves the running statistics
    return fuse(members, weights=[3, 1], specs=specs)


def test_a_fused_network_is_the_weighted_mean_of_distributions():
    torch.manual_seed(0)
    networks = [nn.Linear(5, 3) for _ in range(3)]
    inputs = torch.randn(7, 5)
    expected = (0.5 * networks[0](inputs).softmax(1) + 0.3 * networks[1](inputs).softmax(1)
                + 0.2 * networks[2](inputs).softmax(1))  # fmt: skip
    fused = fuse(networks, weights=[5, 3, 2])
    assert not fused.training
    torch.testing.assert_close(fused(inputs).exp(), expected)
    torch.testing.assert_close(fused(inputs).softmax(1), expected)
    pooled = arithmetic_mean([network(inputs).log_softmax(1) for network in networks])
    torch.testing.assert_close(fuse(networks)(inputs), pooled)


def test_a_network_of_weight_zero_takes_no_part():
    networks = [nn.Linear(5, 3), nn.Linear(5, 3)]
    inputs = torch.randn(2, 5)
    torch.testing.assert_close(fuse(networks, weights=[1, 0])(inputs), networks[0](inputs).log_softmax(1))


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [0.0, 0.0], [1.0, float("nan")]])
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(InvalidValue):
        fuse([nn.Linear(2, 2), nn.Linear(2, 2)], weights=weights)


def test_a_fused_network_on_two_inputs_comes_back_the_same(tmp_path):
    fused = two_streams()
    save(tmp_path, fused, spec="anything", shape=(3, 3, 16, 16))
    manifest = json.loads((tmp_path / "model.json").read_text())
    assert manifest["spec"] == "fused"
    assert [member["spec"] for member in manifest["extra"]["members"]] == list(fused.specs)
    back = load_model(tmp_path)
    assert isinstance(back.module, FusedNetwork)
    assert back.fingerprint == fingerprint(fused)
    with torch.no_grad():
        assert torch.equal(back.module(**CLIP), fused(**CLIP))
    save(tmp_path / "again", back.module, shape=(3, 3, 16, 16))
    assert load_model(tmp_path / "again").fingerprint == back.fingerprint


def test_fused_plain_networks_of_different_kinds_come_back(tmp_path):
    specs = ["mlp:widths=8", "convnet:channels=4"]
    fused = fuse([build(spec, input_shape=SHAPE, num_classes=3, seed=0) for spec in specs], specs=specs)
    save(tmp_path, fused)
    assert load_model(tmp_path).fingerprint == fingerprint(fused)


def test_a_fused_network_without_specs_is_not_saved(tmp_path):
    with pytest.raises(ModelError, match="Nothing says what the fused networks are built again from"):
        save(tmp_path, fuse([nn.Linear(2, 2)]))


@pytest.mark.parametrize(
    "extra", [{"members": "x"}, {"members": [{"spec": 1, "extra": {}}]}, {"key_shape": ["x"]}, {"exits": {}}]
)
def test_a_damaged_structure_is_told(tmp_path, extra):
    save(tmp_path, two_streams())
    manifest = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(sealed_text({**manifest, "extra": extra}))
    with pytest.raises(ModelError):
        load_model(tmp_path)


def test_a_members_code_is_never_imported(tmp_path):
    save(tmp_path, two_streams())
    manifest = json.loads((tmp_path / "model.json").read_text())
    manifest["extra"]["members"][0] = {"spec": "os:system", "extra": {}}
    (tmp_path / "model.json").write_text(sealed_text(manifest))
    with pytest.raises(ModelError, match="code that a file names is never run"):
        load_model(tmp_path)


def test_a_network_on_one_input_ignores_the_others_and_averages_times():
    network = build_on_key("on:motion:convnet:channels=4", input_shape=(3, 2, 16, 16), num_classes=3).eval()
    assert isinstance(network, OnKey)
    whole = network(**CLIP)
    consensus = network.network
    each = [consensus.network(consensus.scale(CLIP["motion"][:, time])) for time in range(3)]
    torch.testing.assert_close(whole, torch.stack(each).mean(0))
    assert torch.equal(whole, network(iframe=torch.zeros(1), motion=CLIP["motion"]))
    with pytest.raises(ModelError, match="no input 'motion'"):
        network(iframe=CLIP["iframe"])
    with pytest.raises(ModelError, match="no input 'motion'"):
        network(CLIP["motion"])


def test_what_is_no_network_on_an_input_is_told():
    assert on_key("mlp:widths=8") is None
    with pytest.raises(InvalidValue, match="does not say which input"):
        on_key("on:motion")
    with pytest.raises(UnknownName, match="convnt"):
        network_from("on:motion:convnt")


@pytest.mark.parametrize(
    "text", ["fused:", "fused:mlp:widths=8", "fused:mlp:widths=8+", "fused:mlp+fused:mlp+mlp", "fused:+mlp"]
)
def test_a_fused_spec_names_two_members_or_more(text):
    with pytest.raises(InvalidValue, match="does not name its members"):
        network_from(text)


def test_a_fused_specs_members_are_checked_and_start_apart():
    with pytest.raises(UnknownName, match="convnt"):
        network_from("fused:mlp:widths=8+convnt")
    network = network_from("fused:mlp:widths=8+mlp:widths=8").build(input_shape=SHAPE, num_classes=3, seed=4)
    one, two = network.networks
    assert network.training
    assert network.weights.tolist() == [1, 1]
    assert not torch.equal(next(one.parameters()), next(two.parameters()))
    inputs = torch.rand(5, *SHAPE)
    torch.testing.assert_close(network(inputs), (one(inputs) + two(inputs)).log_softmax(1))
    missing = network_from("fused:on:sound:mlp+mlp:widths=8")
    with pytest.raises(ModelError, match="no input 'sound'"):
        missing.build(input_shape=SHAPE, num_classes=3, seed=0)


def test_fitted_weights_are_the_best_on_a_grid():
    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(4, (400,), generator=generator)
    truth = torch.nn.functional.one_hot(labels, 4).float()
    logits = [sharp * truth + torch.randn(400, 4, generator=generator) for sharp in (1.5, 1.0, 0.2)]

    def likelihood(weights):
        return float(
            arithmetic_mean([one.log_softmax(1) for one in logits], weights=weights)[range(400), labels].mean()
        )

    weights = fit_weights(logits, labels, tolerance=1e-5)
    assert sum(weights) == pytest.approx(1)
    grid = [(a / 20, b / 20, (20 - a - b) / 20) for a in range(21) for b in range(21 - a)]
    assert likelihood(weights) >= max(likelihood(one) for one in grid) - 1e-4
    assert weights[0] > weights[1] > weights[2]


def test_fitted_weights_do_not_depend_on_the_order():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (200,), generator=generator)
    logits = [torch.randn(200, 3, generator=generator) for _ in range(2)]
    first, second = fit_weights(logits, labels, tolerance=1e-7)
    assert fit_weights(logits[::-1], labels, tolerance=1e-7) == pytest.approx([second, first], abs=1e-4)


def test_an_expert_that_excludes_the_truth_gets_no_part():
    right = torch.tensor([[0.0, -200.0]]).repeat(5, 1)
    assert fit_weights([right, -right], torch.zeros(5, dtype=torch.int64), tolerance=1e-4) == pytest.approx(
        [1, 0], abs=1e-3
    )


def test_fitted_weights_of_a_geometric_mean_have_no_slope():
    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(4, (300,), generator=generator)
    truth = torch.nn.functional.one_hot(labels, 4).float()
    logits = [sharp * truth + torch.randn(300, 4, generator=generator) for sharp in (1.5, 1.0)]
    weights = torch.tensor(fit_weights(logits, labels, pooling="geometric"), requires_grad=True)
    joint = sum(weight * one.log_softmax(1) for weight, one in zip(weights, logits, strict=True))
    torch.nn.functional.cross_entropy(joint, labels).backward()
    assert weights.min() > 0
    assert weights.grad.abs().max() < 1e-4


def test_experts_that_complete_each_other_are_both_kept():
    """One knows the first bit of the class, the other the second: neither alone is right more than half of the time."""
    labels = torch.arange(4).repeat(25)
    first = 6.0 * torch.tensor([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]).float()[labels]
    second = 5.0 * torch.tensor([[1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1]]).float()[labels]
    for pooling in ("arithmetic", "geometric"):
        weights = fit_weights([first, second], labels, pooling=pooling)
        assert min(weights) > 0.3
    fused = fuse([nn.Identity(), nn.Linear(4, 4)], weights=weights, pooling="geometric")
    assert fused.pooling == "geometric"


def test_a_geometric_mean_is_the_mean_of_logits():
    networks = [nn.Linear(5, 3), nn.Linear(5, 3)]
    inputs = torch.randn(2, 5)
    joint = 2.0 * networks[0](inputs) + 0.5 * networks[1](inputs)
    torch.testing.assert_close(fuse(networks, weights=[2, 0.5], pooling="geometric")(inputs), joint.log_softmax(1))


def test_weights_by_accuracy_are_in_proportion():
    labels = torch.tensor([0, 1, 1, 0])
    perfect, half = torch.eye(2)[labels], torch.eye(2)[torch.zeros(4, dtype=torch.int64)]
    assert accuracy_weights([perfect, half], labels) == pytest.approx([2 / 3, 1 / 3])
    assert accuracy_weights([-perfect, -perfect], labels) == [0.5, 0.5]


def test_weights_cannot_be_fitted_to_nothing():
    with pytest.raises(InvalidValue):
        fit_weights([], torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ShapeMismatch):
        fit_weights([torch.zeros(3, 2), torch.zeros(3, 4)], torch.zeros(3, dtype=torch.int64))

"""The zoo builds the networks of the papers, refuses bad settings, and keeps its norm limits."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from limbeck.errors import InvalidValue, ModelError
from limbeck.models import ZOO, check_output, constrain_max_norm, evaluating, project_max_norm
from limbeck.models.convnets import convnet, three_block, vgg, vgg8, vgg13, vgg16
from limbeck.models.mlp import mlp
from limbeck.models.resnet import ResidualBlock, resnet, resnet8x4, resnet20, resnet32, resnet32x4, resnet56
from limbeck.models.wide_resnet import PreactivatedBlock, wide_resnet

CIFAR = {"input_shape": (3, 32, 32), "num_classes": 10}
CIFAR_100 = {"input_shape": (3, 32, 32), "num_classes": 100}
DIGITS = {"input_shape": (1, 8, 8), "num_classes": 10}


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("name", sorted(ZOO))
@pytest.mark.parametrize("num_classes", [2, 7])
def test_every_network_gives_one_finite_logit_per_class(name, num_classes):
    network = ZOO[name](input_shape=(3, 32, 32), num_classes=num_classes)
    inputs = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    logits = network(inputs)
    assert logits.shape == (2, num_classes)
    assert logits.isfinite().all()
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("name", sorted(ZOO))
def test_output_is_the_head_of_the_embedding(name):
    network = ZOO[name](**CIFAR).eval()
    inputs = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        embedded = network.embed(inputs)
        assert embedded.shape == (2, network.head.in_features)
        assert_close(network.head(embedded), network(inputs))


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        # 784*800 + 800, 800*800 + 800, 800*10 + 10
        (mlp(input_shape=(1, 28, 28), num_classes=10), 628_000 + 640_800 + 8_010),
        (mlp(input_shape=(784,), num_classes=10, widths=()), 7_850),
        # 9*1*32 + 2*32, 9*32*64 + 2*64, 64*10 + 10
        (convnet(**DIGITS), 352 + 18_560 + 650),
        (resnet20(**CIFAR), 269_722),  # 0.27 M in He et al., table 6; with projections 272,474
        (resnet20(**CIFAR, shortcut="project"), 272_474),
        (resnet32(**CIFAR), 464_154),  # 0.46 M
        (resnet56(**CIFAR), 853_018),  # 0.85 M
        (resnet(**CIFAR, depth=110), 1_727_962),  # 1.7 M
        (vgg16(**CIFAR), 14_728_266),  # convolutions 14,714,688, batch norms 8,448, head 5,130
        (vgg(**CIFAR, depth=19), 20_040_522),
        (resnet8x4(**CIFAR_100), 1_233_540),  # these six: the networks of CIFAR-100's table of distillation
        (resnet32x4(**CIFAR_100), 7_433_860),
        (vgg8(**CIFAR_100), 3_965_028),
        (vgg13(**CIFAR_100), 9_462_180),
        (wide_resnet(**CIFAR_100, depth=16), 703_284),
        (wide_resnet(**CIFAR_100, depth=40), 2_255_156),
    ],
    ids=lambda value: "" if isinstance(value, nn.Module) else str(value),
)
def test_parameter_counts_are_the_known_ones(network, expected):
    assert count(network) == expected


def test_vgg16_features_have_torchvisions_names_and_shapes():
    # torchvision's vgg16_bn: convolutions at these places of `features`, each followed by its batch norm.
    places = [0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40]
    state = vgg16(**CIFAR).state_dict()
    assert [name for name in state if state[name].dim() == 4] == [f"features.{place}.weight" for place in places]
    assert all(f"features.{place + 1}.running_mean" in state for place in places)


def test_resnet_stages_halve_the_sides_and_double_the_channels():
    network = resnet20(**CIFAR).eval()
    shapes = []
    for stage in (network.layer1, network.layer2, network.layer3):
        stage.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape[1:])))
    with torch.no_grad():
        network(torch.zeros(1, 3, 32, 32))
    assert shapes == [(16, 32, 32), (32, 16, 16), (64, 8, 8)]


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (resnet8x4(**CIFAR_100), [(64, 32, 32), (128, 16, 16), (256, 8, 8)]),
        (wide_resnet(**CIFAR_100), [(32, 32, 32), (64, 16, 16), (128, 8, 8)]),
    ],
    ids=["resnet8x4", "wrn-16-2"],
)
def test_stages_of_the_wide_networks(network, expected):
    shapes = []
    for stage in (network.layer1, network.layer2, network.layer3):
        stage.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape[1:])))
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, 32, 32))
    assert shapes == expected
    assert network.conv1.out_channels == {"ResNet": 32, "WideResNet": 16}[type(network).__name__]


def test_a_vgg_for_small_images_pools_after_three_blocks():
    # Its last two blocks see 4 x 4 positions; the paper's network ends with one.
    for network, side in ((vgg8(**CIFAR_100), 4), (vgg(**CIFAR_100, depth=8), 1)):
        shapes = []
        pool = next(layer for layer in network.features if isinstance(layer, nn.AdaptiveAvgPool2d))
        pool.register_forward_hook(lambda module, inputs, output, seen=shapes: seen.append(tuple(inputs[0].shape)))
        with torch.no_grad():
            network.eval()(torch.zeros(1, 3, 32, 32))
        assert shapes == [(1, 512, side, side)]


def test_a_preactivated_block_projects_what_its_first_relu_gives():
    block = PreactivatedBlock(2, 3, stride=2).eval()
    nn.init.zeros_(block.conv2.weight)  # leaves the shortcut
    inputs = torch.randn(1, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    clipped = inputs.clamp(min=0) / math.sqrt(1 + block.bn1.eps)  # a fresh batch norm in eval mode
    assert_close(
        block(inputs), torch.einsum("oi,bihw->bohw", block.projection.weight[:, :, 0, 0], clipped[..., ::2, ::2])
    )
    same = PreactivatedBlock(2, 2, stride=1).eval()
    nn.init.zeros_(same.conv2.weight)
    assert_close(same(inputs), inputs)


def test_padded_shortcut_takes_every_second_pixel_and_adds_zero_channels():
    block = ResidualBlock(2, 4, stride=2, shortcut="pad").eval()
    nn.init.zeros_(block.bn2.weight)  # leaves relu(shortcut)
    inputs = torch.arange(2 * 5 * 5, dtype=torch.float32).reshape(1, 2, 5, 5)
    expected = torch.zeros(1, 4, 3, 3)
    for channel in range(2):
        for row in range(3):
            for column in range(3):
                expected[0, channel, row, column] = inputs[0, channel, 2 * row, 2 * column]
    assert_close(block(inputs), expected)


def test_width_multiplies_the_channels():
    assert resnet20(**CIFAR, width=2).head.in_features == 128
    assert three_block(**CIFAR, width=0.5).head.in_features == 128
    assert vgg16(**CIFAR, width=0.25).head.in_features == 128


def test_convolutions_start_at_he_initialisation():
    torch.manual_seed(0)
    weight = vgg16(**CIFAR).features[40].weight  # 512 x 512 x 3 x 3
    assert weight.std().item() == pytest.approx(math.sqrt(2 / (512 * 9)), rel=0.01)


def test_mlp_starts_like_the_same_layers_written_by_hand():
    torch.manual_seed(3)
    network = mlp(**DIGITS, widths=(5, 4), hidden_dropout=0.5)
    torch.manual_seed(3)
    by_hand = nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 10))
    inputs = torch.randn(3, 1, 8, 8)
    assert_close(network.eval()(inputs), by_hand(inputs))


def test_mlp_drops_inputs_and_hidden_units_in_training_only():
    network = mlp(**DIGITS, widths=(50,), input_dropout=0.2, hidden_dropout=0.5)
    rates = [module.p for module in network.modules() if isinstance(module, nn.Dropout)]
    assert rates == [0.2, 0.5]
    inputs = torch.ones(1, 1, 8, 8)
    torch.manual_seed(0)
    assert not torch.equal(network(inputs), network(inputs))
    network.eval()
    assert torch.equal(network(inputs), network(inputs))


def test_a_spec_with_dropout_loads_weights_trained_without():
    plain, dropping = mlp(**DIGITS), mlp(**DIGITS, input_dropout=0.2, hidden_dropout=0.5)
    assert plain.state_dict().keys() == dropping.state_dict().keys()


@pytest.mark.parametrize(
    ("builder", "arguments", "named"),
    [
        (mlp, {"widths": (800, 0)}, "widths"),
        (mlp, {"widths": 800}, "widths"),
        (mlp, {"widths": (8.0,)}, "widths"),
        (mlp, {"hidden_dropout": 1.0}, "hidden_dropout"),
        (mlp, {"input_dropout": -0.1}, "input_dropout"),
        (mlp, {"max_norm": 0.0}, "max_norm"),
        (mlp, {"num_classes": 1}, "num_classes"),
        (mlp, {"input_shape": ()}, "input_shape"),
        (mlp, {"input_shape": (3, 0, 32)}, "input_shape"),
        (convnet, {"channels": ()}, "channels"),
        (convnet, {"dropout": 1.5}, "dropout"),
        (three_block, {"width": 0.0}, "width"),
        (vgg, {"depth": 12}, "depth"),
        (vgg, {"num_pools": 6}, "num_pools"),
        (resnet, {"stem": 0}, "stem"),
        (wide_resnet, {"depth": 20}, "depth"),
        (wide_resnet, {"width": 0.01}, "width"),
        (vgg16, {"width": float("nan")}, "width"),
        (resnet, {"depth": 21}, "depth"),
        (resnet, {"depth": 2}, "depth"),
        (resnet, {"shortcut": "conv"}, "shortcut"),
        (resnet20, {"width": 0.01}, "width"),
    ],
)
def test_bad_settings_are_named(builder, arguments, named):
    with pytest.raises(InvalidValue, match=named) as caught:
        builder(**{**CIFAR, **arguments})
    assert caught.value.expected


@pytest.mark.parametrize(
    ("builder", "smallest"), [(convnet, 4), (three_block, 8), (vgg16, 32), (vgg8, 8), (resnet20, 8), (wide_resnet, 8)]
)
def test_images_below_the_smallest_size_are_refused_and_that_size_works(builder, smallest):
    with pytest.raises(ModelError, match="too small") as caught:
        builder(input_shape=(1, smallest, smallest - 1), num_classes=2)
    assert f"{smallest} x {smallest}" in str(caught.value)
    assert caught.value.remedy
    network = builder(input_shape=(1, smallest, smallest), num_classes=2).eval()
    assert network(torch.zeros(1, 1, smallest, smallest)).shape == (1, 2)


@pytest.mark.parametrize("builder", [convnet, three_block, vgg16, resnet20, wide_resnet])
def test_inputs_that_are_no_images_are_refused(builder):
    with pytest.raises(ModelError, match="images only") as caught:
        builder(input_shape=(784,), num_classes=10)
    assert "mlp" in caught.value.remedy


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**16), st.floats(0.05, 5.0))
def test_projection_matches_the_slow_way(seed, max_norm):
    generator = torch.Generator().manual_seed(seed)
    layer = nn.Linear(6, 4)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(4, 6, generator=generator))
    constrain_max_norm(layer, max_norm=max_norm)
    expected = []
    for unit in layer.weight.tolist():
        norm = math.sqrt(sum(weight * weight for weight in unit))
        expected.append([weight * min(1.0, max_norm / norm) for weight in unit])
    bias = layer.bias.clone()
    project_max_norm(layer)
    assert_close(layer.weight.detach(), torch.tensor(expected), rtol=1e-5, atol=1e-6)
    assert torch.equal(layer.bias, bias)


def test_projection_limits_hidden_layers_and_leaves_the_head():
    network = mlp(**DIGITS, widths=(20, 20), max_norm=15**0.5)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(10.0)
    project_max_norm(network)
    for layer in (network.features.linear1, network.features.linear2):
        assert_close(layer.weight.square().sum(dim=1), torch.full((20,), 15.0))
    assert torch.equal(network.head.weight, torch.full((10, 20), 10.0))


def test_projection_leaves_short_rows_untouched_to_the_bit():
    layer = nn.Linear(4, 3)
    constrain_max_norm(layer, max_norm=100.0)
    before = layer.weight.clone()
    project_max_norm(layer)
    assert torch.equal(layer.weight, before)


def test_projection_counts_all_inputs_of_a_convolutions_channel():
    layer = nn.Conv2d(2, 1, kernel_size=2, bias=False)
    nn.init.ones_(layer.weight)  # norm sqrt(8)
    constrain_max_norm(layer, max_norm=2**0.5)
    project_max_norm(layer)
    assert_close(layer.weight.detach(), torch.full((1, 2, 2, 2), 0.5))


def test_projection_does_nothing_where_no_layer_has_a_limit():
    network = nn.Sequential(nn.Embedding(3, 4, max_norm=1.0), nn.Linear(4, 2))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(50.0)
    project_max_norm(network)
    assert all((parameter == 50).all() for parameter in network.parameters())


def test_limits_survive_a_copy():
    network = copy.deepcopy(mlp(**DIGITS, widths=(3,), max_norm=1.0))
    with torch.no_grad():
        network.features.linear1.weight.fill_(9.0)
    project_max_norm(network)
    assert_close(network.features.linear1.weight.norm(dim=1), torch.ones(3))


def test_a_layer_without_weight_rows_takes_no_limit():
    with pytest.raises(ModelError, match="no incoming weights"):
        constrain_max_norm(nn.ReLU(), max_norm=1.0)
    with pytest.raises(ModelError, match="no incoming weights"):
        constrain_max_norm(nn.BatchNorm1d(3), max_norm=1.0)


def test_evaluating_restores_mixed_modes_after_an_error():
    network = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2)))
    network[1][1].eval()
    before = [module.training for module in network.modules()]

    def fail():
        with evaluating(network):
            assert not any(module.training for module in network.modules())
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail()
    assert [module.training for module in network.modules()] == before


def test_check_output_accepts_a_right_model_and_leaves_it_alone():
    network = convnet(**DIGITS)
    network.features[1].eval()
    modes = [module.training for module in network.modules()]
    before = copy.deepcopy(network.state_dict())
    check_output(network, input_shape=(1, 8, 8), num_classes=10)
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    check_output(network.bfloat16(), input_shape=(1, 8, 8), num_classes=10)


def test_check_output_names_both_numbers_of_classes():
    with pytest.raises(ModelError) as caught:
        check_output(mlp(**DIGITS), input_shape=(1, 8, 8), num_classes=7)
    assert "10 classes" in caught.value.received
    assert "7 classes" in caught.value.expected


def test_check_output_tells_of_shapes_and_types_that_are_no_logits():
    with pytest.raises(ModelError) as caught:
        check_output(nn.Identity(), input_shape=(3, 4), num_classes=3)
    assert "(2, 3, 4)" in caught.value.received
    check_output(_Pair(), input_shape=(4,), num_classes=4)  # the first of a tuple
    with pytest.raises(ModelError, match="No logits were found"):
        check_output(_Text(), input_shape=(4,), num_classes=4)


def test_check_output_tells_why_the_model_cannot_run():
    with pytest.raises(ModelError) as caught:
        check_output(nn.Linear(5, 3), input_shape=(4,), num_classes=3)
    assert "(4,)" in caught.value.fact
    assert "mat1 and mat2" in caught.value.received


class _Text(nn.Module):
    def forward(self, inputs):
        return "a cat"


class _Pair(nn.Module):
    def forward(self, inputs):
        return inputs, inputs

"""Early exits put at the stages of any network whose stages can be named."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from limbeck.errors import InvalidValue, ModelError
from limbeck.models.exits import ExitBranch, ExitNetwork
from limbeck.models.factory import ModelFactory
from limbeck.models.modes import check_output, evaluating, zeros_for
from limbeck.models.resolve import build
from limbeck.models.spec import ModelSpec
from limbeck.models.taps import modules_at

_NARROWING = 4  # of the branch's channels against the deepest features', as in residual bottlenecks


def add_exits(
    network: nn.Module,
    paths: Sequence[str],
    *,
    input_shape: tuple[int, ...],
    num_classes: int,
    deepest: str | None = None,
) -> ExitNetwork:
    """Put exits at stages of a network.

    A branch is a bottleneck (convolution 1x1 to a quarter of the deepest channels; 3x3 with stride 2, once for each
    halving; 1x1 to the deepest channels; each with batch norm and ReLU), average pooling and a linear head; of vectors,
    linear layers take the convolutions' place. Shapes come from a dry run on zeros. Strip the exits again by using
    ``.network``.

    Args:
        network: any module, (batch, *input_shape) to logits (batch, num_classes); it becomes part of the result.
        paths: of the modules whose outputs the exits see, as ``named_modules`` calls them.
        input_shape: of one sample.
        num_classes: of the data.
        deepest: path of the module whose output the bottlenecks imitate. Where not given, it is the last one whose
            output has more than one position (of networks without such: the last hidden vector).
    Returns:
        The network with exits, in train mode, in the order in which the stages run.
    Raises:
        UnknownName: no module at a path; near ones are listed.
        InvalidValue: no exits, a path twice, the deepest one among them, an output that a later module changes in
            place, or features whose shapes cannot be matched by halving.
        ModelError: a network that cannot run on such inputs, or a path that does not run.
    Example:
        >>> network = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1),
        ...     nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))
        >>> exits = add_exits(network, ["0"], input_shape=(1, 28, 28), num_classes=10)
        >>> [tuple(z.shape) for z in exits(torch.zeros(5, 1, 28, 28)).logits], exits.deepest
        ([(5, 10), (5, 10)], '3')

    References:
        Zhang et al. 2019, "Be Your Own Teacher", arXiv:1905.08094, section 3 (the branches).
    """
    if not paths or len(set(paths)) < len(paths):
        raise InvalidValue(
            "Exits need paths of their own.",
            received=", ".join(paths) or "none",
            expected="at least one, each once",
            remedy="modules of this network: " + ", ".join(path for path, _ in network.named_modules() if path),
        )
    check_output(network, input_shape=input_shape, num_classes=num_classes)
    shapes, changed = _output_shapes(network, input_shape)
    deepest = deepest or _deepest(shapes)
    for path in modules_at(network, [*paths, deepest]):
        if path not in shapes:
            raise ModelError(f"The module {path} does not run, or gives no tensor.", expected="a module on the way")
    order = list(shapes)
    if any(order.index(path) >= order.index(deepest) for path in paths):
        raise InvalidValue(
            "An exit must come before the deepest features.",
            received=f"exits at {', '.join(paths)}; deepest features at {deepest}",
            expected="exits at earlier modules",
            remedy="leave the last stage out: the network's own head is its exit",
        )
    for path in paths:
        if path in changed:
            raise InvalidValue(
                "The output at an exit is changed in place by a later module.",
                received=path,
                expected="an output that stays as it is",
                remedy="name the module that changes it, such as the ReLU behind a batch norm",
            )
    paths = sorted(paths, key=order.index)
    placed = zeros_for(network, batch_size=1, input_shape=input_shape)
    branches = [_branch(path, shapes[path], shapes[deepest], num_classes).to(placed) for path in paths]
    return ExitNetwork(network, branches, paths=paths, deepest=deepest)


def exit_network(spec: str, paths: Sequence[str]) -> ModelFactory:
    """Return a factory of a zoo network with exits; see :func:`add_exits`.

    From one seed its trunk starts with the weights of the plain network. The factory goes by the plain network's spec,
    from which ``load_model`` builds a saved one again, exits and all.

    Args:
        spec: of a network, such as "resnet20".
        paths: of the modules whose outputs the exits see.
    Returns:
        A factory ``(input_shape, num_classes) -> ExitNetwork``.
    Raises:
        UnknownName: no such network.
        ModelError: when it is called: exits that cannot be put there.
    Example:
        >>> network = exit_network("resnet20", ["layer1", "layer2"])(input_shape=(3, 32, 32), num_classes=10)
        >>> network.exit_names
        ('layer1', 'layer2', 'head')
    """
    parsed = ModelSpec.parse(spec)

    def build_exits(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        network = build(parsed, input_shape=input_shape, num_classes=num_classes)
        return add_exits(network, paths, input_shape=input_shape, num_classes=num_classes)

    return ModelFactory(str(parsed), build_exits)


def _output_shapes(network: nn.Module, input_shape: tuple[int, ...]) -> tuple[dict[str, torch.Size], set[str]]:
    """Return the output shapes of one sample, by path, in the order in which the modules finish.

    And the paths whose outputs are changed in place afterwards.
    """
    shapes: dict[str, torch.Size] = {}
    given: dict[str, tuple[Tensor, int]] = {}
    handles = []
    for path, module in network.named_modules():

        def hook(module: nn.Module, inputs: object, output: object, path: str = path) -> None:
            if isinstance(output, Tensor):
                shapes[path] = output.shape[1:]
                given[path] = output, output._version

        if path:
            handles.append(module.register_forward_hook(hook))
    try:
        with evaluating(network), torch.no_grad():
            network(zeros_for(network, batch_size=2, input_shape=input_shape))
    finally:
        for handle in handles:
            handle.remove()
    return shapes, {path for path, (output, version) in given.items() if output._version != version}


def _deepest(shapes: dict[str, torch.Size]) -> str:
    """Return the last module with more than one position, else the last but one with a vector."""
    maps = [path for path, shape in shapes.items() if len(shape) == 3 and shape[1] * shape[2] > 1]
    if maps:
        return maps[-1]
    vectors = [path for path, shape in shapes.items() if len(shape) == 1]
    if len(vectors) < 2:
        raise ModelError("No hidden features were found.", received=f"outputs of {', '.join(shapes) or 'no module'}",
                         remedy="name the deepest ones with deepest=")  # fmt: skip
    return vectors[-2]


def _branch(path: str, own: torch.Size, deep: torch.Size, num_classes: int) -> ExitBranch:
    mismatch = InvalidValue(
        f"The features at {path} cannot be brought to the deepest ones' shape.",
        received=f"{tuple(own)} and {tuple(deep)}",
        expected="both (channels, height, width), of which the first halves to the second, or both vectors",
        remedy="choose another path, or name the deepest features with deepest=",
    )
    if len(own) != len(deep) or len(own) not in (1, 3):
        raise mismatch
    narrow = max(1, deep[0] // _NARROWING)
    if len(own) == 1:
        layers = [*_dense(own[0], narrow), *_dense(narrow, deep[0])]
        return ExitBranch(nn.Sequential(*layers), nn.Linear(deep[0], num_classes))
    layers = _convolution(own[0], narrow, kernel=1)
    height, width = own[1], own[2]
    while (height, width) != (deep[1], deep[2]):
        if height <= deep[1] or width <= deep[2]:
            raise mismatch
        layers += _convolution(narrow, narrow, kernel=3, stride=2)
        height, width = -(-height // 2), -(-width // 2)
    layers += _convolution(narrow, deep[0], kernel=1)
    return ExitBranch(nn.Sequential(*layers), nn.Linear(deep[0], num_classes))


def _convolution(num_in: int, num_out: int, *, kernel: int, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(num_in, num_out, kernel, stride=stride, padding=kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(num_out), nn.ReLU(inplace=True)]


def _dense(num_in: int, num_out: int) -> list[nn.Module]:
    return [nn.Linear(num_in, num_out, bias=False), nn.BatchNorm1d(num_out), nn.ReLU(inplace=True)]

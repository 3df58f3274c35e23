"""Hidden features of a student beside its logits, brought to a teacher's channels by learned projections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from limbeck.errors import InvalidValue, ModelError
from limbeck.models.calling import StructuredOutputs
from limbeck.models.modes import check_output, evaluating, zeros_for
from limbeck.models.taps import modules_at, tapped


@dataclass(frozen=True, eq=False)
class FeatureOutputs(StructuredOutputs):
    """What a tapped network returns in train mode.

    Args:
        logits: shape (batch, classes).
        features: one tensor (batch, ...) for each tap, projected where there is a projection.
    """

    logits: Tensor
    features: tuple[Tensor, ...]


@final
class TappedNetwork(nn.Module):
    """A network with taps, and a projection at each. Made by :func:`add_taps`.

    In train mode it returns :class:`FeatureOutputs`; in eval mode the network's own logits, so that it is measured as
    the network itself. The projections' weights are parameters of this module, and so the optimiser's; ``network`` is
    the network without them, to be saved and used.

    Args:
        network: any module, (batch, *input_shape) to logits (batch, classes).
        paths: of the tapped modules.
        projections: one for each path.
    """

    def __init__(self, network: nn.Module, paths: Sequence[str], projections: Sequence[nn.Module]) -> None:
        super().__init__()
        self.network = network
        self.projections = nn.ModuleList(projections)
        self.paths = tuple(paths)

    def forward(self, inputs: Tensor) -> Tensor | FeatureOutputs:
        """Return logits and features in train mode, the network's own logits in eval mode."""
        if not self.training:
            logits: Tensor = self.network(inputs)
            return logits
        with tapped(self.network, self.paths) as outputs:
            logits = self.network(inputs)
        projected = zip(self.projections, self.paths, strict=True)
        return FeatureOutputs(logits, tuple(projection(outputs[path]) for projection, path in projected))


def add_taps(
    student: nn.Module,
    paths: Mapping[str, str] | Sequence[tuple[str, str]],
    teacher: nn.Module,
    *,
    input_shape: tuple[int, ...],
    num_classes: int,
    project: bool = True,
) -> TappedNetwork:
    r"""Tap a student where a teacher is tapped, and project its features to the teacher's channels.

    .. math:: \hat f = W f, \qquad W \text{ a learned } 1 \times 1 \text{ convolution, or a linear layer of vectors}

    Shapes come from a dry run of both on zeros. ``FeatureTeacher(teacher, [...])`` with the teacher's paths in the same
    order gives what the features are compared with.

    Args:
        student: any module, (batch, *input_shape) to logits (batch, num_classes); it becomes part of the result.
        paths: the student's path and the teacher's, for each tap.
        teacher: any module that takes the same inputs; it is run once, and left as it is.
        input_shape: of one sample.
        num_classes: of the data.
        project: learn a projection at every tap, as squared hints need it where channels differ; False for losses on
            relations and attention, which compare features of any channels.
    Returns:
        The tapped student, in train mode.
    Raises:
        UnknownName: no module at a path; near ones are listed.
        InvalidValue: no taps, or features whose shapes no projection of channels can match.
        ModelError: a network that cannot run on such inputs, or a path that does not run.
    Example:
        >>> student = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> teacher = nn.Sequential(nn.Linear(4, 9), nn.ReLU(), nn.Linear(9, 2))
        >>> tapped_student = add_taps(student, {"1": "1"}, teacher, input_shape=(4,), num_classes=2)
        >>> tapped_student(torch.zeros(5, 4)).features[0].shape
        torch.Size([5, 9])

    References:
        Romero et al. 2015, "FitNets", arXiv:1412.6550, section 2.2 (the regressor).
    """
    pairs = list(paths.items()) if isinstance(paths, Mapping) else list(paths)
    if not pairs:
        raise InvalidValue("Features need taps.", received="no paths", expected="at least one")
    check_output(student, input_shape=input_shape, num_classes=num_classes)
    own_paths, teacher_paths = [own for own, _ in pairs], [other for _, other in pairs]
    own_shapes = _feature_shapes(student, own_paths, input_shape)
    teacher_shapes = _feature_shapes(teacher, teacher_paths, input_shape)
    placed = zeros_for(student, batch_size=1, input_shape=input_shape)
    projections = [
        _projection(own, own_shapes[own], other, teacher_shapes[other]).to(placed) if project else nn.Identity()
        for own, other in pairs
    ]
    return TappedNetwork(student, own_paths, projections)


def _feature_shapes(network: nn.Module, paths: Sequence[str], input_shape: tuple[int, ...]) -> dict[str, torch.Size]:
    modules_at(network, paths)
    with evaluating(network), torch.no_grad(), tapped(network, paths) as outputs:
        network(zeros_for(network, batch_size=2, input_shape=input_shape))
    for path in paths:
        if path not in outputs:
            raise ModelError(f"The module {path} does not run.", expected="a module on the way")
    return {path: outputs[path].shape[1:] for path in paths}


def _projection(path: str, own: torch.Size, other_path: str, other: torch.Size) -> nn.Module:
    if len(own) != len(other) or len(own) not in (1, 3) or own[1:] != other[1:]:
        raise InvalidValue(
            f"The features at {path} cannot be brought to the teacher's at {other_path}.",
            received=f"{tuple(own)} and {tuple(other)}",
            expected="both vectors, or both (channels, height, width) of one height and width",
            remedy="tap modules of equal resolution, or compare relations or attention, with project=False",
        )
    if len(own) == 1:
        return nn.Linear(own[0], other[0], bias=False)
    return nn.Conv2d(own[0], other[0], kernel_size=1, bias=False)

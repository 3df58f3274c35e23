"""Deep Mutual Learning: peers that learn from the labels and from each other."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from limbeck.data import Batch
from limbeck.errors import TeacherError, require_not_negative, require_positive, unknown_name
from limbeck.objectives.distillation import Distillation
from limbeck.objectives.hard_labels import mean_hard_label_loss
from limbeck.objectives.multi_teacher import MultiTeacher
from limbeck.objectives.objective import Counts, LossParts, Objective, count_valid, names_of
from limbeck.targets import SoftTargets

PEER_TARGETS = ("each", "mean")


@dataclass(frozen=True, eq=False)
class CohortTargets(SoftTargets):
    """What the others say of a batch: the peers, and a frozen teacher beside them where there is one.

    Args:
        peers: their outputs, detached, as one (arithmetic mean) with ``members``.
        teacher: its output.
    """

    peers: SoftTargets
    teacher: SoftTargets | None = None

    def logits_at(self, temperature: float) -> Tensor:
        return self.peers.logits_at(temperature)

    def members(self) -> tuple[tuple[float, SoftTargets], ...]:
        """Return the peers with their shares."""
        return self.peers.members()


@dataclass(frozen=True)
class MutualLearning(Objective):
    r"""What one network of a cohort of K minimises: the labels, and its divergence from each of its peers.

    .. math:: L_k = w_{hard}\, \overline{CE(y, p_k)} + \frac{w_{soft} T^2}{K - 1} \sum_{l \ne k}
        \overline{KL(p_l \| p_k)} + w_{teacher}\, T^2\, \overline{KL(p_t \| p_k)}

    The peers are constants: no gradient flows into them. With ``targets="mean"`` one divergence from the peers' mean
    distribution at T takes the place of the mean divergence: the paper's DML_e, which it found worse. As written there,
    the two have the same gradient, since the cross-entropy is linear in its target (a test holds them together), and
    can only differ by rounding; the values differ.

    Args:
        temperature: T > 0 (the paper: 1).
        hard_weight: >= 0 (the paper: 1).
        soft_weight: > 0, of the peers (the paper: 1).
        teacher_weight: >= 0, of a frozen teacher beside the peers; 0 for none.
        targets: "each" peer for itself, or their "mean".
    Raises:
        InvalidValue: a number outside its range.
        UnknownName: other targets.
    Example:
        >>> MutualLearning().part_names
        ('peers', 'hard')

    References:
        Zhang, Xiang, Hospedales, Lu 2018, "Deep Mutual Learning", arXiv:1706.00384, equations 4 to 8.
    """

    temperature: float = 1.0
    hard_weight: float = 1.0
    soft_weight: float = 1.0
    teacher_weight: float = 0.0
    targets: str = "each"

    def __post_init__(self) -> None:
        require_positive("temperature", self.temperature)
        require_not_negative("hard_weight", self.hard_weight)
        require_positive("soft_weight", self.soft_weight)
        require_not_negative("teacher_weight", self.teacher_weight)
        if self.targets not in PEER_TARGETS:
            raise unknown_name("kind of peer targets", self.targets, PEER_TARGETS)

    @property
    def needs_teacher(self) -> bool:
        return self.teacher_weight > 0

    @property
    def takes_positions(self) -> bool:
        return False

    @property
    def part_names(self) -> tuple[str, ...]:
        return names_of(peers=self.soft_weight, teacher=self.teacher_weight, hard=self.hard_weight)

    def __call__(
        self, outputs: Tensor, targets: SoftTargets | None, batch: Batch, *, counts: Counts | None = None
    ) -> LossParts:
        if targets is None:
            raise TeacherError("MutualLearning needs peers.", remedy="train a cohort with fit_cohort")
        counts = counts or count_valid(batch)
        one_teacher = Distillation(self.temperature, hard_weight=0.0, soft_weight=1.0)
        of_peers = MultiTeacher(self.temperature, hard_weight=0.0, soft_weight=1.0)
        peers = (of_peers if self.targets == "each" else one_teacher)(outputs, targets, batch, counts=counts).total
        terms = {"peers": (self.soft_weight, peers)}
        if self.teacher_weight > 0:
            output = targets.teacher if isinstance(targets, CohortTargets) else None
            if output is None:
                raise TeacherError("teacher_weight needs a teacher beside the peers.", remedy="pass teacher=")
            teacher = one_teacher(outputs, output, batch, counts=counts).total
            terms["teacher"] = (self.teacher_weight, teacher)
        if self.hard_weight > 0:
            terms["hard"] = (self.hard_weight, mean_hard_label_loss(outputs, batch, counts))
        return LossParts.weighted(terms)

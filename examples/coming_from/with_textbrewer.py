"""The job by TextBrewer (0.2.1.post1).

Run: python examples/coming_from/with_textbrewer.py
"""

from __future__ import annotations

import tempfile
from typing import Any

import job
import torch
from evidence import BestEpoch, did_it_help
from textbrewer import BasicTrainer, DistillationConfig, GeneralDistiller, TrainingConfig
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


class ImagesOnly(nn.Module):
    """TextBrewer calls a network with the whole batch; ours takes the images."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.network(images)
        return logits


def adaptor(batch: Any, logits: Tensor) -> dict[str, Tensor]:
    """Return what TextBrewer takes from a network's outputs."""
    return {"logits": logits, "losses": F.cross_entropy(logits, batch[1])}


def main(seeds: range = job.SEEDS, num_epochs: int = job.NUM_EPOCHS) -> str:
    """Return what came out."""
    data = job.digits()
    teacher = ImagesOnly(job.trained_teacher(*data["elsewhere"]))
    distilling = DistillationConfig(
        temperature=job.TEMPERATURE,
        kd_loss_weight=job.SOFT_WEIGHT * job.TEMPERATURE**2,  # its loss has no T²
        hard_label_weight=job.HARD_WEIGHT,
    )

    def train(seed: int, has_teacher: bool) -> nn.Module:
        torch.manual_seed(seed)
        network, best = job.student_network(), BestEpoch(data["validation"])
        optimiser = torch.optim.SGD(network.parameters(), lr=job.LEARNING_RATE, momentum=0.9, nesterov=True)
        loader = DataLoader(TensorDataset(*data["train"]), batch_size=job.BATCH_SIZE, shuffle=True)
        with tempfile.TemporaryDirectory() as folder:  # every epoch's weights are written, whether wanted or not
            training = TrainingConfig(device="cpu", output_dir=folder)
            if has_teacher:
                distiller = GeneralDistiller(training, distilling, teacher, ImagesOnly(network), adaptor, adaptor)
            else:
                distiller = BasicTrainer(training, ImagesOnly(network), adaptor)
            with distiller:
                distiller.train(
                    optimiser, loader, num_epochs=num_epochs, callback=lambda model, step: best.look(network)
                )
        return best.restore(network)

    return did_it_help(train, seeds, data["test"])


if __name__ == "__main__":
    print(main())

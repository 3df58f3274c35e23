"""The job by timm's ``LogitDistillationTask`` (timm 1.0.31).

Run: python examples/coming_from/with_timm.py
"""

from __future__ import annotations

import job
import torch
from evidence import BestEpoch, did_it_help
from timm.task import LogitDistillationTask
from torch import nn
from torch.nn import functional as F


def main(seeds: range = job.SEEDS, num_epochs: int = job.NUM_EPOCHS) -> str:
    """Return what came out."""
    data = job.digits()
    teacher = as_timm(job.trained_teacher(*data["elsewhere"]).requires_grad_(False))
    images, labels = data["train"]

    def train(seed: int, has_teacher: bool) -> nn.Module:
        torch.manual_seed(seed)
        network, best = as_timm(job.student_network()), BestEpoch(data["validation"])
        task = LogitDistillationTask(
            student_model=network,
            teacher_model=teacher,
            criterion=nn.CrossEntropyLoss(),
            distill_loss_weight=job.SOFT_WEIGHT,
            task_loss_weight=job.HARD_WEIGHT,
            temperature=job.TEMPERATURE,
            verbose=False,
        )
        optimiser = torch.optim.SGD(network.parameters(), lr=job.LEARNING_RATE, momentum=0.9, nesterov=True)
        for _ in range(num_epochs):
            task.train()
            for batch in torch.randperm(len(labels)).split(job.BATCH_SIZE):
                if has_teacher:
                    loss = task(images[batch], labels[batch])["loss"]
                else:
                    loss = F.cross_entropy(network(images[batch]), labels[batch])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            best.look(network)
        return best.restore(network)

    return did_it_help(train, seeds, data["test"])


def as_timm(network: nn.Module) -> nn.Module:
    """Say of a network what timm's own say: classes, channels, normalisation."""
    network.num_classes, network.in_chans = 10, 1
    network.pretrained_cfg = {"mean": (0.0,), "std": (1.0,)}
    return network


if __name__ == "__main__":
    print(main())

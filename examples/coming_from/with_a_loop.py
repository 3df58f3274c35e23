"""The job by a loop that is written by hand.

Run: python examples/coming_from/with_a_loop.py
"""

from __future__ import annotations

import job
import torch
from evidence import BestEpoch, did_it_help
from torch import nn
from torch.nn import functional as F


def main(seeds: range = job.SEEDS, num_epochs: int = job.NUM_EPOCHS) -> str:
    """Return what came out."""
    data = job.digits()
    teacher = job.trained_teacher(*data["elsewhere"]).eval().requires_grad_(False)
    images, labels = data["train"]

    def train(seed: int, has_teacher: bool) -> nn.Module:
        torch.manual_seed(seed)
        network, best = job.student_network(), BestEpoch(data["validation"])
        optimiser = torch.optim.SGD(network.parameters(), lr=job.LEARNING_RATE, momentum=0.9, nesterov=True)
        for _ in range(num_epochs):
            network.train()
            for batch in torch.randperm(len(labels)).split(job.BATCH_SIZE):
                logits = network(images[batch])
                loss = F.cross_entropy(logits, labels[batch])
                if has_teacher:
                    with torch.no_grad():
                        teacher_logits = teacher(images[batch])
                    log_q = F.log_softmax(logits / job.TEMPERATURE, dim=1)
                    log_p = F.log_softmax(teacher_logits / job.TEMPERATURE, dim=1)
                    soft = F.kl_div(log_q, log_p, log_target=True, reduction="batchmean")
                    loss = job.HARD_WEIGHT * loss + job.SOFT_WEIGHT * job.TEMPERATURE**2 * soft
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            best.look(network)
        return best.restore(network)

    return did_it_help(train, seeds, data["test"])


if __name__ == "__main__":
    print(main())

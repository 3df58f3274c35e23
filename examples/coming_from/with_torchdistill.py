"""The job by torchdistill (1.1.5), its configuration as a dictionary in place of a YAML file.

Run: python examples/coming_from/with_torchdistill.py
"""

from __future__ import annotations

from typing import Any

import job
import torch
from evidence import BestEpoch, did_it_help
from torch import nn
from torch.utils.data import RandomSampler, TensorDataset
from torchdistill.core.distillation import get_distillation_box
from torchdistill.core.training import get_training_box

DISTILLING = {
    "criterion": {
        "key": "KDLoss",
        "kwargs": {
            "student_module_path": ".",
            "student_module_io": "output",
            "teacher_module_path": ".",
            "teacher_module_io": "output",
            "temperature": job.TEMPERATURE,
            "alpha": job.HARD_WEIGHT,  # of the labels
            "beta": job.SOFT_WEIGHT,
        },
    },
    "weight": 1.0,
}
LABELS_ALONE = {
    "criterion": {"key": "CrossEntropyLoss", "kwargs": {}},
    "criterion_wrapper": {
        "key": "SimpleLossWrapper",
        "kwargs": {
            "input": {"is_from_teacher": False, "module_path": ".", "io": "output"},
            "target": {"uses_label": True},
        },
    },
    "weight": 1.0,
}


def main(seeds: range = job.SEEDS, num_epochs: int = job.NUM_EPOCHS) -> str:
    """Return what came out."""
    data = job.digits()
    teacher = job.trained_teacher(*data["elsewhere"]).eval()  # torchdistill leaves its mode as it is

    def train(seed: int, has_teacher: bool) -> nn.Module:
        torch.manual_seed(seed)
        network, best = job.student_network(), BestEpoch(data["validation"])
        box = box_for(network, teacher if has_teacher else None, TensorDataset(*data["train"]), num_epochs)
        for epoch in range(num_epochs):
            box.pre_epoch_process(epoch=epoch)
            for images, labels, extras in box.train_data_loader:
                loss = box.forward_process(images, labels, extras)
                box.post_forward_process(loss=loss)
            box.post_epoch_process()
            best.look(network)
        return best.restore(network)

    return did_it_help(train, seeds, data["test"])


def box_for(network: nn.Module, teacher: nn.Module | None, train: TensorDataset, num_epochs: int) -> Any:
    """Return the box that trains a network, with or without a teacher."""
    term = LABELS_ALONE if teacher is None else DISTILLING
    config: dict[str, Any] = {
        "num_epochs": num_epochs,
        "train_data_loader": {
            "dataset_id": "train",
            "sampler": {"class_or_func": RandomSampler},
            "kwargs": {"batch_size": job.BATCH_SIZE, "num_workers": 0},
        },
        "optimizer": {"key": "SGD", "kwargs": {"lr": job.LEARNING_RATE, "momentum": 0.9, "nesterov": True}},
        "criterion": {"key": "WeightedSumLoss", "kwargs": {"sub_terms": {"term": term}}},
    }
    rest = ({"train": train}, config, torch.device("cpu"), None, False, 1)
    if teacher is None:
        config["model"] = {"requires_grad": True, "forward_proc": "forward_batch_only"}
        return get_training_box(network, *rest)
    config["teacher"] = {"requires_grad": False, "forward_proc": "forward_batch_only"}
    config["student"] = {"requires_grad": True, "forward_proc": "forward_batch_only"}
    return get_distillation_box(teacher, network, *rest)


if __name__ == "__main__":
    print(main())

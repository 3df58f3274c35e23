"""Losses, teachers and stores for training loops that are not Limbeck's: one object, and thin adapters around it."""

from limbeck.integrations.distillation_loss import DistillationLoss
from limbeck.integrations.lightning import lightning_training_step
from limbeck.integrations.trainer import trainer_compute_loss

__all__ = ["DistillationLoss", "lightning_training_step", "trainer_compute_loss"]

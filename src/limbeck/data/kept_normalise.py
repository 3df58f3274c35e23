"""Normalisations kept in the cache, so that samples that are read on demand are measured once, not at every start."""

from __future__ import annotations

import torch

from limbeck.data.downloads import cache_folder
from limbeck.data.normalise import Normalise
from limbeck.data.samples import Samples
from limbeck.data.sealed_tensors import keep, read_kept

FORMAT = "limbeck-normalise 1"


def fit_or_recall(samples: Samples) -> Normalise:
    """Return :meth:`Normalise.fit`, from the cache where samples of the same fingerprint were measured before.

    Samples in memory are measured again, which takes a moment, as are those that may differ when they are read again.

    Args:
        samples: usually the training split; raw.
    Raises:
        InvalidValue: see :meth:`Normalise.fit`.
    """
    if samples.in_memory or not samples.is_replayable:
        return Normalise.fit(samples)
    path = cache_folder() / "normalisations" / f"{samples.inputs_fingerprint[:32]}.safetensors"
    kept = read_kept(path, format_name=FORMAT)
    if kept is None:
        fitted = Normalise.fit(samples)
        numbers = {
            "mean": torch.tensor(fitted.mean, dtype=torch.float64),
            "std": torch.tensor(fitted.std, dtype=torch.float64),
        }
        keep(path, {}, numbers, format_name=FORMAT)
        return fitted
    return Normalise(tuple(kept[1]["mean"].tolist()), tuple(kept[1]["std"].tolist()))

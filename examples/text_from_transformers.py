"""Text: a transformer of Hugging Face learns 150 intents, and one of a tenth of its size learns from it.

Run: LIMBECK_DATA=../shared/data python examples/text_from_transformers.py
Needs pip install 'limbeck[hf]', and intents.tar.gz (CLINC150) in LIMBECK_DATA. Nothing is downloaded.
"""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path

from transformers import DistilBertConfig, DistilBertForSequenceClassification

import limbeck
from limbeck.data import as_samples, pad_collate


def bert(classes: int, width: int, layers: int) -> DistilBertForSequenceClassification:
    """Build a small BERT with random weights; limbeck takes the ``.logits`` of what it returns."""
    size = DistilBertConfig(vocab_size=5000, dim=width, hidden_dim=2 * width, n_layers=layers, num_labels=classes)
    return DistilBertForSequenceClassification(size)


def teacher(num_classes: int) -> DistilBertForSequenceClassification:
    """Return the network that is trained on the labels first; one that is trained already is given as it is."""
    return bert(num_classes, width=192, layers=2)


def student(num_classes: int) -> DistilBertForSequenceClassification:
    """Return a new student, once for each seed."""
    return bert(num_classes, width=24, layers=1)


def main(out: Path | None = None, num_labelled: int = 3000, num_epochs: int = 10, seeds: int = 3) -> str:
    """Read and tokenise the questions, train both networks; return the summary."""
    with tarfile.open(Path(os.environ["LIMBECK_DATA"]) / "intents.tar.gz") as files:
        texts = json.load(files.extractfile("intents/clinc150/data/data_small.json"))
    # Any tokenizer will do. Here a word is its place among all words; 0 is padding, 1 an unknown word.
    ids = {word: 2 + k for k, word in enumerate(sorted({w for text, _ in texts["train"] for w in text.split()}))}
    data = {}
    for split in ("train", "test"):
        rows = [{"input_ids": [ids.get(w, 1) for w in text.split()], "label": label} for text, label in texts[split]]
        data[split] = as_samples(rows, name=split, collate=pad_collate(0))  # pads each batch, and makes attention_mask
    result = limbeck.distill(
        student,
        teachers=teacher,
        train=data,
        num_labelled=num_labelled,  # of 7,500; the student also sees the others, with the teacher's outputs
        temperature=2,
        recipe=limbeck.TrainConfig(num_epochs=num_epochs, batch_size=32, optimiser="adamw", learning_rate=0.01),
        teacher_recipe=limbeck.TrainConfig(num_epochs=num_epochs, batch_size=32, optimiser="adamw", learning_rate=1e-3),
        seeds=seeds,
        out=out,
    )
    print(result.summary())
    return result.summary()


if __name__ == "__main__":
    main(Path("runs/example-text"))

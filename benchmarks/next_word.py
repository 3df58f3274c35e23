"""A real teacher of 14,000 classes from text that lies on any machine with Python: what word comes next?

The text is the standard library's own: docstrings, comments and the language reference of ``pydoc``. The model
reads the last four words: embeddings, one hidden layer, a linear layer over the vocabulary.
"""

from __future__ import annotations

import ast
import re
import sysconfig
import time
import warnings
from collections import Counter
from pathlib import Path

import torch
from torch import Tensor, nn

VOCABULARY = 14_000
CONTEXT = 4
HELD_OUT = 10  # every tenth document is never trained on
WORD = re.compile(r"[A-Za-z]+|\d|[^\w\s]|_")
COMMENT = re.compile(r"(?m)(?:^\s*#.*\n)+")


def documents() -> list[str]:
    """Return the standard library's documentation, each text once, in a fixed order."""
    texts: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of invalid escapes in old sources
        for path in sorted(Path(sysconfig.get_paths()["stdlib"]).rglob("*.py")):
            if "site-packages" not in path.parts:
                texts.extend(_texts(path))
    from pydoc_data.topics import topics

    texts.extend(topics[name] for name in sorted(topics))
    return list(dict.fromkeys(texts))


def _texts(path: Path) -> list[str]:
    try:
        source = path.read_text(encoding="utf-8")
        tree = ast.parse(source)
    except (OSError, ValueError, SyntaxError):
        return []
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, owners)]
    found.extend(COMMENT.findall(source))
    return [text for text in found if text.strip()]


def contexts(*, held_out: bool) -> tuple[Tensor, Tensor]:
    """Return the four words before each word, int64 (n, 4), and the word itself, int64 (n,)."""
    tokens = [WORD.findall(text) for text in documents()]
    counts = Counter(word for words in tokens for word in words)
    index = {word: rank for rank, (word, _) in enumerate(counts.most_common(VOCABULARY - 1), start=1)}  # 0 is <unk>
    windows, nexts = [], []
    for number, words in enumerate(tokens):
        if words and (number % HELD_OUT == 0) == held_out:
            ids = [0] * CONTEXT + [index.get(word, 0) for word in words]
            windows.append(torch.tensor(ids).unfold(0, CONTEXT + 1, 1)[:, :CONTEXT])
            nexts.append(torch.tensor(ids[CONTEXT:]))
    return torch.cat(windows), torch.cat(nexts)


class NextWord(nn.Module):
    """Logits over the vocabulary from the last four words."""

    def __init__(self, *, embedding: int = 96, hidden: int = 256) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, embedding)
        self.hidden = nn.Linear(CONTEXT * embedding, hidden)
        self.output = nn.Linear(hidden, VOCABULARY)

    def forward(self, words: Tensor) -> Tensor:
        """Return logits, float32 (batch, vocabulary), of contexts, int64 (batch, 4)."""
        return self.output(torch.tanh(self.hidden(self.embedding(words).flatten(1))))


def train(*, seconds: float, hidden: int = 256, seed: int = 0) -> NextWord:
    """Train for a time on the CPU, and say how good it is on text that it never saw."""
    torch.manual_seed(seed)
    words, labels = contexts(held_out=False)
    model = NextWord(hidden=hidden)
    nn.init.zeros_(model.output.weight)
    with torch.no_grad():  # start from the words' frequencies
        model.output.bias.copy_((torch.bincount(labels, minlength=VOCABULARY) + 0.1).log())
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
    start, losses = time.perf_counter(), []
    while (elapsed := time.perf_counter() - start) < seconds:
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * max(0.02, 1 - elapsed / seconds)
        batch = torch.randint(len(words), (512,))
        loss = nn.functional.cross_entropy(model(words[batch]), labels[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    print(f"{len(losses)} steps of 512 on {len(words)} words; training loss {sum(losses[-20:]) / 20:.3f} nats")
    return model.eval()


def held_out_logits(model: NextWord, *, count: int, seed: int = 0) -> Tensor:
    """Return logits, float32 (count, 14000), on random contexts of held-out documents."""
    words, labels = contexts(held_out=True)
    chosen = torch.randperm(len(words), generator=torch.Generator().manual_seed(seed))[:count]
    with torch.no_grad():
        logits = torch.cat([model(part) for part in words[chosen].split(512)])
    loss = nn.functional.cross_entropy(logits, labels[chosen])
    right = (logits.argmax(dim=1) == labels[chosen]).float().mean()
    print(f"held out: {len(words)} words, {count} measured; loss {loss:.3f} nats, top-1 accuracy {right:.3f}")
    return logits

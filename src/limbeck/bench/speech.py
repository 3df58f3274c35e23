"""Speech: features and decoding against the length of the speech, gathering of windows against a training step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from limbeck.bench.timing import interleaved, machine_facts, reached, seconds_by_way
from limbeck.data import Context, Samples, Views, frame_samples
from limbeck.errors import MissingPackage, require_positive
from limbeck.models import build
from limbeck.speech import (
    Corpus,
    Decoder,
    DecodingScales,
    Lexicon,
    Utterance,
    language_model,
    log_mel,
)

SAMPLE_RATE = 16_000
NUM_PHONES, NUM_WORDS, PHONES_A_WORD, NUM_COEFFICIENTS = 33, 99, 4, 13  # as AN4's
BATCH_SIZE, NUM_BATCHES = 256, 20
NETWORK = "mlp:widths=256x256x256"
TARGETS = {"features": 1 / 300, "gathering": 0.05, "decoding": 1 / 50}


def run(*, num_seconds: float = 30.0, num_rounds: int = 7, seed: int = 0) -> dict[str, Any]:
    """Time features of noise, gathering of windows, and decoding of random scores through a loop of 99 words.

    The search is exact, so that it takes as long for random scores as for any.

    Args:
        num_seconds: of speech.
        num_rounds: how often each is timed.
        seed: of noise and scores.
    Returns:
        JSON-able: ``name``, ``settings``, ``floor``, ``seconds``, ``ratios`` (features and decoding: seconds for a
        second of speech; gathering: its share of a training step), ``targets``, ``reached`` and ``machine``. Features
        are left out where kaldi-native-fbank is not installed.
    Raises:
        InvalidValue: no seconds or rounds.
    """
    require_positive("num_seconds", num_seconds)
    random = np.random.default_rng(seed)
    num_frames = int(100 * num_seconds)
    corpus = _corpus(num_frames, random)
    samples = frame_samples(corpus, corpus.train, context=Context(), name="bench")
    orders = torch.randint(len(samples), (NUM_BATCHES, BATCH_SIZE), generator=torch.Generator().manual_seed(seed))
    decoder = _decoder(corpus.lexicon)
    scores = {"bench": random.normal(size=(num_frames, corpus.lexicon.num_states)).astype(np.float32)}
    ways: dict[str, Callable[[], object]] = {
        "gathering": lambda: [Views().batch(samples, order, view=None) for order in orders],
        "steps": _steps(samples, orders, seed),
        "decoding": lambda: decoder.decode(scores),
    }
    waveform = (0.1 * random.normal(size=int(SAMPLE_RATE * num_seconds))).astype(np.float32)
    try:
        log_mel(waveform[:SAMPLE_RATE], sample_rate=SAMPLE_RATE)
        ways["features"] = lambda: log_mel(waveform, sample_rate=SAMPLE_RATE)
    except MissingPackage:
        pass
    timings = interleaved(ways, num_rounds=num_rounds, warmup=1)
    ratios: dict[str, float] = {
        name: timings[name].median_seconds / num_seconds for name in ("features", "decoding") if name in timings
    }
    ratios["gathering"] = timings["gathering"].ratio_to(timings["steps"])
    targets = {name: TARGETS[name] for name in ratios}
    return {
        "name": "speech",
        "settings": {
            "num_seconds": num_seconds,
            "network": NETWORK,
            "batch_size": BATCH_SIZE,
            "num_batches": NUM_BATCHES,
            "num_words": NUM_WORDS,
            "seed": seed,
        },
        "floor": f"{num_seconds:g} s of speech; gathering against {NUM_BATCHES} training steps",
        "seconds": seconds_by_way(timings),
        "ratios": ratios,
        "targets": targets,
        "reached": reached(ratios, targets),
        "machine": machine_facts(),
    }


def _corpus(num_frames: int, random: np.random.Generator) -> Corpus:
    phones = [f"P{number}" for number in range(NUM_PHONES)]
    lexicon = Lexicon({f"W{number:02d}": [tuple(random.choice(phones, PHONES_A_WORD))] for number in range(NUM_WORDS)})
    features = random.normal(size=(num_frames, NUM_COEFFICIENTS)).astype(np.float32)
    alignment = random.integers(lexicon.num_states, size=num_frames)
    return Corpus("bench", (Utterance("bench", "bench", (), features, alignment),), (), lexicon)


def _decoder(lexicon: Lexicon) -> Decoder:
    stay = np.full(lexicon.num_states, np.log(0.5))
    return Decoder(lexicon, language_model("bigram", lexicon.words, [lexicon.words]), stay, DecodingScales())


def _steps(samples: Samples, orders: torch.Tensor, seed: int) -> Callable[[], object]:
    torch.manual_seed(seed)
    network = build(NETWORK, input_shape=samples.input_shape, num_classes=samples.num_classes)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, nesterov=True)

    def steps() -> None:
        for order in orders:
            batch = Views().batch(samples, order, view=None)
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(network(batch.inputs), batch.labels).backward()  # type: ignore[no-untyped-call]
            optimiser.step()

    return steps

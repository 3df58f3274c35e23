"""The search for words against kaldi-decoder, on AN4's development speakers: the same words, and the time for a frame.

    pip install kaldi-decoder kaldifst jiwer
    LIMBECK_DATA=DIR OMP_NUM_THREADS=1 python benchmarks/speech_decoder.py

``DIR`` holds ``an4-mfcc.tar.gz``. The scores are those of single Gaussians; the graph, with a bigram, is the same for
both: ours as a ``WordGraph``, theirs as a weighted transducer made of it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import kaldi_decoder
import kaldifst
import numpy as np

from limbeck.data import load_corpus
from limbeck.speech import WordGraph, align_with_mixtures, best_path, language_model, loop_graph, normalised
from limbeck.speech.features import with_differences
from limbeck.speech.mixtures import StateMixtures

NUM_UTTERANCES, ACOUSTIC_SCALE, PENALTY = 40, 0.2, -2.0
BEAMS = (16.0, 30.0, 60.0, 200.0)


def transducer(graph: WordGraph) -> Any:
    """Return the graph as a transducer: a state is read on the arc into its place, a word written on its first."""
    layout, fst = graph.layout, kaldifst.StdVectorFst()
    count, num_histories = layout.num_word_chains, graph.num_words + 1
    places = [fst.add_state() for _ in layout.states]
    after_word = [fst.add_state() for _ in range(num_histories)]
    after = [fst.add_state() for _ in range(num_histories)]
    fst.start = after_word[0]

    def arc(source: int, state: int, word: int, score: float, target: int) -> None:
        fst.add_arc(source, kaldifst.StdArc(state, word, -float(score), target))

    for place, node in enumerate(places):
        arc(node, int(layout.states[place]) + 1, 0, layout.stay[place], node)
    for chain, (first, last) in enumerate(zip(layout.first, layout.last, strict=True)):
        for place in range(first, last):
            arc(places[place], int(layout.states[place + 1]) + 1, 0, layout.go[place], places[place + 1])
        end = after_word[graph.chain_words[chain] + 1] if chain < count else after[chain - count]
        arc(places[last], 0, 0, layout.go[last], end)
    for history in range(num_histories):
        silence = layout.first[count + history]
        arc(after_word[history], 0, 0, 0.0, after[history])
        arc(after_word[history], int(layout.states[silence]) + 1, 0, 0.0, places[silence])
        for chain, first in enumerate(layout.first[:count]):
            word = int(graph.chain_words[chain])
            arc(
                after[history], int(layout.states[first]) + 1, word + 1, graph.transitions[history, word], places[first]
            )
        fst.set_final(after[history], -float(graph.ends[history]))
    return fst


def decode(fst: Any, scores: np.ndarray, beam: float, names: Sequence[str]) -> tuple[str, ...]:
    """Return the words that kaldi-decoder finds."""
    options = kaldi_decoder.FasterDecoderOptions()
    options.max_active, options.beam = 1_000_000, beam
    decoder = kaldi_decoder.FasterDecoder(fst, options)
    decoder.decode(kaldi_decoder.DecodableCtc(np.ascontiguousarray(scores, dtype=np.float32)))
    _, best = decoder.get_best_path()
    return tuple(names[number - 1] for number in kaldifst.get_linear_symbol_sequence(best)[2])


def main() -> None:
    """Print a line for ours and for each beam."""
    corpus = normalised(load_corpus("an4").with_development(8))
    aligned = align_with_mixtures(corpus, schedule=(1, 1, 1, 1))
    features = {one.name: with_differences(one.features) for one in corpus.utterances}
    mixtures = StateMixtures.fit(
        np.concatenate([features[one.name] for one in corpus.train]),
        np.concatenate([aligned.alignments[one.name] for one in corpus.train]),
        num_states=corpus.lexicon.num_states,
        num_components=1,
    )
    model = language_model("bigram", corpus.lexicon.words, [one.words for one in corpus.train])
    graph = loop_graph(corpus.lexicon, *model.scaled(insertion_penalty=PENALTY), aligned.stay)
    asked = [ACOUSTIC_SCALE * mixtures.log_likelihoods(features[one.name]) for one in corpus.development]
    asked = asked[:NUM_UTTERANCES]
    num_frames = sum(map(len, asked))
    start = time.perf_counter()
    ours = [best_path(graph, scores).text for scores in asked]
    print(f"ours, exact: {1e6 * (time.perf_counter() - start) / num_frames:.0f} µs a frame, {num_frames:,} frames")
    fst = transducer(graph)
    for beam in BEAMS:
        start = time.perf_counter()
        theirs = [decode(fst, scores, beam, graph.word_names) for scores in asked]
        seconds = time.perf_counter() - start
        same = sum(one == other for one, other in zip(ours, theirs, strict=True))
        print(
            f"kaldi-decoder, beam {beam:g}: {1e6 * seconds / num_frames:.0f} µs a frame, {same} of {len(asked)} alike"
        )


if __name__ == "__main__":
    main()

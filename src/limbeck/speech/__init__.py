"""Speech: corpora, features, hidden Markov models, alignment, decoding, word errors; networks give the scores."""

from limbeck.speech.alignment import (
    Aligned,
    align_with_mixtures,
    read_alignments,
    realign,
    write_alignments,
)
from limbeck.speech.an4 import read_an4
from limbeck.speech.corpus import Corpus, Utterance, speakers_of
from limbeck.speech.decoding import Decoder, DecodingScales, as_log_likelihoods, choose_scales
from limbeck.speech.digits import StringSettings, read_digits
from limbeck.speech.features import energies_from_cepstra, log_mel, normalised
from limbeck.speech.graph import BestPath, WordGraph, alignment_graph, best_path, loop_graph
from limbeck.speech.kaldi import read_kaldi, write_kaldi
from limbeck.speech.language import LanguageModel, language_model
from limbeck.speech.lexicon import SILENCE, Lexicon
from limbeck.speech.scoring import Interval, WordErrors, mean_errors, rate_difference, rate_interval, word_errors
from limbeck.speech.tying import tie_states
from limbeck.speech.versions import other_version, stretched, warped_cepstra
from limbeck.speech.waveforms import read_waveform

__all__ = [
    "SILENCE",
    "Aligned",
    "BestPath",
    "Corpus",
    "Decoder",
    "DecodingScales",
    "Interval",
    "LanguageModel",
    "Lexicon",
    "StringSettings",
    "Utterance",
    "WordErrors",
    "WordGraph",
    "align_with_mixtures",
    "alignment_graph",
    "as_log_likelihoods",
    "best_path",
    "choose_scales",
    "energies_from_cepstra",
    "language_model",
    "log_mel",
    "loop_graph",
    "mean_errors",
    "normalised",
    "other_version",
    "rate_difference",
    "rate_interval",
    "read_alignments",
    "read_an4",
    "read_digits",
    "read_kaldi",
    "read_waveform",
    "realign",
    "speakers_of",
    "stretched",
    "tie_states",
    "warped_cepstra",
    "word_errors",
    "write_alignments",
    "write_kaldi",
]

"""Limbeck distils trained classifiers into one small network, with evidence that it was worth it."""

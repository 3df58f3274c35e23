"""Compressed clips: I-frames, motion vectors and residuals, as mappings that any network can look at."""

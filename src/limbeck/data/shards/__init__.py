"""Samples inside tar files, as WebDataset lays them out: indexed once, read by position."""

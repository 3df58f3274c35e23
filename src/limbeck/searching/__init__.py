"""The smallest student that is good enough: candidates and settings searched on validation, winners on fresh seeds."""

from limbeck.searching.job import SearchJob, SearchResult, search

__all__ = ["SearchJob", "SearchResult", "search"]

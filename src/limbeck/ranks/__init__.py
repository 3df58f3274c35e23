"""The processes that torchrun started for one job: one student's ranks, or one process alone.

Modules are imported by name: ``launched`` knows no torch, so that a command line can ask it first.
"""

"""Sweeps: the same experiment with other values, each in a workdir and a process of its own.

    entries      what is run: a grid from the command line, or what `get_sweep()` returns
    execution    one entry after the other, each until it is finished
    results      what came out: a table, a CSV file and a picture

An entry is known by the folder of its values, so that a sweep may grow and go on.
"""

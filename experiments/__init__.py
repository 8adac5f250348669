"""Configs, one file an experiment: `get_config(arg=None)`; its docstring tells what to expect."""

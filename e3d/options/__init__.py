"""What a key of a config is: its default, its meaning and what is allowed, declared where it is used.

rules       what a value may be, in words and as a test
option      `option(default, meaning, rule)`: a field of a dataclass that is a key of a config
flat        configs by 'section.key', and in what two of them differ
tables      models, data sets and tasks enter themselves by name

A section of a config is a dataclass of options: the class of a model, of a data set, of the loss of a
task, or one of those that every config has (`e3d/configuration/sections.py`).
"""

"""In what two configs differ, and what to say of a key that does not exist."""

import difflib
from collections.abc import Iterable

from ml_collections import ConfigDict

from e3d.configuration.sections import all_options
from e3d.options.flat import flatten, list_differences

# Keys, or sections, with which a run may go on, and that change what its evaluation measures; of these
# sections some keys do not.
_MEASURED = ('evaluation.', 'dataset.test_path', 'model.precision')
_UNMEASURED = ('evaluation.batch_size', 'evaluation.figures', 'evaluation.num_samples')


def describe_unknown_key(key: str, known: Iterable[str]) -> str:
    """One line for a key that does not exist, with those that look like it or stand beside it."""
    known = list(known)
    section, _, name = key.rpartition('.')
    names = [other.rpartition('.')[2] for other in known if other.rpartition('.')[0] == section]
    if section and names:
        close = difflib.get_close_matches(name, names, 3) or names
        candidates = [f'{section}.{other}' for other in close]
    else:
        candidates = difflib.get_close_matches(key, known, 3) or known
    return f'{key}: there is no such key; did you mean {", ".join(candidates)}?'


def changeable_keys() -> set[str]:
    """The keys that do not change what is learned, so that a run may go on with other values."""
    return {key for key, option in all_options().items() if option.changeable}


def find_differences(stored: ConfigDict, config: ConfigDict) -> list[str]:
    """What keeps a run with the config `stored` from going on with `config`, a line for each key.

    Changeable keys may differ, and train.steps as well, unless the learning rate depends on it.
    """
    free = changeable_keys()
    schedules = {flatten(side).get('optimizer.schedule') for side in (stored, config)}
    if schedules == {'constant'}:
        free.add('train.steps')
    return list_differences(stored, config, free)


def measures_the_same(stored: ConfigDict, config: ConfigDict) -> bool:
    """Whether a finished run of the config `stored` has the numbers that `config` asks for."""
    measured = {key for key in changeable_keys() if key.startswith(_MEASURED)}
    free = changeable_keys() - measured | {*_UNMEASURED}
    return not list_differences(stored, config, free)

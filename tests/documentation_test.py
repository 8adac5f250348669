"""What the documents say of the program is true of it."""

import pathlib

from e3d.configuration import all_options
from e3d.configuration.documentation import document

ROOT = pathlib.Path(__file__).parent.parent


def test_the_page_of_keys_is_current():
    page = (ROOT / 'docs' / 'config.md').read_text(encoding='utf-8')
    assert page == document(), 'python -m e3d.configuration.documentation > docs/config.md'


def test_every_key_has_a_meaning_and_stands_on_the_page():
    page = document()
    for key, option in all_options().items():
        if not key.endswith('.name') and key != 'task':
            assert option.meaning, key
            assert f'| {key}' in page, key


def test_defaults_are_allowed():
    named = {'name', 'dataset.name'}  # which an experiment gives
    for key, option in all_options().items():
        assert key in named or option.rule.accepts(option.default), key

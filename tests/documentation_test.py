"""What the documents say of the program is true of it."""

import pathlib
import re

import e3d
from e3d.configuration import all_options, list_experiments
from e3d.configuration.documentation import document
from e3d.data.sources.dataset import DATASETS

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


def test_every_public_name_is_on_the_page_of_the_api():
    page = (ROOT / 'docs' / 'api.md').read_text(encoding='utf-8')
    assert sorted(re.findall(r'^::: e3d\.(\w+)$', page, re.MULTILINE)) == sorted(dir(e3d))


def test_every_data_set_is_on_their_page():
    page = (ROOT / 'docs' / 'datasets.md').read_text(encoding='utf-8')
    for name in DATASETS:
        assert f'| `{name}` |' in page, name


def test_every_experiment_is_on_their_page():
    page = (ROOT / 'docs' / 'experiments.md').read_text(encoding='utf-8')
    for path in list_experiments():
        assert f'`{path}`' in page, path


def test_every_page_is_in_the_contents_of_the_site():
    contents = (ROOT / 'mkdocs.yml').read_text(encoding='utf-8')
    for page in (ROOT / 'docs').glob('*.md'):
        assert f': {page.name}\n' in contents, page.name

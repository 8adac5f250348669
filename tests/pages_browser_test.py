"""Pages in a real browser: nothing fails to load, nothing goes wrong, the player moves."""

import re
import shutil
import subprocess

import pytest
from page_fixtures import HOSTILE, RAIN, make_content, recognition_content, shown_sequence

from e3d.pages.document import render

NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome')
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)

pytestmark = pytest.mark.skipif(BROWSER is None, reason='there is no Chromium here')

PAGES = {
    'forecast': lambda: [make_content()],
    'flows with gaps': lambda: [
        make_content(
            shown=[shown_sequence(2, valid=shown_sequence(2).frames > 0.2, title=HOSTILE)],
            scale=RAIN,
            channels=(HOSTILE, 'outflow'),
        )
    ],
    'recognition': lambda: [recognition_content()],
    'several': lambda: [make_content('a'), make_content('b', model__features=9)],
}


def opened(page, milliseconds):
    """The document after so long, on the browser's own clock, and what it complains of."""
    options = ('--headless', '--no-sandbox', '--disable-gpu', '--enable-logging=stderr')
    done = subprocess.run(
        [BROWSER, *options, f'--virtual-time-budget={milliseconds}', '--dump-dom', page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.stdout, [line for line in done.stderr.splitlines() if 'CONSOLE' in line]


@pytest.mark.parametrize('kind', PAGES)
def test_the_player_moves_and_nothing_fails(tmp_path, kind):
    page = tmp_path / 'report.html'
    page.write_text(render(PAGES[kind]()), encoding='utf-8')
    document, complaints = opened(page, 500)
    assert not complaints
    assert 'data-ready="yes"' in document
    assert int(re.search(r'<output id="time">t = (\d+) of', document)[1]) > 1
    assert len(re.findall('<canvas', document)) == {
        'forecast': 4, 'flows with gaps': 8, 'recognition': 1, 'several': 6,
    }[kind]  # fmt: skip
    assert '<script>alert' not in document

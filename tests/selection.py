"""Which cases of a test are run each time, and which only with `-m slow`."""

import sys
from collections.abc import Collection, Iterable

import pytest

# Of tests that look at what macOS does not have, as /proc and /dev/full.
ON_LINUX = pytest.mark.skipif(sys.platform != 'linux', reason='of Linux alone')


def fast(cases: Collection, among: Iterable) -> list:
    """All of `among`, in their order, for `pytest.mark.parametrize`.

    Those that are none of `cases` are marked slow: what they promise is promised by a case that is
    run each time, too.
    """
    among = list(among)
    assert all(case in among for case in cases), cases
    marks = [() if case in cases else pytest.mark.slow for case in among]
    values = [case if isinstance(case, tuple) else (case,) for case in among]
    return [pytest.param(*value, marks=mark) for value, mark in zip(values, marks, strict=True)]

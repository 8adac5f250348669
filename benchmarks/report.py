"""Writes RESULTS.md and the pages and pictures of results/ again, from the numbers that are kept there.

    python -m benchmarks.report

A study writes its own pages after each run; this is for all of them, and for the tables of claims,
which need the numbers of several.
"""

import argparse

from benchmarks import bikenyc_study, claims, finished_runs, recognition_study, study
from benchmarks.finished_runs import ROOT

SUMMARY = ROOT / 'RESULTS.md'


def main():
    """Writes."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    write()


def write() -> None:
    """Writes the pages of each study, and the claims."""
    numbers = {}
    for module in (study, recognition_study, bikenyc_study):
        of_study = finished_runs.read_numbers(module.NUMBERS, module.EXPERIMENTS)
        module.write(of_study)
        numbers |= of_study
    of_paper, added = claims.tables(numbers)
    finished_runs.write_section(SUMMARY, 'claims', [of_paper])
    finished_runs.write_section(study.NUMBERS.with_name('forms.md'), 'claims_added', [added])


if __name__ == '__main__':
    main()

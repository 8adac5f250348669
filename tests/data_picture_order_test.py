"""Names of pictures tell their order and where some are missing."""

from pathlib import Path

import pytest

from e3d.data.readers.picture_order import order_pictures
from e3d.errors import InputError


def order(*stems):
    return order_pictures([Path('folder') / f'{stem}.png' for stem in sorted(stems)[::-1]])


def names(pattern, *values):
    return [pattern % value for value in values]


@pytest.mark.parametrize(
    ('stems', 'gaps'),
    [
        (names('frame_%05d', 1, 2, 3, 5, 6), [3]),
        (names('%05d', 0, 10, 20, 30, 40), []),
        (names('%05d', 0, 10, 20, 40, 50), [3]),
        (names('%d', 1, 3, 5, 7, 11, 13), [4]),
        (names('%d', 1, 3, 5, 6, 8, 10), [3]),  # a step too short is no even step either
        (names('%d', 8, 9, 10, 11, 99, 100, 101), [4]),
        (['1', '002', '3', '9', '0010'], [3]),
        (names('frame %d', 9, 10), []),
        (names('frame_%d', -2, -1, 0, 1, 3), [4]),
        (['-2', '-1', '0', '1'], []),
        (['t-2', 't-1', 't0', 't1'], []),
        (names('img-%d', 8, 9, 10, 11), []),
        (['t0.5', 't0.75', 't1', 't1.25', 't1.75'], [4]),
        (['t0,5', 't1,0', 't1,5', 't2,0'], []),
        (names('t%.2f', 0.25, 0.5, 0.75, 1.0, 1.25), []),
        (['sc1.8', 'sc1.9', 'sc1.10', 'sc1.11'], []),
        (names('f_%.2f', -1.02, -1.01, -1.0, -0.99, -0.01, 0.0), [4]),
        (['sc1.9', 'sc1.10', 'sc2.8', 'sc2.9'], [2]),
        (names('f_%.2f', 9.95, 10.28, 10.94, 11.27, 11.6, 11.93, 12.59, 12.92), [2, 6]),
        (names('shot01.%04d', 8, 9, 10, 12), [3]),
        (names('v1.2.%d', 9, 10, 11), []),
        (names('image-%03d_64x64', 9, 10, 11, 13), [3]),
        (names('%d_of_12', 9, 10, 11), []),
        (names('cam2_%04d', 9, 10, 12), [2]),
        (names('1 (%d)', 9, 10, 11), []),
        (names('scene%d_frame%d', (1, 9), (1, 10), (2, 9), (2, 10), (10, 9)), [2, 4]),
        (names('scene%d_%d', (1, 9), (1, 10), (2, 11), (2, 12)), [2]),
        (names('frame_%d_%d', (2, 9), (2, 10), (10, 1), (10, 2)), [2]),
        (names('t%d_z%d', (9, 1), (10, 1), (9, 2), (10, 2)), [2]),
        (names('frame_%04d_%.3f', (1, 0.033), (2, 0.067), (3, 0.1), (4, 0.133)), []),
        (names('f_%d_score%d', (1, 3), (2, 1), (3, 3), (4, 1), (5, 3)), []),
        (names('%d', *range(1614589200, 1614590400, 300), 1614590700), [4]),
        (names('%.3f', 1305031102.9, 1305031102.935, 1305031102.966, 1305031103.004), []),
        (names('%.3f', 1305031102.9, 1305031102.935, 1305031102.966, 1305031103.034), [3]),
        (names('2021-03-01_%04d', 930, 945, 1000, 1015), []),
        (names('2021-03-01_%04d', 930, 945, 1000, 1030), [3]),
        (names('2021-03-01T%s:00Z', '09:55', '10:00', '10:05'), []),
        (names('2021-03-01 %s', '09.59.58', '09.59.59', '10.00.00'), []),
        (names('2021-0%s', '2-27', '2-28', '3-01', '3-02', '3-04'), [4]),
        (names('2021.0%s', '2.27', '2.28', '3.01'), []),
        (names('20210%d', 227, 228, 301), []),
        (names('20%d', 21022822, 21022823, 21030100), []),
        (['2021-11', '2021-12', '2022-01', '2022-03'], [3]),
        (names('%s-2021', '27-02', '28-02', '01-03'), []),
        (names('%s-2021', '01-09', '02-09', '04-09', '05-09', '07-09', '08-09'), [2, 4]),
        (names('%s-2021', '09-01', '09-02', '09-04', '09-05', '09-07', '09-08'), [2, 4]),
        (names('%s-2021', '02-27', '02-28', '03-01'), []),
        (names('IMG_20210301_%s', '093000900', '093001000', '093001100'), []),
        (names('IMG_20210301_%04d', 58, 59, 60, 61), []),
        (names('%04d', 945, 1000, 1015), []),
        (names('%04d', 59, 60, 61), []),
    ],
)
def test_numbers_dates_and_times_tell_order_and_gaps(stems, gaps):
    found = order(*stems)
    assert [file.stem for file in found.files] == stems
    assert found.gaps == gaps
    assert (f'{len(gaps)} gap' in found.account) == bool(gaps)


def test_numbers_are_those_of_the_frames():
    assert order(*names('cam2_%d_64x64', 9, 10)).numbers == [9, 10]
    assert order('f_-1', 'f_0').numbers == [-1, 0]


@pytest.mark.parametrize(
    ('stems', 'words'),
    [
        (names('%d', 1, 2), 'numbers in their names'),
        (names('%d', 10, 20), 'in steps of 10'),
        (names('%d', 10, 20, 31), 'in steps of about 1'),
        (['0.5', '1', '1.5'], 'decimal numbers in their names, in steps of 0.5'),
        (['t-1', 't0', 't1'], 'numbers with a sign'),
        (['1.5', '1.25'], 'read as decimal numbers, the order would be another'),
        (['2021-03-01', '2021-03-02'], 'dates and times'),
        (['0945', '1000', '1015'], 'times of day'),
        (['01-03-2021', '02-03-2021', '13-03-2021'], 'day first'),
        (['b', 'a'], 'alphabetical'),
    ],
)
def test_it_is_said_how_names_were_read(stems, words):
    assert words in order(*stems).account


def test_names_without_numbers_come_in_alphabetical_order():
    found = order('b', 'c', 'a')
    assert [file.stem for file in found.files] == ['a', 'b', 'c']
    assert found.numbers is None and found.gaps == []
    found = order('a9z', 'b10y', 'c1x')  # no two of one form
    assert [file.stem for file in found.files] == ['a9z', 'b10y', 'c1x']


def test_pictures_of_another_form_are_left_out_where_they_are_few():
    found = order(*names('frame_%d', *range(30)), 'cover', 'thumb_1', 'thumb_2')
    assert len(found.files) == 30
    assert [one.name for one in found.left_out] == ['cover.png', 'thumb_1.png', 'thumb_2.png']
    with pytest.raises(InputError, match=r'several series.*frame_0\.png and mask_0\.png'):
        order(*names('frame_%d', *range(9)), *names('mask_%d', *range(9)))


@pytest.mark.parametrize(
    'files', [('1.png', '001.png', '2.png'), ('1.png', '1.jpg', '2.jpg'), ('a.png', 'a.jpg')]
)
def test_two_pictures_with_one_number_are_both_named(files):
    with pytest.raises(InputError, match=r'In folder, (001|1|a)\.\w+ and (1|a)\.png have the same'):
        order_pictures([Path('folder') / file for file in files])


@pytest.mark.parametrize('stem', ['a', '5', '2021-03-01'])
def test_a_single_picture(stem):
    assert [file.stem for file in order(stem).files] == [stem]

"""Flows from ST-ResNet's files: whole days, splits in time, scaled by the training alone."""

import datetime
import pickle

import h5py
import numpy as np
import pytest

from e3d.data.sources import flow_archives
from e3d.data.sources.flow_files import Flows
from e3d.data.sources.registry import scale_of, simple_forecasts, validates_on_test, with_scale
from e3d.data.sources.scales import PIXELS, Scale
from e3d.data.sources.splits import SPLITS
from e3d.data.sources.taxibj import open_taxibj
from e3d.errors import InputError

NAME = 'NYC_M3x2_T360_NewEnd.h5'  # four slots a day
RNG = np.random.default_rng(0)


def make_dataset(path, **changes):
    return {
        'path': str(path),
        'input_frames': 2,
        'output_frames': 2,
        'test_days': 2,
        'validation_days': 1,
        'slots_per_day': None,
        **changes,
    }


def dates_of(days, per_day=4, start=datetime.date(2015, 2, 26)):
    days = [start + datetime.timedelta(days=day) for day in range(days)]
    return [f'{day:%Y%m%d}{slot:02d}'.encode() for day in days for slot in range(1, per_day + 1)]


def write_flows(path, dates, counts=None):
    """Counts rise from frame to frame, if none are given."""
    if counts is None:
        counts = np.arange(len(dates)).reshape(-1, 1, 1, 1) + np.zeros((1, 2, 3, 2))
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, 'w') as file:
        file['data'], file['date'] = counts, np.array(dates)
    return path


def first_counts(source):
    """The count at the start of each sequence, which must rise by one from frame to frame."""
    low, high = source.scale.value_range
    starts = []
    for index in range(len(source)):
        counts = source[index]['frames'][:, 0, 0, 0] * (high - low) + low
        np.testing.assert_allclose(np.diff(counts), 1, rtol=1e-4)
        starts.append(round(float(counts[0])))
    return starts


def test_splits_follow_each_other_and_forecasts_stay_within_them(tmp_path):
    dataset = make_dataset(write_flows(tmp_path / NAME, dates_of(6)))  # counts 0 .. 23
    train, validation, test = (open_taxibj(dataset, split) for split in SPLITS)
    assert first_counts(train) == list(range(9))  # frames 0 .. 11
    assert first_counts(validation) == [10, 11, 12]  # forecast 12 .. 15
    assert first_counts(test) == list(range(14, 21))  # forecast 16 .. 23


def test_scale_comes_from_the_training_alone_and_later_counts_are_not_cut(tmp_path):
    source = open_taxibj(make_dataset(write_flows(tmp_path / NAME, dates_of(6))), 'test')
    assert source.scale.value_range == (0, 11)
    last = source[len(source) - 1]['frames'][-1]
    np.testing.assert_allclose(last, 23 / 11, rtol=1e-6)
    assert last.dtype == np.float32


def test_channels_come_last_and_a_negative_count_is_none_which_is_said(tmp_path):
    dates = dates_of(6)
    counts = RNG.integers(0, 100, (len(dates), 2, 3, 2)).astype(float)
    counts[0, 1, 2, 0] = -5
    source = open_taxibj(make_dataset(write_flows(tmp_path / NAME, dates, counts)), 'train')
    assert '; 1 negative counts are taken for 0' in source.account[0]
    low, high = source.scale.value_range
    frames = source[0]['frames']
    assert (frames.shape, low) == ((4, 3, 2, 2), 0)
    expected = np.maximum(counts[:4].transpose(0, 2, 3, 1), 0) / high
    np.testing.assert_allclose(frames, expected, rtol=1e-6)


def test_no_validation_days_make_the_test_serve(tmp_path):
    dataset = make_dataset(write_flows(tmp_path / NAME, dates_of(6)), validation_days=0)
    assert first_counts(open_taxibj(dataset, 'train')) == list(range(13))
    test, validation = (open_taxibj(dataset, split) for split in ('test', 'validation'))
    assert first_counts(validation) == first_counts(test) == list(range(14, 21))
    assert validates_on_test(validation)
    assert not validates_on_test(open_taxibj(dataset | {'validation_days': 1}, 'validation'))


def test_dates_that_do_not_rise_are_put_in_order(tmp_path):
    dates = dates_of(6)
    order = np.random.default_rng(0).permutation(len(dates))
    counts = np.arange(len(dates)).reshape(-1, 1, 1, 1) + np.zeros((1, 2, 3, 2))
    path = write_flows(tmp_path / NAME, np.array(dates)[order], counts[order])
    source = open_taxibj(make_dataset(path), 'train')
    assert first_counts(source) == list(range(9))
    assert source.account[0].endswith('; its dates do not rise and were put in order')


@pytest.mark.parametrize('kind', [bytes, str, int])
def test_what_was_understood_of_a_file_is_said(tmp_path, kind):
    dates = [date.decode() if kind is str else kind(date) for date in dates_of(6)]
    del dates[5]
    counts = np.arange(len(dates)).reshape(-1, 1, 1, 1) + np.zeros((1, 2, 3, 2))
    path = tmp_path / NAME
    with h5py.File(path, 'w') as file:
        file['data'], file['other'] = counts, counts
        file.create_dataset('date', data=dates)
    assert open_taxibj(make_dataset(path), 'train').account == (
        f'{path}: data float64 [23, 2, 3, 2] read as [slots, C, H, W], 4 slots a day (T360 in its '
        'name: minutes), 2015-02-26 to 2015-03-03',
        '1 of 6 days is left out, as not all of their 4 slots are there: 2015-02-27',
        'divided by days without holes: the last 2 for testing (dataset.test_days), the 1 before '
        'for validation (dataset.validation_days), the first 2 for training',
    )


def test_days_with_holes_are_left_out_and_not_crossed(tmp_path):
    dates = dates_of(7)
    counts = np.arange(len(dates)).reshape(-1, 1, 1, 1) + np.zeros((1, 2, 3, 2))
    keep = np.arange(len(dates)) != 5  # the second slot of the second day
    path = write_flows(tmp_path / NAME, np.array(dates)[keep], counts[keep])
    source = open_taxibj(make_dataset(path), 'train')  # days 0, 2, 3
    assert first_counts(source) == [0, 8, 9, 10, 11, 12]


def test_a_missing_day_of_daily_flows_is_not_crossed(tmp_path):
    dates = dates_of(12, per_day=1)
    counts = np.arange(12).reshape(-1, 1, 1, 1) + np.zeros((1, 2, 3, 2))
    keep = np.arange(12) != 4
    path = write_flows(tmp_path / 'daily_T1440.h5', np.array(dates)[keep], counts[keep])
    source = open_taxibj(make_dataset(path, validation_days=0), 'train')
    assert first_counts(source) == [0, 5, 6]


def test_files_of_several_years_follow_each_other(tmp_path):
    early, late = datetime.date(2014, 3, 1), datetime.date(2015, 3, 1)
    dates = dates_of(3, start=early), dates_of(3, start=late)
    counts = np.arange(24).reshape(-1, 1, 1, 1) + np.zeros((1, 2, 3, 2))
    write_flows(tmp_path / 'BJ15_M3x2_T360_InOut.h5', dates[1], counts[12:])
    write_flows(tmp_path / 'BJ14_M3x2_T360_InOut.h5', dates[0], counts[:12])
    (tmp_path / 'BJ_Meteorology.h5').write_text('another matter')
    dataset = make_dataset(tmp_path, validation_days=0)
    assert first_counts(open_taxibj(dataset, 'train')) == [*range(9), 12]
    assert first_counts(open_taxibj(dataset, 'test')) == list(range(14, 21))


@pytest.mark.parametrize(('name', 'per_day'), [(NAME, None), ('flows.h5', None), ('flows.h5', 4)])
def test_slots_per_day_are_found(tmp_path, name, per_day):
    path = write_flows(tmp_path / name, dates_of(6))
    source = open_taxibj(make_dataset(path, slots_per_day=per_day), 'train')
    assert source.flows.slots_per_day == 4


def test_the_simple_forecasts_by_hour_day_and_week(tmp_path):
    dates = dates_of(16)
    day, slot = np.divmod(np.arange(len(dates)), 4)
    counts = (100 * slot + day).reshape(-1, 1, 1, 1) + np.zeros((1, 2, 3, 2))
    keep = day != 13  # so that yesterday of day 14 is day 12
    path = write_flows(tmp_path / NAME, np.array(dates)[keep], counts[keep])
    source = open_taxibj(make_dataset(path, validation_days=0), 'test')
    low, high = source.scale.value_range
    rows = [2, 3]  # of the first sequence the slots that are forecast: day 14, slots 2 and 3
    assert len(source) == 5
    forecasts = {
        name: (frames[0, :, 0, 0, 0] * (high - low) + low).round(3).tolist()
        for name, frames in source.simple_forecasts().items()
    }
    mean = np.mean(range(13))
    assert forecasts == {
        'hour_average': [100 * slot + mean for slot in rows],
        'yesterday': [100 * slot + 12 for slot in rows],
        'last_week': [100 * slot + 7 for slot in rows],
    }


def test_where_a_day_is_missing_there_is_one_as_many_weeks_before():
    days = np.setdiff1d(np.arange(100, 122), [107, 114])
    flows = Flows(np.zeros((len(days), 1, 1, 1), np.float32), days, 1)

    def before(day, count, step):
        row = flows.rows_before(np.flatnonzero(days == day), count, step).item()
        return days[row] if row >= 0 else None

    assert [before(day, 1, 1) for day in (100, 103, 108, 115)] == [None, 102, 106, 113]
    assert [before(day, 7, 7) for day in (103, 120, 121)] == [None, 113, 100]
    assert before(121, 14, 7) == 100


def test_no_calendar_forecast_takes_a_day_that_is_to_be_forecast(tmp_path):
    dates = dates_of(16)
    day, slot = np.divmod(np.arange(len(dates)), 4)
    counts = (100 * slot + day).reshape(-1, 1, 1, 1) + np.zeros((1, 2, 3, 2))
    path = write_flows(tmp_path / NAME, np.array(dates), counts)
    source = open_taxibj(make_dataset(path, output_frames=6, validation_days=0), 'test')
    low, high = source.scale.value_range
    found = source.simple_forecasts()['yesterday'][0, :, 0, 0, 0] * (high - low) + low
    # Day 14 from slot 0 to day 15, slot 1: of day 15 the day before is forecast as well.
    first = int(source.starts[0]) + 2
    last_seen = first - 1
    for lead, value in enumerate(found):
        of_day, of_slot = round(value) % 100, round(value) // 100
        assert of_slot == (first + lead) % 4
        assert 4 * of_day + of_slot <= last_seen < 4 * (of_day + 1) + of_slot


def test_calendar_forecasts_that_would_reach_too_far_back_are_left_out(tmp_path):
    path = write_flows(tmp_path / NAME, dates_of(6))
    forecasts = open_taxibj(make_dataset(path), 'test').simple_forecasts()
    assert list(forecasts) == ['hour_average', 'yesterday']


def test_sources_can_be_pickled_in_a_few_bytes(tmp_path):
    source = open_taxibj(make_dataset(write_flows(tmp_path / NAME, dates_of(60))), 'test')
    content = pickle.dumps(source)
    assert len(content) < 500
    np.testing.assert_array_equal(pickle.loads(content)[3]['frames'], source[3]['frames'])


def write_archive(path, **changes):
    arrays = {
        f'{kind}_{part}': RNG.uniform(-1, 1, (count, 4, 2, 3, 2)).astype(np.float32)
        for kind in 'XY'
        for part, count in (('train', 120), ('test', 5))
    } | changes
    np.savez(path, **arrays)
    return arrays


def test_ready_sequences_are_read_from_an_archive(tmp_path):
    arrays = write_archive(tmp_path / 'dataset.npz')
    dataset = make_dataset(tmp_path, input_frames=3, validation_days=1)
    train, validation, test = (open_taxibj(dataset, split) for split in SPLITS)
    assert [len(source) for source in (train, validation, test)] == [120 - 48 - 7, 48, 5]
    stored = np.concatenate([arrays['X_test'][2, 1:], arrays['Y_test'][2, :2]])
    expected = (stored.transpose(0, 2, 3, 1) + 1) / 2
    np.testing.assert_allclose(test[2]['frames'], expected, rtol=1e-6)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(test))[2]['frames'], test[2]['frames'])
    assert test.value_range is None
    whole = open_taxibj(dataset | {'validation_days': 0}, 'train')
    assert len(whole) == 120


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'Y_test': None}, 'holds no Y_test'),
        ({'X_test': np.zeros((5, 2, 3, 2), np.float32)}, r'shape \(5, 2, 3, 2\)'),
        ({'X_test': np.zeros((4, 4, 2, 3, 2), np.float32)}, 'same N'),
        ({'X_test': np.full((5, 4, 2, 3, 2), np.nan)}, 'finite'),
        ({'X_test': np.full((5, 4, 2, 3, 2), -2.0)}, r'in \[-1, 1\]; .* from -2'),
        (
            {'X_test': np.full((5, 4, 2, 3, 2), 0.1), 'Y_test': np.full((5, 4, 2, 3, 2), 0.2)},
            '2 . x',
        ),
        ({'X_test': np.zeros((5, 4, 2, 3, 2), int)}, 'it is int64'),
        ({'X_test': np.zeros((5, 4, 8, 8, 2)), 'Y_test': np.zeros((5, 4, 8, 8, 2))}, 'moveaxis'),
        ({'X_test': np.full((5, 4, 2, 3, 2), None)}, 'cannot be read'),
        ({'X_test': np.zeros((5, 1, 2, 3, 2), np.float32)}, 'have 1 and 4 frames'),
    ],
)
def test_archives_of_another_form_are_rejected(tmp_path, changes, message):
    arrays = write_archive(tmp_path / 'other.npz') | changes
    arrays = {key: array for key, array in arrays.items() if array is not None}
    np.savez(tmp_path / 'dataset.npz', **arrays)
    with pytest.raises(InputError, match=message):
        open_taxibj(make_dataset(tmp_path / 'dataset.npz'), 'test')


def test_archives_that_unpack_to_too_much_are_rejected(tmp_path, monkeypatch):
    np.savez_compressed(
        tmp_path / 'dataset.npz', **dict.fromkeys(flow_archives.KEYS, np.zeros(10**5))
    )
    monkeypatch.setattr(flow_archives, 'MAX_BYTES', 10**5)
    with pytest.raises(InputError, match='unpacks to'):
        open_taxibj(make_dataset(tmp_path / 'dataset.npz'), 'test')


def write_wrong(path, kind):
    dates, counts = dates_of(6), np.zeros((24, 2, 3, 2))
    match kind:
        case 'text':
            path.write_text('no h5')
        case 'cut':
            write_flows(path, dates, RNG.random((24, 2, 30, 20)))
            path.write_bytes(path.read_bytes()[:5000])
        case 'no date':
            with h5py.File(path, 'w') as file:
                file['data'] = counts
        case 'a group':
            with h5py.File(path, 'w') as file:
                file['date'] = np.array(dates)
                file.create_group('data')
        case 'fewer dates':
            write_flows(path, dates[1:], counts)
        case 'no channels':
            write_flows(path, dates, counts[:, 0])
        case 'nan':
            write_flows(path, dates, np.full_like(counts, np.nan))
        case 'other dates':
            write_flows(path, [b'20151301%02d' % (slot % 4 + 1) for slot in range(24)], counts)
        case 'slot 0':
            write_flows(path, [date[:8] + b'%02d' % (int(date[8:]) - 1) for date in dates], counts)
        case 'long dates':
            write_flows(path, [date + b'9' * 5000 for date in dates], counts)
        case 'twice':
            write_flows(path, [*dates[:2], dates[1], *dates[3:]], counts)
        case 'signed':
            write_flows(path, dates, np.where(np.arange(2).reshape(-1, 1, 1), 3.0, -3.0) + counts)
        case 'channels last':
            write_flows(path, dates, np.zeros((24, 8, 8, 2)))
        case 'constant':
            write_flows(path, dates, counts)


@pytest.mark.parametrize(
    ('kind', 'message'),
    [
        ('text', 'cannot be read as HDF5'),
        ('cut', 'cannot be read as HDF5'),
        ('no date', "no 'date'; it holds data"),
        ('a group', "no 'data'"),
        ('fewer dates', r'\(24, 2, 3, 2\) and date \(23,\)'),
        ('no channels', r'\[N, C, H, W\]'),
        ('nan', r'NaN or infinite in 24 of 24 slots, the first 2015022601'),
        ('signed', r'144 of 288 numbers are below 0'),
        ('channels last', r'moveaxis'),
        ('twice', r'has the date 2015022602 twice'),
        ('other dates', 'must be like 2015110148'),
        ('slot 0', 'has the date 2015022600: the slots of a day are counted from 1'),
        ('long dates', 'must be like 2015110148'),
        ('constant', 'All counts'),
    ],
)
def test_files_of_another_form_are_rejected(tmp_path, kind, message):
    write_wrong(tmp_path / NAME, kind)
    with pytest.raises(InputError, match=message):
        open_taxibj(make_dataset(tmp_path), 'train')


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'path': ''}, 'dataset.path is not given.*NYC14_M16x8_T60_NewEnd.*github'),
        ({'path': 'missing'}, "'missing', which does not exist"),
        ({'test_days': 5}, 'leave none for training'),
        ({'slots_per_day': 3}, 'slots_per_day is 3'),
        ({'output_frames': 30}, 'has no sequences of 32 slots'),
    ],
)
def test_impossible_values_are_rejected(tmp_path, changes, message):
    dataset = make_dataset(write_flows(tmp_path / NAME, dates_of(6))) | changes
    with pytest.raises(InputError, match=message):
        open_taxibj(dataset, 'train')


def test_one_file_in_a_folder_is_read_whatever_it_is_called(tmp_path):
    write_flows(tmp_path / 'flows.h5', dates_of(6))
    assert len(open_taxibj(make_dataset(tmp_path), 'train')) == 9
    write_archive(tmp_path / 'dataset.npz')  # of the two the one whose name is known
    assert len(open_taxibj(make_dataset(tmp_path), 'test')) == 5


def test_folders_without_flows_and_files_that_overlap_are_rejected(tmp_path):
    with pytest.raises(InputError, match='holds no flows'):
        open_taxibj(make_dataset(tmp_path), 'train')
    for name in ('a_T360.h5', 'b_T360.h5'):
        write_flows(tmp_path / name, dates_of(6))
    with pytest.raises(InputError, match='overlap in time'):
        open_taxibj(make_dataset(tmp_path), 'train')


def test_flows_of_others_are_scaled_as_a_run_has_it(tmp_path):
    source = open_taxibj(make_dataset(write_flows(tmp_path / NAME, dates_of(20))), 'test')
    scale = Scale((10.0, 30.0), (-0.5, np.inf))
    rescaled = with_scale(source, scale)
    counts = source.scale.to_unit(source[1]['frames'])
    for one in (rescaled, pickle.loads(pickle.dumps(rescaled))):
        assert scale_of(one) == scale
        np.testing.assert_allclose(one[1]['frames'], (counts - 10) / 20, rtol=1e-5)
    for name, forecast in simple_forecasts(rescaled).items():
        own = source.scale.to_unit(simple_forecasts(source)[name])
        np.testing.assert_allclose(scale.to_unit(forecast), own, rtol=1e-4)
    others = PIXELS, Scale((0.0, 1.0), ranges=((0.0, 1.0),) * 3), scale._replace(beside=((0, 1),))
    for unfit in (None, source.scale, *others):
        assert with_scale(source, unfit) is source

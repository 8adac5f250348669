"""Frames at another rate: those that are on the screen at each instant."""

import pytest

from e3d.data.readers import timing
from e3d.data.readers.timing import Clock, TimedFrame, Timing, resample, timing_of
from e3d.errors import InputError


def timed(starts, end):
    """Frames that are called 0, 1, 2, ..."""
    ends = [*starts[1:], end]
    return [TimedFrame(n, *times) for n, times in enumerate(zip(starts, ends, strict=True))]


def at_rate(rate, count=6):
    return timed([n / rate for n in range(count)], count / rate)


@pytest.mark.parametrize(
    ('rate', 'wanted', 'expected'),
    [
        (12, 24, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]),
        (30, 10, [0, 3]),
        (24, 24, [0, 1, 2, 3, 4, 5]),
        (10, 15, [0, 0, 1, 2, 2, 3, 4, 4, 5]),
        (30000 / 1001, 29.97, [0, 1, 2, 3, 4, 5]),
        (12, None, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_resampling_repeats_or_leaves_out_frames(rate, wanted, expected):
    assert list(resample(at_rate(rate), wanted)) == expected


def test_clips_without_times_stay_as_they_are():
    assert list(resample(map(TimedFrame, range(3)), 24.0)) == [0, 1, 2]


@pytest.mark.parametrize(
    ('starts', 'end', 'wanted', 'expected'),
    [
        # 10 frames per second, then 2
        ([0, 0.1, 0.2, 0.3, 0.4, 0.5, 1, 1.5, 2, 2.5, 3, 3.5], 4, 2, [0, 5, 6, 7, 8, 9, 10, 11]),
        ([0, 0.1, 0.2, 1.0, 1.1], 2.0, 4, [0, 2, 2, 2, 3, 4, 4, 4]),  # the last one stands long
        ([0, 0.5, 0.5, 1.0], 1.5, 2, [0, 2, 3]),  # at the same time: only the later one is seen
        ([0], 1.0, 3, [0, 0, 0]),
        ([0, 1e-5], 2e-5, 3, [0]),  # there is always a frame at the start
        ([2.0, 2.5], 3.0, 4, [0, 0, 1, 1]),  # what comes before is not made up
    ],
)
def test_time_stamps_decide_and_not_the_mean_rate(starts, end, wanted, expected):
    assert list(resample(timed(starts, end), wanted)) == expected


def test_few_frames_cannot_become_very_many(monkeypatch):
    with pytest.raises(InputError, match=r'stands for 1e\+09 s'):
        for _ in resample(timed([0, 1, 10**9], 10**9 + 1), 30):
            pass
    monkeypatch.setattr(timing, 'MAX_REPEATED', 4)
    assert len(list(resample(timed([0, 3, 6], 7), 1))) == 7  # 4 repeated
    with pytest.raises(InputError, match='a clip of yours at 3 s'):
        list(resample(timed([0, 3, 7], 8), 1, 'a clip of yours'))


def test_frames_that_all_have_the_same_time_cannot_be_resampled():
    with pytest.raises(InputError, match='3 frames of the clip all have the same time stamp'):
        list(resample(timed([0, 0, 0], 0.1), 5))


def placed(stamps, tick=0.001, rate=10.0, grid=None):
    clock = Clock(tick, rate, grid)
    return [clock.place(stamp) for stamp in stamps]


def test_seconds_count_from_the_first_stamp():
    assert placed([-200, -100, 300]) == pytest.approx([0, 0.1, 0.5])
    assert placed([900000, 990000], tick=1 / 90000) == pytest.approx([0, 1.0])


def test_stamps_rounded_to_milliseconds_are_put_where_they_were():
    rounded = [round(1000 * n / 30) for n in range(100)]
    assert placed(rounded, grid=30.0) == pytest.approx([n / 30 for n in range(100)], abs=1e-12)
    late = [7 + stamp for stamp in rounded]
    frames = timed(placed(late, grid=30.0), 100 / 30)
    assert list(resample(frames, 30)) == list(range(100))
    assert placed([0, 40, 160, 193], grid=30.0) == pytest.approx([0, 0.04, 0.16, 0.193])
    # two frames do not get one place
    assert placed([0, 33, 34], grid=30.0) == pytest.approx([0, 1 / 30, 0.034], abs=1e-12)


def test_missing_equal_and_lower_stamps():
    assert placed([0, None, None, 500]) == pytest.approx([0, 0.1, 0.2, 0.5])
    assert placed([None, None, 500, 700]) == pytest.approx([0, 0.1, 0.2, 0.4])
    assert placed([0, 150, None], rate=None) == pytest.approx([0, 0.15, 0.3])
    assert placed([0, 1], tick=0) == [None, None]
    assert placed([0, 100, 100, 90, 300]) == pytest.approx([0, 0.1, 0.1, 0.1, 0.3])
    # a second recording joined to the first
    assert placed([5000, 5100, 5200, 0, 100]) == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


def test_the_end_is_the_last_stamp_and_its_duration():
    clock = Clock(0.001, 10.0, None)
    for stamp in (500, 600):
        clock.place(stamp)
    assert clock.end(0, None) == pytest.approx(0.2)
    assert clock.end(5000, None) == pytest.approx(5.1)
    assert clock.end(100, 8.5) == pytest.approx(8.0)  # announced, as stamps are counted
    assert clock.end(100, 0.3) == pytest.approx(0.2)
    clock = Clock(0.001, None, None)
    assert [clock.place(500), clock.end(0, None)] == [0, None]  # nothing tells
    clock.place(700)
    assert clock.end(0, None) == pytest.approx(0.4)


def test_the_rate_is_the_one_that_agrees_with_the_times():
    assert timing_of([0, 0.1, 0.2], [25.0, 10.0]) == Timing(10.0, True)
    assert timing_of([0, 0.1, 0.2], [25.0, None]) == Timing(pytest.approx(10.0), True)
    assert timing_of([1.0, 1.1, 1.2], []) == Timing(pytest.approx(10.0), True)
    assert timing_of([0, 0.1, 0.5], [10.0]) == Timing(pytest.approx(4.0), False)
    assert timing_of([0], [25.0]) == Timing(25.0, True)
    assert timing_of([None, None], [25.0]) is None
    assert timing_of([0, 0], [25.0]) is None


def test_the_rate_of_rounded_times_is_the_stated_one():
    rounded = [0.0, 0.033, 0.067, 0.1, 0.133]
    assert timing_of(rounded, [29.0, 30.0], tick=0.001) == Timing(30.0, True)
    assert timing_of(rounded, [30.0]) == Timing(pytest.approx(4 / 0.133), False)

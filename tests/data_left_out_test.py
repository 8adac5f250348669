"""What is not used is told by reason and count, the damaged first."""

from e3d.data.readers.left_out import LeftOut, describe_left_out, summarize_left_out

LEFT_OUT = [
    LeftOut('a', 'copy'),
    *(LeftOut(f'{n}', 'too short') for n in range(12)),
    LeftOut('x.mp4', 'x.mp4 is truncated', damaged=True),
]


def test_the_damaged_come_first_and_the_others_by_count():
    assert describe_left_out(LEFT_OUT) == [
        'left out as unreadable: 1',
        '  x.mp4: x.mp4 is truncated',
        'left out, too short: 12 (0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more)',
        'left out, copy: 1 (a)',
    ]


def test_many_damaged_ones_are_counted():
    lines = describe_left_out([LeftOut(f'{n}', 'damaged', True) for n in range(15)])
    assert lines[0] == 'left out as unreadable: 15' and lines[-1] == '  and 5 more'


def test_in_one_line():
    line = summarize_left_out(LEFT_OUT)
    assert line == 'left out: 1 unreadable (x.mp4); 12 too short; 1 copy'
    assert summarize_left_out([]) == ''

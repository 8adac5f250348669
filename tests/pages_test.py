"""The pages of runs: everything in one file, nothing of a user's can break out, values as they were."""

import base64
import html.parser
import io
import json
import re

import numpy as np
import pytest
from page_fixtures import (
    HOSTILE,
    RAIN,
    forecast_report,
    make_content,
    recognition_content,
    shown_sequence,
    write_run,
)
from PIL import Image

from e3d import launcher
from e3d.data.sources.scales import PIXELS
from e3d.errors import InputError
from e3d.evaluation.shown import choose
from e3d.evaluation.styles import Style
from e3d.pages.charts import Line, chart
from e3d.pages.content import MAX_BYTES, SEQUENCE_BYTES, read_content, read_samples, samples_of
from e3d.pages.document import render
from e3d.pages.groups import group_runs
from e3d.pages.sprites import MOST_FRAMES, sequence_data, sprite
from e3d.pages.writing import renew_page, write_comparison
from e3d.runs.fingerprint import Fingerprint, write_fingerprint

VOID = {'meta', 'link', 'input', 'img', 'br', 'path', 'circle'}
LOADING = ('src', 'href', 'srcset', 'action', 'data', 'poster')


class Reader(html.parser.HTMLParser):
    """Collects what a browser would make of a page; raises where elements are not nested."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.loaded, self.text = [], [], [], ''
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        self.loaded += [value for name, value in attrs if name in LOADING]
        assert not [name for name, _ in attrs if name.startswith('on')], attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ('script', 'style'):
            self.text += data


def data_of(page):
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])


def pixels_of(found):
    """The values of a sprite."""
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(found['png']))), np.float32)
    return found['low'] + image / 255 * (found['high'] - found['low'])


PAGES = {
    'forecasts': lambda: [make_content()],
    'flows': lambda: [make_content(shown=[shown_sequence(2)], scale=RAIN, channels=('in', 'out'))],
    'recognition': lambda: [recognition_content()],
    'several': lambda: [make_content('a'), make_content('b', model__features=9)],
    'several recognizers': lambda: [
        recognition_content(),
        recognition_content(model__features=9)._replace(folder='b'),
    ],
    'nothing shown': lambda: [make_content(shown=[])],
    'hostile': lambda: [
        make_content(
            HOSTILE, shown=[shown_sequence(2, title=HOSTILE)], channels=(HOSTILE, HOSTILE),
            dataset__path=HOSTILE, name=HOSTILE, report=forecast_report() | {'protocol': HOSTILE},
        )
    ],
    'hostile classes': lambda: [recognition_content(names=(HOSTILE, 'waving'))],
}  # fmt: skip


@pytest.mark.parametrize('kind', PAGES)
def test_a_page_loads_nothing_and_runs_only_its_own_script(kind):
    page = render(PAGES[kind]())
    reader = Reader(page)
    assert all(value.startswith('data:') for value in reader.loaded)
    assert reader.elements.count('script') == 2 and 'img' not in reader.elements
    code = re.sub(r'<script type="application/json".*?</script>', '', page, flags=re.DOTALL)
    assert not re.search(r'url\(|@import|fetch\(|XMLHttpRequest|import\(', code)
    assert "default-src 'none'" in page
    if kind.startswith('hostile'):
        assert HOSTILE in reader.text  # shown as it is written
        assert page.count('</script>') == 2


def test_a_sprite_has_the_values_side_by_side():
    frames = shown_sequence(2, frames=3).frames
    values = pixels_of(sprite(1.5 * frames))
    assert values.shape == (2 * 8, 3 * 6)
    for time in range(3):
        for channel in range(2):
            part = values[8 * channel : 8 * (channel + 1), 6 * time : 6 * (time + 1)]
            np.testing.assert_allclose(part, 1.5 * frames[time, ..., channel], atol=1.2 / 255)
    color = shown_sequence(3).frames
    np.testing.assert_allclose(pixels_of(sprite(color))[:, 6:12], color[1], atol=0.5 / 255 + 1e-6)


def test_three_channels_with_names_are_no_colors():
    shown = shown_sequence(3)
    data = sequence_data(shown, 64, named=True)
    assert data['channels'] == 3 and not data['rgb'] and sequence_data(shown, 64)['rgb']
    values = pixels_of(data['truth'])
    np.testing.assert_allclose(values[16:, 6:12], shown.frames[1, ..., 2], atol=1.2 / 255)
    assert len(values) == 24 == len(pixels_of(data['forecasts'][0]))
    names = ('rain', 'east', 'north')
    made = [render([make_content(shown=[shown], channels=some)]) for some in (names, ())]
    assert ['mean of the colors' in page for page in made] == [False, True]


def test_what_is_not_known_is_transparent():
    shown = shown_sequence(2)
    valid = shown.frames > 0.4
    frames = np.where(valid, shown.frames, np.nan)
    found = sprite(frames, valid)
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(found['png']))))
    np.testing.assert_array_equal(image[:8, :6, 1] == 255, valid[0, ..., 0])
    assert (found['low'], found['high']) == (0.0, 1.0)


def test_gaps_make_no_difference_where_frames_are_made_smaller():
    shown = shown_sequence(1, size=(128, 128))
    frames = np.full_like(shown.frames, 0.5)
    valid = np.ones(frames.shape, bool)
    valid[:, 40:50, 33:60], valid[:, 5] = False, False
    prediction = np.where(valid[-len(shown.prediction) :], 0.5, 20)
    holes = shown._replace(frames=np.where(valid, frames, 0), prediction=prediction, valid=valid)
    assert samples_of([holes], PIXELS)['limit'] == 0.01
    sequence = sequence_data(holes, 40)
    assert sequence['size'] == [32, 32]
    sheets = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(one['png'])))).astype(float)
        for one in (sequence['truth'], *sequence['forecasts'])
    ]
    ends = [(one['low'], one['high']) for one in (sequence['truth'], *sequence['forecasts'])]
    there, width = sheets[0][..., -1] == 255, sheets[1].shape[1]
    truth = sheets[0][:, -width:, 0] * ends[0][1] / 255
    forecast = sheets[1] * ends[1][1] / 255
    assert np.abs(truth - forecast)[there[:, -width:]].max() <= ends[1][1] / 255


def test_large_and_long_sequences_are_made_smaller():
    data = sequence_data(shown_sequence(1, frames=200, size=(130, 10)), 64)
    assert data['size'] == [44, 4] and data['length'] == 200
    assert len(data['times']) == MOST_FRAMES and data['times'][-1] == 200
    assert data['observed'][0] == 'seen' and data['observed'][-1] == 'forecast'


def test_a_page_stays_small_and_says_what_was_left_out():
    shown = [shown_sequence(3, seed, size=(60, 60)) for seed in range(5)]
    samples = samples_of(shown, PIXELS, most_bytes=60_000)
    assert samples['sequences'][0]['size'] == [30, 30] and 0 < samples['left_out'] < 5
    page = render([make_content()._replace(samples=samples)])
    assert f'{samples["left_out"]} sequences were left out' in page
    assert len(page) - 60_000 + SEQUENCE_BYTES < MAX_BYTES


def test_worst_and_best_are_chosen_by_their_error():
    titles = choose([3.0, None, 1.0, float('nan'), 9.0, 2.0], 2, 'MSE')
    assert list(titles) == [0, 1, 4, 2, 5]
    assert titles[4] == 'sequence 4 (worst of 6), MSE 9'
    assert titles[0] == 'sequence 0 (2nd worst of 6), MSE 3' and titles[1] == 'sequence 1'
    assert titles[2] == 'sequence 2 (best of 6), MSE 1'


def test_scales_are_in_the_unit_and_say_the_sign():
    page = render([make_content(scale=RAIN)])
    text = Reader(page).text
    assert 'values (mm/h)' in text and 'difference: forecast less truth (mm/h)' in text
    assert '-7 too low' in text and 'too high +7' in text
    assert data_of(page)['limit'] == pytest.approx(0.1, rel=1e-4)


def test_values_below_0_have_colors_and_ends_of_their_own():
    low = shown_sequence()
    low = low._replace(frames=2 * low.frames - 1, prediction=2 * low.prediction - 1)
    content = make_content(shown=[low], scale=RAIN)
    least, (bottom, top) = float(low.frames.min()), RAIN.value_range
    assert content.samples['black'] == pytest.approx(least) and content.samples['white'] == 1
    assert f'<b>{bottom + least * (top - bottom):.3g}</b>' in render([content])
    older = {name: value for name, value in content.samples.items() if name != 'black'}
    assert f'<b>{bottom:.3g}</b>' in render([content._replace(samples=older)])
    other = make_content(scale=RAIN, model__features=9)
    assert data_of(render([other, content]))['black'] == content.samples['black']


def test_curves_rise_where_values_rise_and_leave_out_what_is_not_finite():
    drawn = chart(
        'x', 'step', '', [Line(Style('a', '#000000', 'o'), [1, 2, 3, 4], [1, 3, None, 2])]
    )
    heights = [float(y) for y in re.findall(r'<circle cx="[\d.]+" cy="([\d.]+)"', drawn)]
    assert len(heights) == 3 and heights[1] < heights[2] < heights[0]
    assert chart('x', 'step', '', [Line(Style('a', '#000000', 'o'), [1], [float('nan')])]) == ''


def test_several_futures_have_curves_of_their_own():
    together = {'members': 2, 'crps_per_frame': [0.1, 0.2, None], 'rank_histogram': [0.5, 0.3, 0.2]}
    together |= {'spread': 0.07, 'spread_per_frame': [0.1, 0.0, None]}
    together |= {'rmse_per_frame': [0.2, 0.0, 0.3]}
    page = render([make_content(report=forecast_report() | {'ensemble': together})])
    for title in ('CRPS of the members', 'spread / error', 'ranks of the truth'):
        assert title in Reader(page).text and title not in render([make_content()])


def test_seeds_become_one_curve_with_bars_and_other_values_a_name():
    runs = [
        make_content('a', forecast_report(3.0), seed=0),
        make_content('b', forecast_report(5.0), seed=1),
        make_content('c', forecast_report(4.0), model__name='convlstm'),
    ]
    seeds, other = group_runs(runs)
    assert (seeds.label, other.label) == ('E3D-LSTM', 'ConvLSTM')
    assert seeds.shown('mse') == '4.00 ± 1.41' and other.shown('mse') == '4.00'
    assert seeds.mean([[1.0, None], [3.0, 2.0]])[0][0] == 2.0
    sizes = group_runs([make_content('a', model__features=4), make_content('b', model__features=9)])
    assert [group.label for group in sizes] == ['E3D-LSTM: features=4', 'E3D-LSTM: features=9']


def labels_of(*runs):
    return [group.label for group in group_runs(runs)]


def test_what_is_no_repetition_has_a_row_of_its_own():
    scratch, begun = make_content('a'), make_content('b', init_from='runs/first')
    assert labels_of(scratch, begun, make_content('c', seed=1, init_from='runs/first')) == [
        "E3D-LSTM: init_from=''", 'E3D-LSTM: init_from=runs/first',
    ]  # fmt: skip
    assert labels_of(scratch, make_content('b'), make_content('c', seed=1)) == [
        'E3D-LSTM: a (1)', 'E3D-LSTM: b (2)',
    ]  # fmt: skip
    sizes = [make_content(name, model__features=size) for name, size in ('a4', 'b9', 'c4')]
    assert labels_of(*sizes) == [
        'E3D-LSTM: features=4, a (1)', 'E3D-LSTM: features=9', 'E3D-LSTM: features=4, c (3)',
    ]  # fmt: skip


def test_only_what_was_measured_alike_is_a_repetition():
    def run(seed, **report):
        return make_content('run', forecast_report() | report, seed=seed)

    steps = ['E3D-LSTM: step=4', 'E3D-LSTM: step=2']
    assert labels_of(run(0), run(1, step=2)) == steps
    newest = run(1, checkpoint='newest')
    assert labels_of(run(0, checkpoint=4), newest) == ['E3D-LSTM']
    best = [run(seed, step=2 * seed, checkpoint='best on validation') for seed in (1, 2)]
    assert labels_of(*best) == ['E3D-LSTM']  # whose steps differ by what was found
    assert labels_of(run(0), *best) == [
        'E3D-LSTM: step=4', 'E3D-LSTM: checkpoint=best on validation',
    ]  # fmt: skip
    rain = [run(seed, events={'thresholds': [0.2]}) for seed in (0, 1)]
    other = run(2, events={'thresholds': [0.8]})
    assert labels_of(*rain, other) == [
        'E3D-LSTM: thresholds=(0.2,)', 'E3D-LSTM: thresholds=(0.8,)',
    ]  # fmt: skip
    many = [run(seed, ensemble={'members': seed + 2}) for seed in (0, 1)]
    assert labels_of(*many) == ['E3D-LSTM: members=2', 'E3D-LSTM: members=3']


def test_steps_and_thresholds_that_differ_are_told():
    def page(**report):
        other = make_content('b', forecast_report() | report, model__name='convlstm')
        return Reader(render([first, other])).text

    first = make_content('a', forecast_report() | {'events': {'thresholds': [0.2, 1]}})
    alike = page(events={'thresholds': [0.2, 1]})
    assert 'sequences, step 4' in alike and 'Take care' not in alike
    assert 'Take care' not in page()  # its CSI is left out
    assert 'step 4 (E3D-LSTM); step 1,200 (ConvLSTM)' in page(step=1200)
    other = page(events={'thresholds': [0.8]})
    assert 'Take care: CSI is not of the same events in all runs: thresholds 0.2, 1; 0.8.' in other


def test_errors_in_different_units_are_not_put_together():
    means = {'rmse': 7.0, 'rmse_per_frame': [6.0, 8.0], 'mae_in_unit': 5.0}
    means |= {'mae_in_unit_per_frame': [4.0, 6.0], 'events': {'thresholds': [1.0]}}
    futures = {'members': 2, 'crps_per_frame': [1.0, 2.0], 'rank_histogram': [0.5, 0.3, 0.2]}
    futures |= {'spread': 1.0, 'spread_per_frame': [1.0, 2.0], 'rmse_per_frame': [2.0, 3.0]}
    baseline = forecast_report()['last_frame'] | means
    report = forecast_report() | means | {'last_frame': baseline, 'ensemble': futures}

    def page(scale, **more):
        other = make_content('b', report | more, scale=scale, model__name='convlstm')
        return Reader(render([make_content('a', report, scale=RAIN), other])).text

    alike = page(RAIN)
    chart_of_rmse = 'RMSEforecast frame'
    for shown in ('RMSE in mm/h.', 'RMSE ↓', 'MAE, unit ↓', 'CRPS of the members'):
        assert shown in alike
    assert f'{chart_of_rmse}mm/h' in alike.replace('\n', '')
    assert 'Take care' not in alike
    unknown = page(RAIN._replace(unit=''))
    assert 'RMSE in the unit of the data.' in unknown and 'Take care' not in unknown
    # Where the range tells nothing of the unit, as with log1p, the report does.
    log = RAIN._replace(transform='log1p')
    for other in (page(RAIN._replace(unit='in/h')), page(log, unit='in/h')):
        for gone in ('RMSE in', 'RMSE ↓', 'MAE, unit ↓', 'CRPS of the members', chart_of_rmse):
            assert gone not in other.replace('\n', '')
        assert 'Take care: errors in the unit of the data (RMSE, MAE, CRPS) are left out' in other
        assert 'different ones: mm/h; in/h.' in other and 'MSE ↓' in other
        assert 'not of the same events' in other and 'thresholds 1.' in other
    seeds = [make_content('a', report, scale=RAIN)]
    seeds.append(make_content('b', report, scale=RAIN._replace(unit='in/h'), seed=1))
    assert labels_of(*seeds) == ['E3D-LSTM: unit=mm/h', 'E3D-LSTM: unit=in/h']


def test_errors_on_the_test_split_are_not_called_validation():
    held_out = make_content()
    names = {'train': 'train', 'validation': 'validation_on_test'}
    lines = [{**line, 'split': names[line['split']]} for line in held_out.lines]
    on_test = held_out._replace(lines=lines)
    page = Reader(render([on_test])).text
    assert 'on the test split: MSE' in page and 'validation: ' not in page
    page = Reader(render([held_out])).text
    assert 'validation: MSE' in page and 'on the test split' not in page


def test_runs_on_data_that_moved_are_repetitions_where_they_tell_that_the_data_are_the_same():
    here = Fingerprint((4, 8, 8, 1), {'train': 9, 'test': 3}, (0.5, 0.25), training=(0.1, 0.2))
    first = make_content('a', dataset__path='here')._replace(data=here)
    moved = make_content('b', dataset__path='there', seed=1)
    two = ['E3D-LSTM: path=here', 'E3D-LSTM: path=there']
    assert labels_of(first, moved._replace(data=here)) == ['E3D-LSTM']
    for other in (None, here._replace(training=()), here._replace(training=(0.1, 0.3))):
        assert labels_of(first, moved._replace(data=other)) == two
    again = make_content('c', dataset__path='here', seed=1)
    # Training sequences of other seeds may be drawn; the test is the same for all of them.
    for other in (None, here, here._replace(training=(0.1, 0.3))):
        assert labels_of(first, again._replace(data=other)) == ['E3D-LSTM']
    changed = again._replace(data=here._replace(means=(0.5, 0.3)))
    assert len(labels_of(first, changed)) == 2


def test_a_run_tells_of_its_data(tmp_path):
    write_run(tmp_path / 'run')
    assert read_content(tmp_path / 'run').data is None
    stored = Fingerprint((4, 8, 8, 1), {'test': 3}, (0.5,), '', 'here', (0.1,), 'crc')
    (tmp_path / 'run' / 'checkpoints').mkdir()
    write_fingerprint(tmp_path / 'run' / 'checkpoints', stored)
    assert read_content(tmp_path / 'run').data == stored


def test_runs_that_began_with_repetitions_are_repetitions(tmp_path):
    runs = []
    for seed in (0, 1):
        write_run(tmp_path / f'first_{seed}', seed=seed)
        begun = {'seed': seed, 'init_from': str(tmp_path / f'first_{seed}')}
        write_run(tmp_path / f'run_{seed}', **begun)
        runs.append(read_content(tmp_path / f'run_{seed}'))
    assert labels_of(*runs) == ['E3D-LSTM']
    write_run(tmp_path / 'larger', model__features=9)
    write_run(tmp_path / 'run_2', seed=2, init_from=str(tmp_path / 'larger'))
    assert len(labels_of(*runs, read_content(tmp_path / 'run_2'))) == 2


def test_the_same_sequences_are_shown_side_by_side_on_one_scale(tmp_path):
    common, own = shown_sequence(seed=0), shown_sequence(seed=1)
    worse = common._replace(prediction=common.prediction + 0.4)
    write_run(tmp_path / 'one', shown=[common, own])
    write_run(tmp_path / 'two', shown=[worse], model__features=9)
    page = tmp_path / 'both.html'
    arguments = ['compare', str(tmp_path / 'one'), str(tmp_path / 'two'), f'--output={page}']
    assert launcher.main(['e3d', *arguments]) == 0
    data = data_of(page.read_text(encoding='utf-8'))
    (sequence,) = data['sequences']
    assert [one['label'] for one in sequence['forecasts']] == [
        'E3D-LSTM: features=4', 'E3D-LSTM: features=9',
    ]  # fmt: skip
    assert data['limit'] == pytest.approx(0.5, rel=1e-4)


def test_each_model_has_a_mean_of_its_own_members():
    reports = [
        forecast_report(mse) | {'members_mean': forecast_report(mse / 2) | {'psnr': 30.0}}
        for mse in (3.0, 5.0, 7.0)
    ]
    runs = [make_content(f'{n}', report, seed=n) for n, report in enumerate(reports[:2])]
    runs.append(make_content('other', reports[2], model__name='convlstm'))
    cells = re.findall('<td>(.*?)</td>', render(runs))
    for label, mse in (('E3D-LSTM', '2.00 ± 0.7071'), ('ConvLSTM', '3.50')):
        assert cells[cells.index(f'{label}, mean of the members') + 1] == mse
    assert 'mean of the members' not in cells  # as if it were one of all


def test_runs_on_other_data_are_compared_with_a_warning():
    here = Fingerprint((4, 8, 8, 1), {'test': 3}, (0.5, 0.25), path='here')
    first = make_content('a')._replace(data=here)
    other = make_content('b', model__name='convlstm')
    assert 'Take care' not in render([first, other._replace(data=here._replace(path='moved'))])
    assert 'Take care' not in render([first, other])  # of an earlier version
    page = render([first, other._replace(data=here._replace(means=(0.7, 0.2)))])
    assert 'not all runs have the same data. b: other frames in the test split.' in page


def test_what_cannot_be_compared_is_said(tmp_path, capsys):
    write_run(tmp_path / 'one')
    (tmp_path / 'other').mkdir()
    for arguments, message in [
        ([str(tmp_path / 'one')], 'two runs or more'),
        ([str(tmp_path / 'one'), str(tmp_path / 'other')], 'has no evaluation.json'),
        (['--outptu=x'], '--output=FILE'),
    ]:
        assert launcher.main(['e3d', 'compare', *arguments]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize('change', [{'mse': [1]}, {'mse_per_frame': 3.0}, {'protocol': {}}])
def test_a_run_with_a_damaged_report_is_named(tmp_path, change):
    for name in ('whole', 'damaged'):
        write_run(tmp_path / name)
    (tmp_path / 'damaged' / 'evaluation.json').write_text(json.dumps(forecast_report() | change))
    with pytest.raises(InputError, match=r'damaged in \S*/damaged: .* Evaluate it again'):
        write_comparison([tmp_path / 'whole', tmp_path / 'damaged'], tmp_path / 'page.html')


@pytest.mark.parametrize(
    'change',
    [
        lambda text: text.replace('id="data"', 'id="other"'),
        lambda text: text.replace('"limit":', '"limit":-1,"x":'),
        lambda text: text.replace('"black":', '"black":1,"x":'),
        lambda text: re.sub(r'"png":"', '"png":"\\"><b>', text),
        lambda text: text.replace('"forecasts":[', '"forecasts":[{},'),
    ],
)
def test_samples_of_a_page_are_checked(tmp_path, change):
    write_run(tmp_path / 'run')
    page = tmp_path / 'run' / 'report.html'
    assert read_samples(page)['sequences'][0]['title'] == 'sequence 0'
    page.write_text(change(page.read_text(encoding='utf-8')), encoding='utf-8')
    with pytest.raises(InputError, match='cannot be read as the page of a run'):
        read_samples(page)


def test_a_page_is_written_again_with_what_was_drawn_of_the_model(tmp_path):
    write_run(tmp_path / 'run', shown=[shown_sequence(title='the one')])
    (tmp_path / 'run' / 'inspection').mkdir()
    Image.new('L', (4, 3)).save(tmp_path / 'run' / 'inspection' / 'attention_layer_1.png')
    renew_page(tmp_path / 'run')
    page = (tmp_path / 'run' / 'report.html').read_text(encoding='utf-8')
    reader = Reader(page)
    assert reader.elements.count('img') == 1 and 'attention layer 1' in reader.text
    assert data_of(page)['sequences'][0]['title'] == 'the one'
    assert 'They are of step' not in reader.text  # which an earlier version did not write


@pytest.mark.parametrize(
    ('step', 'told'),
    [
        (np.array(1200), 'They are of step 1,200, all else of step 4.'),
        (np.array(4), None),
        (np.array([2, 3]), None),
        (np.array('two'), None),
    ],
)
def test_a_page_says_of_which_step_its_pictures_of_the_model_are(tmp_path, step, told):
    write_run(tmp_path / 'run')
    folder = tmp_path / 'run' / 'inspection'
    folder.mkdir()
    Image.new('L', (4, 3)).save(folder / 'gates.png')
    np.savez_compressed(folder / 'inspection.npz', step=step, frames=np.zeros((500, 500)))
    renew_page(tmp_path / 'run')
    text = Reader((tmp_path / 'run' / 'report.html').read_text(encoding='utf-8')).text
    assert told in text if told else 'They are of step' not in text


def test_a_comparison_goes_where_a_home_directory_says(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in ('one', 'two'):
        write_run(tmp_path / name, model__features=len(name))
    assert launcher.main(['e3d', 'compare', '~/one', '~/two', '--output=~/page.html']) == 0
    assert (tmp_path / 'page.html').exists() and not (tmp_path / '~').exists()


def test_nothing_shown_leaves_no_scale():
    assert samples_of([], PIXELS)['sequences'] == []

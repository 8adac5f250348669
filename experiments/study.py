"""E3D-LSTM beside its ablations and rivals, at a size that two CPU cores can train.

    python -m benchmarks.study
    python launch.py --config=experiments/study.py --sweep=get_sweep
    python launch.py --config=experiments/study.py:copy --sweep=get_sweep
    python launch.py --config=experiments/study.py:recall --sweep=get_sweep
    python launch.py --config=experiments/study.py:brief --sweep=get_sweep
    python launch.py --config=experiments/study.py:rivals --sweep=get_sweep
    python launch.py --config=experiments/study.py:lengths --sweep=get_sweep
    python launch.py --config=experiments/study.py:rates --sweep=get_sweep
    python launch.py --config=experiments/study.py:final_rates --sweep=get_sweep
    python launch.py --config=experiments/study.py:tuned --sweep=get_sweep
    python launch.py --config=experiments/study.py:converged --sweep=get_sweep
    python launch.py --config=experiments/study.py:large --sweep=get_sweep

The models of tables 1 and 2 of the paper on the task of `quickstart.py`: one digit of 14 pixels on
32 x 32, 5 frames to 5. All have two recurrent layers and, within 10 %, the number of parameters of
E3D-LSTM with 16 channels (411,440); all train for the same number of updates on the same
sequences, with the same learning rate and sampling. `:copy` is the copy test of table 1, `:rivals` the
same study of the other models of table 1, and of SimVP, TAU and ST-ResNet; those that see their input
at once, all but DFN, CDNA and the VPN baseline, have a loss of the forecast alone and no sampling.
Three seeds each, seed 0 of every model first. The first command runs what results/study.json does
not have yet and writes the tables; the others only run the sweep.

`:rates` looks for the learning rate of each model: four rates, half of the updates, the one with the
least error on the validation split is taken (`CHOSEN_RATES`), and `:tuned` is plain forecasting at that
rate. `:final_rates` is the two best of each model for 1,000 updates. `:converged` is 10,000 updates at
the best rate for so many (`CONVERGED_RATES`), and at others. `:large` is for a GPU: two digits on
64 x 64, 10 frames to 10, 4 layers, 12 million parameters as in the paper, but 2,400 updates in place
of 80,000, without L1, in TF32, with one seed.

Three more are about what RECALL attends to. `:recall` is the copy test with one observed frame, so that
the direction of a digit can only come from the context that was seen before an unrelated sequence;
`:brief` is the same with a digit of 8 pixels on 16 x 16, in a quarter of the updates, and has more
models; `:lengths` is `:brief` with longer unrelated sequences, of 12, 24 and 48 frames, of which the
last 3 are forecast too.
"""

from collections.abc import Mapping, Sequence

from ml_collections import ConfigDict

from e3d.configuration import load_config, parse_arg

SEEDS = (0, 1, 2)

_PLAIN = {'model.depth': 1, 'model.kernel_size': (1, 5, 5)}

# Features are such that the numbers of parameters are alike.
ENTRIES = {
    'e3d_lstm': {'model.features': 16},
    'e3d_lstm_released': {'model.variant': 'released', 'model.features': 15},
    'without_3d_convolutions': {**_PLAIN, 'model.features': 23},
    'without_attention': {'model.recall': 'none', 'model.features': 17},
    '3d_cnn_at_bottom': {
        'model.name': 'predrnn', 'model.encoder_layers': 2, 'model.features': 21,
    },
    '3d_cnn_on_top': {'model.name': 'predrnn', 'model.decoder_layers': 2, 'model.features': 22},
    'convlstm': {'model.name': 'convlstm', 'model.features': 34},
    'predrnn': {'model.name': 'predrnn', 'model.features': 23},
    'predrnn_plus_plus': {'model.name': 'predrnn_plus_plus', 'model.features': 19},
}  # fmt: skip

# What matters most comes first. A learning rate other than that of all has its place in the name.
_REFINED = {'model.variant': 'refined', 'model.recall': 'in_place', 'model.features': 16}
_GATED = {**_REFINED, 'model.variant': 'gated', 'model.features': 15}
_TIMED = {**_GATED, 'model.variant': 'timed'}
_GATED_PLAIN = {**_GATED, **_PLAIN, 'model.features': 22}
_FASTER = {'optimizer.learning_rate': 1e-2}
_FRNN = {'model.name': 'frnn', 'model.width': 1 / 16}
BRIEF_ENTRIES = {
    'refined_1e-2': {**_REFINED, **_FASTER},
    'gated_1e-2': {**_GATED, **_FASTER},
    'timed_1e-2': {**_TIMED, **_FASTER},
    'gated_plain_1e-2': {**_GATED_PLAIN, **_FASTER},
    'predrnn': ENTRIES['predrnn'],
    'predrnn_1e-2': {**ENTRIES['predrnn'], **_FASTER},
    'in_place': {'model.recall': 'in_place', 'model.features': 16},
    'without_attention': ENTRIES['without_attention'],
    'everywhere': ENTRIES['e3d_lstm'],
    'everywhere_last_5': {**ENTRIES['e3d_lstm'], 'model.history': 5},
    'nearby': {'model.recall': 'nearby', 'model.features': 16},
    'convlstm': ENTRIES['convlstm'],
    'predrnn_plus_plus': ENTRIES['predrnn_plus_plus'],
    'frnn': _FRNN,
    'refined_without_attention_1e-2': {
        **_REFINED, **_FASTER, 'model.recall': 'none', 'model.features': 17,
    },
}  # fmt: skip
# Those that are compared with what was trained at 1e-2, at that rate as well.
BRIEF_ENTRIES |= {
    f'{name}_1e-2': {**BRIEF_ENTRIES[name], **_FASTER}
    for name in ('convlstm', 'in_place', 'without_attention', 'everywhere')
}
_LARGER = ('gated_1e-2', 'predrnn', 'in_place', 'without_attention', 'everywhere', 'predrnn_1e-2')
RECALL_ENTRIES = {name: BRIEF_ENTRIES[name] for name in _LARGER}

# MCnet is without its adversary, for nothing else here has one. It and ST-ResNet end in a tanh that
# saturates on black at the rate of the others, so that nothing is learned; so they have that of their
# authors as well.
_MCNET = {'model.name': 'mcnet', 'model.adversarial_weight': 0.0, 'model.features': 11}
_ST_RESNET = {'model.name': 'st_resnet', 'model.layers': 6, 'model.features': 64}
RIVAL_ENTRIES = {
    'dfn': {'model.name': 'dfn', 'model.features': 104},
    'cdna': {'model.name': 'cdna', 'model.features': 7},
    'vpn_baseline': {
        'model.name': 'vpn_baseline', 'model.patch_size': 4, 'model.features': 15,
    },
    'mcnet': _MCNET,
    'mcnet_1e-4': {**_MCNET, 'optimizer.learning_rate': 1e-4},
    'frnn': _FRNN,
    'gsta': {'model.name': 'simvp', 'model.layers': 4, 'model.features': 72},
    'tau': {
        'model.name': 'simvp', 'model.translator': 'tau', 'model.layers': 4, 'model.features': 72,
    },
    'st_resnet': _ST_RESNET,
    'st_resnet_2e-4': {**_ST_RESNET, 'optimizer.learning_rate': 2e-4},
}  # fmt: skip

LENGTHS = (12, 24, 48)
_OF_LENGTHS = (
    'refined_1e-2', 'gated_1e-2', 'timed_1e-2', 'predrnn', 'convlstm', 'everywhere', 'without_attention',
    'in_place', 'everywhere_last_5', 'predrnn_plus_plus', 'predrnn_1e-2', 'frnn', 'convlstm_1e-2',
    'in_place_1e-2', 'without_attention_1e-2', 'everywhere_1e-2',
)  # fmt: skip
LENGTH_ENTRIES = {
    f'{name}_after_{frames}': {**BRIEF_ENTRIES[name], 'dataset.copy_test': (frames - 3, 3)}
    for frames in LENGTHS
    for name in _OF_LENGTHS
}

RATES = ('3e-4', '1e-3', '3e-3', '1e-2')
_TUNED = {
    'e3d_lstm': ENTRIES['e3d_lstm'],
    'refined': _REFINED,
    'gated': _GATED,
    'timed': _TIMED,
    'gated_plain': _GATED_PLAIN,
    'predrnn': ENTRIES['predrnn'],
    'convlstm': ENTRIES['convlstm'],
    'without_attention': ENTRIES['without_attention'],
    'predrnn_plus_plus': ENTRIES['predrnn_plus_plus'],
    'gsta': RIVAL_ENTRIES['gsta'],
    'e3d_lstm_released': ENTRIES['e3d_lstm_released'],
    'in_place': BRIEF_ENTRIES['in_place'],
    'without_3d_convolutions': ENTRIES['without_3d_convolutions'],
    '3d_cnn_at_bottom': ENTRIES['3d_cnn_at_bottom'],
    '3d_cnn_on_top': ENTRIES['3d_cnn_on_top'],
    **{name: RIVAL_ENTRIES[name] for name in ('tau', 'cdna', 'frnn', 'vpn_baseline', 'dfn')},
}  # all but the two that a tanh keeps from learning here


def _at_rates(rates: Mapping[str, Sequence[str]]) -> dict[str, dict]:
    """Models at each of several rates, which have them in their names."""
    return {
        f'{name}_{rate}': {**_TUNED[name], 'optimizer.learning_rate': float(rate)}
        for name, tried in rates.items()
        for rate in tried
    }


RATE_ENTRIES = _at_rates(dict.fromkeys(_TUNED, RATES))
# Of the models of which rates were tried, see results/study.json; a test compares.
CHOSEN_RATES = {
    'predrnn': '1e-2', 'convlstm': '1e-2', 'refined': '1e-2', 'gated': '1e-2', 'timed': '1e-2',
    'gated_plain': '1e-2', 'e3d_lstm': '1e-2', 'without_attention': '1e-2', 'gsta': '1e-2',
    'predrnn_plus_plus': '3e-3', 'cdna': '1e-2', 'frnn': '3e-3', 'vpn_baseline': '1e-2',
    'tau': '1e-2', 'in_place': '1e-2',
}  # fmt: skip
# The two best of each model after 200 updates, see results/study.json; a test compares.
FINAL_RATES = dict.fromkeys(CHOSEN_RATES, ('3e-3', '1e-2')) | {
    'predrnn_plus_plus': ('1e-3', '3e-3'),
    'cdna': ('1e-3', '1e-2'),
}
FINAL_RATE_ENTRIES = _at_rates(FINAL_RATES)
TUNED_ENTRIES = {name: RATE_ENTRIES[f'{name}_{rate}'] for name, rate in CHOSEN_RATES.items()}
# Another rate is better for 10,000 updates, see results/study.json; a test compares. Those that were
# tried beside it have it in their name.
CONVERGED_RATES = dict.fromkeys(_TUNED, '3e-3')
_ALSO_TRIED = dict.fromkeys(('e3d_lstm', 'predrnn'), ('1e-2', '1e-3')) | dict.fromkeys(
    ('convlstm', 'gated', 'gated_plain', 'refined'), ('1e-2',)
)
CONVERGED_ENTRIES = {
    name: RATE_ENTRIES[f'{name}_{rate}'] for name, rate in CONVERGED_RATES.items()
} | _at_rates(_ALSO_TRIED)

LARGE_ENTRIES = {
    'e3d_lstm': {'model.features': 64},
    'gated': {**_GATED, 'model.features': 60},
    'predrnn': {'model.name': 'predrnn', 'model.features': 92},
}

# What is swept over in each form of the study.
SWEEPS = {
    '': ENTRIES,
    'copy': {
        name: ENTRIES[name] for name in ('e3d_lstm', 'without_attention', 'predrnn', 'convlstm')
    },
    'recall': RECALL_ENTRIES,
    'brief': BRIEF_ENTRIES,
    'rivals': RIVAL_ENTRIES,
    'lengths': LENGTH_ENTRIES,
    'rates': RATE_ENTRIES,
    'final_rates': FINAL_RATE_ENTRIES,
    'tuned': TUNED_ENTRIES,
    'converged': CONVERGED_ENTRIES,
    'large': LARGE_ENTRIES,
}
ONE_SEED = ('rates', 'final_rates', 'large')


def get_config(arg: str | None = None) -> ConfigDict:
    """`arg`: a form of the study, see above; 'small' for a few seconds of training."""
    form, small = _read(arg)
    if form == 'large' and not small:
        return _large()
    config = load_config('quickstart:small' if small else 'quickstart')
    config.name = '_'.join(filter(None, ['study', form, 'small' if small else '']))
    config.model.update({'variant': 'paper', 'recall': 'everywhere'})
    if not small:
        config.model.features = 16
    config.optimizer.learning_rate = 3e-3
    if not small and form in ('', 'copy', 'rivals', 'tuned'):
        config.train.update({'steps': 400, 'evaluate_every': 100})
    if not small and form == 'rates':
        config.train.update({'steps': 200, 'evaluate_every': 100})
    if not small and form == 'final_rates':
        config.train.update({'steps': 1000, 'evaluate_every': 250})
    if not small and form == 'converged':
        config.train.update({'steps': 10_000, 'evaluate_every': 1000})
    if not small and form == 'recall':
        config.train.update({'steps': 2500, 'evaluate_every': 500})
    if not small and form in ('brief', 'lengths'):
        config.train.update({'steps': 600, 'evaluate_every': 150})
    config.checkpoint.update({'every': 200, 'keep': 1})
    if form in ('brief', 'lengths'):
        config.dataset.update({'canvas': (16, 16), 'digit_size': 8, 'speed': 1.2})
    if form in ('copy', 'recall', 'brief', 'lengths'):
        observed = 3 if form == 'copy' else 1
        config.dataset.update({'input_frames': observed, 'output_frames': 6 - observed})
        config.dataset.copy_test = (3, 3)
        config.loss.frames = 'future'
    return config


def _large() -> ConfigDict:
    """The setting of the paper for minutes of a GPU, after which L1 would leave black frames."""
    config = load_config('moving_mnist')
    config.name = 'study_large'
    config.model.precision = 'fast'
    config.loss.l1_weight = 0.0
    config.sampling.decrease = 1 / 1200
    config.optimizer.update({'schedule': 'cosine', 'warmup_steps': 50, 'clip_norm': 1.0})
    config.dataset.update({'validation_size': 96, 'test_size': 304})
    config.train.update({'steps': 2400, 'evaluate_every': 400})
    return config


def get_sweep(arg: str | None = None) -> list[dict]:
    """Every model with every seed, or with the first."""
    form = _read(arg)[0]
    entries = SWEEPS[form]
    return [
        {'name': f'{name},seed={seed}', 'seed': seed, **keys}
        for seed in (SEEDS[:1] if form in ONE_SEED else SEEDS)
        for name, keys in entries.items()
    ]


def _read(arg: str | None) -> tuple[str, bool]:
    """The form of the study, and whether it is to be small."""
    options = parse_arg(arg, small=False, **dict.fromkeys(filter(None, SWEEPS), False))
    forms = [form for form in SWEEPS if form and options[form]]
    if len(forms) > 1:
        raise ValueError(f"':{arg}': must be one of {', '.join(filter(None, SWEEPS))}")
    return ''.join(forms), options.small

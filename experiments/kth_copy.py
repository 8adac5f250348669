"""The copy test on KTH (section 4.2): a run of kth.py measured on sequences it has seen before.

    python launch.py --config=experiments/kth_copy.py --mode=evaluate --workdir=runs/kth
    python launch.py --config=experiments/kth_copy.py:small --mode=evaluate --workdir=runs/kth_small

The weights are those that kth.py trained, 10 frames to 10, as they are. Observed are a context of
50 frames, which is the whole of sequence 2, and 10 frames of sequence 1, another clip, whose next
10 are forecast; then 10 frames of sequence 2 are observed and its next 40 forecast and measured.
The paper does not say how long sequence 1 is: --config.dataset.copy_test="(10, 40)" has it as long
as sequence 2. The data are given as for kth.py. `:small` measures kth.py:small.
"""

from ml_collections import ConfigDict

from e3d.configuration import load_config, parse_arg


def get_config(arg: str | None = None) -> ConfigDict:
    """`arg`: 'small' for the run of `kth.py:small`."""
    small = parse_arg(arg, small=False).small
    config = load_config('kth:small' if small else 'kth')
    config.name = 'kth_copy_small' if small else 'kth_copy'
    config.dataset.update({'output_frames': 40, 'copy_test': (10, 10)})
    return config

"""The equations of the Eidetic 3D LSTM cell (paper, equations 1 and 2), and their options."""

import dataclasses
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.numpy import tanh

from e3d.errors import InputError
from e3d.kernels.history import History, with_zero_state
from e3d.kernels.layer_norm import EPSILON
from e3d.kernels.modes import Operations
from e3d.model.fields import check_at_least, check_choice, check_sizes
from e3d.model.gates import OPERATORS, add_bias, convolve_gates, join_operators
from e3d.model.openstl import check_openstl


class E3DLSTMState(NamedTuple):
    """States of one layer, each `[B, D, H, W, C]`; as an argument, `memory` is M_below."""

    cell: jax.Array  # C, the eidetic 3D memory
    hidden: jax.Array  # H
    memory: jax.Array  # M, the spatiotemporal memory


class Form(NamedTuple):
    """What the variants of the cell do differently."""

    kept: Callable  # from I, the memories and a LayerNorm to what is added to I.G
    forget: Callable  # from the pre-activation of F' to what its sigmoid sees
    carried: Callable  # from M_below and the pre-activations to what F' weighs
    output: Callable  # the same of O
    epsilon: float = EPSILON  # of every LayerNorm
    recalls_zero: bool = False  # whether a state of zeros is always among those remembered
    gated_query: bool = True  # whether R is a sigmoid of its pre-activation
    hands_on: bool = False  # whether the layer above gets M_below in place of M
    weighs: bool = False  # whether a gate A says how much of what is kept is C', how much recalled
    timed: bool = False  # whether the logits of a step have a bias by how long ago it was


# What RECALL attends to, see `update_e3d_lstm`.
RECALLS = ('everywhere', 'in_place', 'nearby', 'none')
MOST_RADIUS = 16  # the work grows with its square
AGES = 64  # steps that many steps ago, and earlier ones, share a bias


def _identity(values):
    return values


def _normalized(gate, memories, normalize):
    return normalize(sum(memories))


def _gated(gate, memories, normalize):
    return (1 - gate) * sum(memories) / len(memories)


# `released` is the form of the published code (google/e3d_lstm), its unused update of M mended. It also
# has a LayerNorm on the joint pre-activations of each group of gates: see `E3DLSTMCell.weights`.
# `published` is that code as it is, for the weights that were trained with it.
_PAPER = Form(
    kept=_normalized,
    forget=_identity,
    carried=lambda M_below, a: M_below,
    output=_identity,
)
_REFINED = _PAPER._replace(gated_query=False, kept=_gated)
_GATED = _REFINED._replace(weighs=True)
_RELEASED = Form(
    kept=_normalized,
    forget=lambda gate: gate + 1,
    carried=lambda M_below, a: tanh(a.m),
    output=tanh,
)
FORMS = {
    'paper': _PAPER,
    'refined': _REFINED,
    'gated': _GATED,
    'timed': _GATED._replace(timed=True),
    'released': _RELEASED,
    'published': _RELEASED._replace(epsilon=1e-12, recalls_zero=True, hands_on=True),
}
VARIANTS = (*FORMS, 'openstl')  # of which the last has equations of its own, see `openstl.py`


@dataclasses.dataclass(frozen=True)
class CellOptions:
    """What decides the equations of a cell, apart from its weights.

    Attributes:
      features: channels C of every state and gate.
      kernel_size: depth, height and width of the gate convolutions.
      history: how many earlier C RECALL looks at (tau); None for all.
      variant: 'paper' for equations 1 and 2 as printed, 'refined' for a gate in place of the
        LayerNorm and R without a sigmoid, 'gated' for a second gate between C' and what is
        recalled, 'timed' for that and a learned bias by how long ago a step was, 'released' for the
        published code's form; for weights trained with other codes 'published' (google/e3d_lstm as
        it is) and 'openstl' (see `openstl.py`).
      convolution: the operator `*`: 'same', 'transposed' or 'separable' (see `gates.py`).
      recall: 'everywhere', 'in_place' or 'nearby', see `update_e3d_lstm`; 'none' leaves the memory
        attention out (baseline 4 of Table 2): C = I.G + LN(C'). True is 'everywhere', False 'none'.
      recall_radius: r of 'nearby', 0 to 16; the others do not use it.
      stride: of the convolutions of 'openstl' in height and width; 1 for the others.
    """

    features: int
    kernel_size: tuple[int, int, int] = (2, 5, 5)
    history: int | None = None
    variant: str = 'paper'
    convolution: str = 'same'
    recall: str | bool = 'everywhere'
    recall_radius: int = 1
    stride: int = 1

    def __post_init__(self):
        if isinstance(self.recall, bool):
            object.__setattr__(self, 'recall', 'everywhere' if self.recall else 'none')
        check_choice('variant', self.variant, VARIANTS)
        check_choice('convolution', self.convolution, OPERATORS)
        check_choice('recall', self.recall, RECALLS)
        check_at_least({'recall_radius': (self.recall_radius, 0)})
        if self.recall_radius > MOST_RADIUS:
            raise InputError(f'recall_radius={self.recall_radius}: must be at most {MOST_RADIUS}')
        check_sizes(self.features, self.kernel_size)
        object.__setattr__(self, 'kernel_size', tuple(self.kernel_size))
        if self.history is not None and self.recalls:
            check_at_least({'history': (self.history, 1)})
        check_at_least({'stride': (self.stride, 1)})
        if self.variant == 'openstl':
            check_openstl(self)
        elif self.stride != 1:
            raise InputError(f"stride={self.stride}: must be 1, except with variant='openstl'")

    @property
    def recalls(self) -> bool:
        """Whether there is a recall gate."""
        return self.recall != 'none'

    @property
    def normalizes(self) -> bool:
        """Whether C has a LayerNorm."""
        return FORMS[self.variant].kept is _normalized

    @property
    def normalizes_gates(self) -> bool:
        """Whether each group of gates has a LayerNorm, and every convolution a bias."""
        return self.variant in ('released', 'published')

    @property
    def timed(self) -> bool:
        """Whether RECALL has a bias by how long ago a step was."""
        return self.recalls and FORMS[self.variant].timed

    @property
    def radius(self) -> int | None:
        """How far RECALL looks, as `e3d.kernels.recall` has it."""
        return {'in_place': 0, 'nearby': self.recall_radius}.get(self.recall)

    @property
    def gates(self) -> dict[str, tuple[str, ...]]:
        """The gates of each group that shares an operand, in the order of its kernel's outputs."""
        temporal = ('i', 'g', 'o', *(('r',) if self.recalls else ()))
        if self.recalls and FORMS[self.variant].weighs:
            temporal += ('a',)
        spatial = ('i_', 'g_', 'f_')
        return {
            'input_gates': temporal + spatial,
            'hidden_gates': temporal,
            'memory_gates': (*spatial, 'm') if self.normalizes_gates else spatial,
        }


def update_e3d_lstm(
    options: CellOptions,
    weights: Mapping[str, Any],
    state: E3DLSTMState,
    inputs: jax.Array,
    operations: Operations,
    history: History | None = None,
) -> E3DLSTMState:
    """One step of one layer.

        R  = sigmoid(Wxr*X + Whr*H' + br)    I = sigmoid(Wxi*X + Whi*H' + bi)
        G  = tanh(Wxg*X + Whg*H' + bg)
        C  = I.G + LayerNorm(C' + RECALL(R, history))                                       (1)
        I' = sigmoid(W'xi*X + Wmi*M_below + b'i)    G' = tanh(W'xg*X + Wmg*M_below + b'g)
        F' = sigmoid(W'xf*X + Wmf*M_below + b'f)
        M  = I'.G' + F'.M_below
        O  = sigmoid(Wxo*X + Who*H' + Wco*C + Wmo*M + bo)
        H  = O.tanh(W1x1x1*[C, M])                                                          (2)

    With S_k the C of earlier step k and p a position of depth, height and width, R[p] a vector of
    channels,

        RECALL(R, S)[p] = sum_kq softmax_kq(R[p] . S_k[q]) S_k[q]

    where q is, with `recall='everywhere'`, any position, as equation 1 is printed; with 'in_place' p
    alone; with 'nearby' those in the depth of p that are at most `recall_radius` = r from it in height
    and in width, (2r+1) x (2r+1) of them or, at the border of the frame, fewer.

    `variant='refined'` has no sigmoid on R, so that the softmax can be as sharp as it needs to be, and a
    gate in place of the LayerNorm, so that C is a mean of what is new, of what was there before and
    of what is recalled, and nowhere larger than 1:

        R  = Wxr*X + Whr*H' + br
        C  = I.G + (1 - I).(C' + RECALL(R, history))/2

    `variant='gated'` has the mean of C' and what is recalled by a gate of its own in place of a half:

        A  = sigmoid(Wxa*X + Wha*H' + ba)
        C  = I.G + (1 - I).(A.C' + (1 - A).RECALL(R, history))

    Without RECALL there is one memory in both, and C = I.G + (1 - I).C'.

    `variant='timed'` is the gated form with a learned bias b by how many steps ago k was, as there is
    for relative positions in T5 (Raffel et al. 2020):

        RECALL(R, S)[p] = sum_kq softmax_kq(R[p] . S_k[q] + b[t - k]) S_k[q],    b[n] = d_1 + ... + d_n

    for n up to 64, and b[n] = b[64] for larger ones. The parameters are the steps d from one age to the
    next: those beyond the length of training stay 0, so that in a longer forecast what is older than
    all that was seen there is as good as the oldest that was.

    In the copy test of `experiments/study.py:brief`, where only memory helps, the MSE is 3.11 as
    printed, 2.33 in place, 1.99 refined, 1.89 gated and 0.89 timed, that of PredRNN 2.14; but the timed
    form has learned one distance in time, and with another it is the worst (RESULTS.md).

    `variant='released'` has F' = sigmoid(. + 1), M = I'.G' + F'.tanh(Wmm*M_below), O = sigmoid(tanh(.)).
    `variant='published'` is the same with three traits of the code that it is named after: every layer
    hands on the M that it got, so that M_below is 0 always; the history begins with a state of zeros;
    and every LayerNorm has an epsilon of 1e-12.

    Args:
      options: which form of the equations.
      weights: the tree of `E3DLSTMCell.weights`.
      state: C' and H' of this layer at the step before, and M_below.
      inputs: X, `[B, D, H, W, channels]`.
      operations: carries out the convolutions and RECALL.
      history: C of this layer at earlier steps; not needed with `recall='none'`.

    Returns:
      The new C, H and M.
    """
    form = FORMS[options.variant]
    C_before, _, M_below = state

    # a.i is Wxi*X + Whi*H' + bi, a.i_ is W'xi*X + Wmi*M_below + b'i
    a = _pre_activations(options, weights, state, inputs, operations)

    memories = [C_before]
    if options.recalls:
        R = operations.gate('R', a.r) if form.gated_query else a.r
        history = with_zero_state(history) if form.recalls_zero else history
        bias = _of_ages(weights['bias_of_ages'], history.ages) if form.timed else None
        recalled = operations.recall(R, history, options.radius, bias)
        if form.weighs:
            A = operations.gate('A', a.a)
            memories = [A * C_before + (1 - A) * recalled]
        else:
            memories.append(recalled)

    def normalize(memory):
        return operations.layer_norm(memory, weights['cell_norm'], form.epsilon)

    I = operations.gate('I', a.i)
    G = tanh(a.g)
    C = I * G + form.kept(I, memories, normalize)  # (1)

    I_ = operations.gate("I'", a.i_)
    G_ = tanh(a.g_)
    F_ = operations.gate("F'", form.forget(a.f_))
    M = I_ * G_ + F_ * form.carried(M_below, a)

    C_and_M = jnp.concatenate([C, M], axis=-1)
    of_states = _output_terms(weights['outputs'], C_and_M, options, operations)
    O = operations.gate('O', form.output(a.o + of_states))
    H = O * tanh(_project(weights['projection'], C_and_M))  # (2)
    return E3DLSTMState(C, H, M_below if form.hands_on else M)


def _pre_activations(
    options: CellOptions, weights, state: E3DLSTMState, inputs: jax.Array, operations: Operations
) -> SimpleNamespace:
    """What the gates are functions of, but for what O has from C and M.

    Without `input_gates` those of the inputs are in both other groups, see `join_inputs`.
    """

    def gates(name: str, operand: jax.Array) -> dict[str, jax.Array]:
        epsilon = FORMS[options.variant].epsilon
        values = convolve_gates(weights[name], operand, options.features, operations, epsilon)
        return dict(zip(options.gates[name], values, strict=True))

    of_inputs = gates('input_gates', inputs) if 'input_gates' in weights else {}
    sums = {}
    for name, operand in (('hidden_gates', state.hidden), ('memory_gates', state.memory)):
        if not of_inputs:
            operand = jnp.concatenate([inputs, operand], axis=-1)
        for gate, values in gates(name, operand).items():
            sums[gate] = of_inputs[gate] + values if gate in of_inputs else values
    return SimpleNamespace(**sums)


def _of_ages(bias: jax.Array, ages: jax.Array) -> jax.Array:
    """The bias `[B, K]` of slots of these ages; what stands where nothing is remembered is not used."""
    return bias[jnp.clip(ages, 1, len(bias)) - 1]


def join_inputs(options: CellOptions, groups: Mapping[str, Any]) -> dict[str, Any]:
    """The groups with Wx* of `input_gates` in the two others: W*[X, H'] in place of Wx*X + Wh*H'.

    Two convolutions in place of three whose results are added, of which training keeps half as much.
    But a CPU transforms X twice.
    """
    inputs = groups['input_gates']
    temporal = len(options.gates['hidden_gates']) * options.features
    parts = {'hidden_gates': slice(None, temporal), 'memory_gates': slice(temporal, None)}
    joined = {
        name: join_operators([{key: inputs[key][..., part] for key in inputs}, groups[name]])[0]
        for name, part in parts.items()
    }
    return {name: group for name, group in groups.items() if name != 'input_gates'} | joined


def _output_terms(groups, C_and_M: jax.Array, options: CellOptions, operations: Operations):
    """Wco*C + Wmo*M."""
    operands = jnp.split(C_and_M, len(groups), axis=-1)
    return sum(
        convolve_gates(group, operand, options.features, operations)[0]
        for group, operand in zip(groups, operands, strict=True)
    )


def _project(group: Mapping[str, jax.Array], states: jax.Array) -> jax.Array:
    """W1x1x1 * states."""
    return add_bias(states @ group['kernel'].astype(states.dtype), group)

"""The models: E3D-LSTM as the paper tells it, and the recurrent models it is compared with.

    equations.py      equations 1 and 2: `update_e3d_lstm`, and their options
    cell.py           `E3DLSTMCell`
    openstl.py        the cell of another code, for its weights
    gates.py          the operator `*` of the equations, three forms of it
    recurrent.py      what the cells of all models share
    stack.py          layers of any cells, and the zig-zag route of M
    patching.py       frames to space-to-depth patches and back
    frames.py         the check of a user's frames
    windows.py        `windows`: ordinary video as cells take it
    fields.py         the checks of a model's fields
    needs.py          what a model needs beside frames, and its call with that
    beside.py         gaps, what is known ahead and noise, as further channels of any forecaster
    tiles.py          frames larger than those of the training, forecast tile by tile
    network.py        window, feedback and loop: what forecasters and recognizers share
    forecaster.py     patches, encoder and decoder: what forecasters of stacked cells share
    stepwise.py       what forecasters without a stack of cells share: their step is written out
    layers.py         2D convolutions of stride 1, 2 and 1/2, pooling and a ConvLSTM for these
    recognizer.py     strided encoder and decoder, classifier: what all recognizers share
    strided.py        convolutions of stride 2 that are fast in a loop
    clip_recognizer.py  what the published networks over whole clips share
    clip_layers.py    their layers
    classifier.py     from the states of the newest steps to the scores of the classes
    streaming.py      `start`, `observe`, `forecast_from`: frame by frame
    registry.py       the models by the name that a config gives them

One file for each model: its cells, its stack, its class.

    e3d_lstm.py, convlstm.py, predrnn.py, predrnn_plus_plus.py                  forecasters
    dfn.py, cdna.py, frnn.py, vpn_baseline.py, mcnet.py with adversary.py       the same, stepwise
    simvp.py with translators.py, st_resnet.py                                  feed-forward ones
    e3d_recognizer.py, st_lstm_recognizer.py, cnn_recognizer.py                 recognizers
    c3d.py, i3d.py, s3d.py, p3d.py, video_resnet.py                             recognizers of clips

Axes: B batch, T (N in loops) time, D depth of a state's window, H W space, C channels, K remembered
steps, P = D*H*W positions of a state. Frames are `[B, T, H, W, C]` in [0, 1], states
`[B, D, H, W, C]`.
"""

from e3d.model.c3d import C3D
from e3d.model.cdna import CDNA
from e3d.model.cell import E3DLSTMCarry, E3DLSTMCell
from e3d.model.cnn_recognizer import CNNRecognizer
from e3d.model.convlstm import ConvLSTM, ConvLSTMCell
from e3d.model.dfn import DFN
from e3d.model.e3d_lstm import E3DLSTM, E3DLSTMStack, E3DLSTMStackCarry
from e3d.model.e3d_recognizer import E3DRecognizer
from e3d.model.forecaster import Forecaster
from e3d.model.frnn import FRNN
from e3d.model.gates import convolve_gates
from e3d.model.i3d import I3D
from e3d.model.mcnet import MCnet
from e3d.model.p3d import P3D
from e3d.model.predrnn import PredRNN, STLSTMCell
from e3d.model.predrnn_plus_plus import CausalLSTMCell, GradientHighwayUnit, PredRNNPlusPlus
from e3d.model.recognizer import Recognizer
from e3d.model.recurrent import RecurrentCell
from e3d.model.registry import (
    FORECASTERS,
    MODELS,
    RECOGNIZERS,
    build_model,
    register_forecaster,
    register_recognizer,
)
from e3d.model.s3d import S3D
from e3d.model.simvp import SimVP
from e3d.model.st_lstm_recognizer import STLSTMRecognizer
from e3d.model.st_resnet import STResNet
from e3d.model.stack import RecurrentStack, Stack
from e3d.model.stepwise import StepwiseForecaster
from e3d.model.streaming import forecast_from, observe, start
from e3d.model.video_resnet import MC3, R3D, R2Plus1D
from e3d.model.vpn_baseline import VPNBaseline
from e3d.model.windows import windows

__all__ = [
    'C3D',
    'CDNA',
    'DFN',
    'E3DLSTM',
    'FORECASTERS',
    'FRNN',
    'I3D',
    'MC3',
    'MODELS',
    'P3D',
    'R3D',
    'RECOGNIZERS',
    'S3D',
    'CNNRecognizer',
    'CausalLSTMCell',
    'ConvLSTM',
    'ConvLSTMCell',
    'E3DLSTMCarry',
    'E3DLSTMCell',
    'E3DLSTMStack',
    'E3DLSTMStackCarry',
    'E3DRecognizer',
    'Forecaster',
    'GradientHighwayUnit',
    'MCnet',
    'PredRNN',
    'PredRNNPlusPlus',
    'R2Plus1D',
    'Recognizer',
    'RecurrentCell',
    'RecurrentStack',
    'STLSTMCell',
    'STLSTMRecognizer',
    'STResNet',
    'SimVP',
    'Stack',
    'StepwiseForecaster',
    'VPNBaseline',
    'build_model',
    'convolve_gates',
    'forecast_from',
    'observe',
    'register_forecaster',
    'register_recognizer',
    'start',
    'windows',
]

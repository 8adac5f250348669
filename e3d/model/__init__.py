"""The models: E3D-LSTM as the paper tells it, and the recurrent models it is compared with.

    gates.py          the operator `*` of the equations, three forms of it
    cell.py           equations 1 and 2: `update_cell`, `E3DLSTMCell`
    stack.py          layers and the zig-zag route of M: `update_stack`, `E3DLSTMStack`
    patching.py       frames to space-to-depth patches and back
    forecaster.py     window, patches, encoder, decoder, feedback: what all models share
    e3d_lstm.py       the forecaster of the paper: `E3DLSTM`
    recognizer.py     strided encoder and decoder, feedback: what all recognisers share, and these
    classifier.py     from the states of the newest steps to the scores of the classes
    frames.py         the check of a user's frames
    streaming.py      `start`, `observe`: recognition frame by frame
    recurrent.py      what the cells of the other models share, and their stack
    convlstm.py, predrnn.py, predrnn_plus_plus.py
                      one of these models each: its cells and its forecaster

Axes: B batch, T (N in loops) time, D depth of a state's window, H W space, C channels, K remembered
steps, P = D*H*W positions of a state. Frames are `[B, T, H, W, C]` in [0, 1], states
`[B, D, H, W, C]`.
"""

import dataclasses

from e3d.errors import InputError
from e3d.model.cell import E3DLSTMCarry, E3DLSTMCell
from e3d.model.convlstm import ConvLSTM, ConvLSTMCell
from e3d.model.e3d_lstm import E3DLSTM
from e3d.model.forecaster import Forecaster
from e3d.model.predrnn import PredRNN, STLSTMCell
from e3d.model.predrnn_plus_plus import CausalLSTMCell, GradientHighwayUnit, PredRNNPlusPlus
from e3d.model.recognizer import CNNRecognizer, E3DRecognizer, Recognizer, STLSTMRecognizer
from e3d.model.recurrent import RecurrentCell, RecurrentStack
from e3d.model.stack import E3DLSTMStack, E3DLSTMStackCarry
from e3d.model.streaming import observe, start

# The models that forecast, by the name that a config gives them.
FORECASTERS = {
    'e3d_lstm': E3DLSTM,
    'convlstm': ConvLSTM,
    'predrnn': PredRNN,
    'predrnn_plus_plus': PredRNNPlusPlus,
}
# Those that recognise what happens.
RECOGNIZERS = {
    'e3d_recognizer': E3DRecognizer,
    'st_lstm_recognizer': STLSTMRecognizer,
    'cnn_recognizer': CNNRecognizer,
}
MODELS = FORECASTERS | RECOGNIZERS


def fields_of(name: str) -> list[dataclasses.Field]:
    """The fields of the model called `name`: the keys of its section in a config."""
    own = ('parent', 'name')  # what every flax module has
    return [field for field in dataclasses.fields(MODELS[name]) if field.name not in own]


def build_model(name: str, **fields):
    """The model called `name` with the given fields, as the `model` section of a config has them.

    Raises:
      InputError: there is no model of that name, or it has no such field.
    """
    if name not in MODELS:
        raise InputError(f'model.name={name!r}: allowed are {sorted(MODELS)}')
    fields = {
        key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()
    }
    try:
        return MODELS[name](**fields)
    except TypeError as error:
        raise InputError(f'model: {error}') from None


__all__ = [
    'E3DLSTM',
    'FORECASTERS',
    'MODELS',
    'RECOGNIZERS',
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
    'PredRNN',
    'PredRNNPlusPlus',
    'Recognizer',
    'RecurrentCell',
    'RecurrentStack',
    'STLSTMCell',
    'STLSTMRecognizer',
    'build_model',
    'fields_of',
    'observe',
    'start',
]

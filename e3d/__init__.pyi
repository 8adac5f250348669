# The public names and where they are: for editors and type checkers, and for `lazy_loader`, which
# imports each when it is first used.

from .configuration import (
    check_config as check_config,
)
from .configuration import (
    default_config as default_config,
)
from .configuration import (
    make_config as make_config,
)
from .data.batches import (
    evaluation_batches as evaluation_batches,
)
from .data.batches import (
    training_batches as training_batches,
)
from .data.preparation import prepare as prepare
from .data.sources.dataset import Dataset as Dataset
from .data.sources.dataset import register_dataset as register_dataset
from .data.sources.registry import open_source as open_source
from .errors import InputError as InputError
from .errors import RunError as RunError
from .evaluation.metrics import frame_metrics as frame_metrics
from .evaluation.presets import register_metric as register_metric
from .fitting.animation import Animation as Animation
from .fitting.fit import fit as fit
from .fitting.run import Run as Run
from .fitting.run import load_run as load_run
from .model import (
    E3DLSTM as E3DLSTM,
)
from .model import (
    CausalLSTMCell as CausalLSTMCell,
)
from .model import (
    CNNRecognizer as CNNRecognizer,
)
from .model import (
    ConvLSTM as ConvLSTM,
)
from .model import (
    ConvLSTMCell as ConvLSTMCell,
)
from .model import (
    E3DLSTMCarry as E3DLSTMCarry,
)
from .model import (
    E3DLSTMCell as E3DLSTMCell,
)
from .model import (
    E3DLSTMStack as E3DLSTMStack,
)
from .model import (
    E3DLSTMStackCarry as E3DLSTMStackCarry,
)
from .model import (
    E3DRecognizer as E3DRecognizer,
)
from .model import (
    Forecaster as Forecaster,
)
from .model import (
    GradientHighwayUnit as GradientHighwayUnit,
)
from .model import (
    PredRNN as PredRNN,
)
from .model import (
    PredRNNPlusPlus as PredRNNPlusPlus,
)
from .model import (
    Recognizer as Recognizer,
)
from .model import (
    RecurrentCell as RecurrentCell,
)
from .model import (
    RecurrentStack as RecurrentStack,
)
from .model import (
    STLSTMCell as STLSTMCell,
)
from .model import (
    STLSTMRecognizer as STLSTMRecognizer,
)
from .model import (
    build_model as build_model,
)
from .model import (
    forecast_from as forecast_from,
)
from .model import (
    observe as observe,
)
from .model import (
    register_forecaster as register_forecaster,
)
from .model import (
    register_recognizer as register_recognizer,
)
from .model import (
    start as start,
)
from .model import (
    windows as windows,
)
from .options.option import option as option
from .prediction.forecast import forecast as forecast
from .prediction.inspection import inspect_run as inspect_run
from .prediction.predict import predict_file as predict_file
from .prediction.presentation import Presentation as Presentation
from .prediction.recognize import Recognized as Recognized
from .prediction.recognize import recognize as recognize
from .tasks.registry import Task as Task
from .tasks.registry import register_task as register_task
from .training.evaluation import evaluate as evaluate
from .training.loop import train as train
from .training.step import train_step as train_step
from .weights.exporting import export_run as export_run
from .weights.importing import import_run as import_run
from .weights.stream_file import load_stream as load_stream
from .weights.stream_file import save_stream as save_stream

__version__: str

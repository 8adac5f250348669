"""What distinguishes the tasks: their loss, and how parameters are measured.

The loop, the update, checkpoints, devices and reporting are the same for all.
"""

from collections.abc import Callable
from typing import NamedTuple

from flax import linen as nn
from ml_collections import ConfigDict

from e3d.tasks import prediction as forecasting
from e3d.tasks import recognition
from e3d.tasks.evaluator import Evaluator
from e3d.tasks.losses import LossFunction


class Task(NamedTuple):
    """A task, by the name that `task` has in a config.

    Attributes:
      build_loss: from config and model to what an update minimizes.
      evaluator: from (config, model, workdir, mesh, splits) to what measures parameters; opens the
        data, and raises InputError where a split cannot be opened.
    """

    build_loss: Callable[[ConfigDict, nn.Module], LossFunction]
    evaluator: Callable[..., Evaluator]


TASKS = {
    'prediction': Task(forecasting.build_loss, forecasting.ForecastEvaluator),
    'recognition': Task(recognition.build_loss, recognition.RecognitionEvaluator),
}

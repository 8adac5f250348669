"""What distinguishes the tasks: their loss, and how parameters are measured.

The loop, the update, checkpoints, devices and reporting are the same for all.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

from flax import linen as nn
from ml_collections import ConfigDict

from e3d.data.sources.scales import Scale
from e3d.options.tables import enter
from e3d.tasks.evaluator import Evaluator
from e3d.tasks.losses import LossFunction


class Task:
    """A task, by the name that `task` has in a config; never instantiated.

    Attributes:
      objective: a dataclass of options, the section `loss` of its configs.
      models: those for this task, by name.
      default_model: the one of the paper.
      labeled: whether it needs a data set with classes.
    """

    objective: ClassVar[type]
    models: ClassVar[Mapping[str, type[nn.Module]]]
    default_model: ClassVar[str]
    labeled: ClassVar[bool] = False

    @staticmethod
    def build_loss(config: ConfigDict, model: nn.Module, scale: Scale) -> LossFunction:
        """What an update minimizes; the scale says what the values of the frames stand for."""
        raise NotImplementedError

    evaluator: ClassVar[Callable[..., Evaluator]]
    """From (config, model, workdir, mesh, splits) to what measures parameters; opens the data, and
    raises InputError where a split cannot be opened. An evaluation gives its run's scale as well, and
    whether the data of that had gaps."""

    @staticmethod
    def problems(config: Mapping[str, Any]) -> Iterable[str]:
        """What is wrong between keys that are each right by themselves, by 'section.key'."""
        return ()


TASKS: dict[str, type[Task]] = {}


def register_task(name: str) -> Callable[[type[Task]], type[Task]]:
    """A decorator that enters a task.

    Args:
      name: that `task` has in a config.

    Raises:
      InputError: another task has the name.
    """
    return enter(TASKS, name, 'task')

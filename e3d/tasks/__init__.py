"""The tasks: what an update minimizes, how parameters are measured, what a report and its pictures are.

losses       equation 3: L2 and L1 between predicted and true frames; what a loss is
schedules    learning rate, weight of L1, scheduled sampling, as functions of the step
provenance   what an evaluation measured, and the name of its files
evaluator    what measures parameters on the splits of a data set
prediction   the evaluator of the task 'prediction'; its loss under scheduled sampling: prediction_loss;
             what it forecasts when it is measured: layout_forecast
observing    which front part of a clip a recognizer observes
recognition  the evaluator of the task 'recognition'; equations 4 and 5: recognition_loss
registry     what a task is, and all of them by name
"""

# Each enters itself into `registry.TASKS`.
from e3d.tasks import prediction, recognition

__all__ = ['prediction', 'recognition']

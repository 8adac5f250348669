"""Training: from a config and a folder to a trained model, resumable at every checkpoint.

    losses       equation 3: L2 and L1 between predicted and true frames
    schedules    learning rate, weight of L1, scheduled sampling, as functions of the step
    state        what training changes: step, parameters, their moving average, optimiser
    step         one update, a pure function of state and batch
    footprint    parameters and bytes that a training takes, told from shapes
    memory       what cannot fit is rejected
    processes    those that train together, on one machine or many
    devices      the only file that knows how many devices there are
    checksums    what was written can be read; damage to it is found
    storage_errors  what goes wrong there, in words
    retention    which checkpoints stay
    checkpoints  the states on disk, and `load_run`, which opens a trained run for use
    interruption SIGTERM and Ctrl-C
    workdir      the folder of a run and the config stored in it
    contents     what tells the data of a run from others
    provenance   what an evaluation measured, and the name of its files
    evaluator    what measures parameters on the splits of a data set
    forecasting  the loss and the evaluator of the task 'prediction'
    observing    which front part of a clip a recognizer observes
    recognition  the same of the task 'recognition'
    transfer     parameters of another run to begin with
    tasks        both of every task, by its name
    reporting    metrics.jsonl, TensorBoard events, the progress line
    followers    what the processes have that do not write
    failures     what can stop an update, and what to try
    evaluation   `evaluate`: a trained run is measured again
    loop         `train`: everything put together

Everything random is a function of (seed, step), so that a checkpoint needs to hold no more than the
state. Axes: B batch, T time, H W space, C channels.
"""

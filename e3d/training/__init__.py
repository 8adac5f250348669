"""Training: from a config and a folder to a trained model, resumable at every checkpoint.

    optimizer    what an update does with a gradient; the first state
    step         one update, a pure function of state and batch
    update       both put together as a config describes them
    footprint    parameters and bytes that a training takes, told from shapes
    memory       what cannot fit is rejected
    shared       what processes that work together must have in common
    interruption SIGTERM and Ctrl-C
    failures     what can stop an update or an evaluation, and what to try
    evaluation   `evaluate`: a trained run is measured again
    parts        everything that a training needs, checked before it begins
    loop         `train`: from the first step to the last

Everything random is a function of (seed, step), so that a checkpoint needs to hold no more than the
state. Axes: B batch, T time, H W space, C channels.
"""

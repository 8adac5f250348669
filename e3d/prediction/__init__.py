"""Continuing a user's own clip, or saying what happens in it.

    opening       the run that a user names
    inputs        a user's clip made into what a model sees
    clip_reader   the same in a process of its own, for clips of strangers
    memory        whether a forecast fits into memory
    presentation  a forecast as pictures to be looked at
    media         forecasts to any form of file
    forecast      a trained run continues an array of frames
    predict       the same from file to file
    inspection    what a trained run does inside while it forecasts, in arrays and pictures
    recognize     a trained run, or published weights, recognize what happens in one

Clips are read and made to fit the model by the code of `e3d.data` that prepares those of the
training. Frames are `[T, H, W, C]`: uint8 in 0..255
or float32 in [0, 1]; T time, H W space, C channels.
"""

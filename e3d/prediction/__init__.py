"""From a user's own clip to its continuation.

    media     forecasts to any form of file
    forecast  a trained run continues an array of frames, or a file

Clips are read and made to fit the model by `e3d.data`. Frames are `[T, H, W, C]`: uint8 in 0..255
or float32 in [0, 1]; T time, H W space, C channels.
"""

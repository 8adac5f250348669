"""From a user's own clip to its continuation.

    arrays      which NumPy arrays are clips
    videos      FFmpeg through PyAV
    media       clips from and to any form of file
    adaptation  frames of another size or colour made to fit the model
    forecast    a trained run continues an array of frames, or a file

Frames are `[T, H, W, C]`: uint8 in 0..255 or float32 in [0, 1]; T time, H W space, C channels.
"""

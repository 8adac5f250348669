"""How good forecasts are, in numbers and in pictures.

    metrics   squared and absolute error, PSNR and SSIM of every single frame (jax.numpy)
    events, conventions  CSI, POD, FAR and the like of values above thresholds; radar data sets
    balanced  errors that weigh more where it rains more
    evaluate  their means over a whole split, beside the two trivial forecasts; the report and its
              tables
    styles    names, colors and markers of models, for all pictures and tables
    pictures  strips, animations and per-frame curves
    recognition  accuracy of recognized classes, its interval and pictures

Frames are float32 `[B, T, H, W, C]` in [0, 1]: B batch, T time, H W space, C channels.
"""

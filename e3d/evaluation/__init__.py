"""How good forecasts are, in numbers and in pictures.

    metrics   squared and absolute error, PSNR and SSIM of every single frame (jax.numpy)
    events, conventions  CSI, POD, FAR and the like of values above thresholds; radar data sets
    balanced  errors that weigh more where it rains more
    ensembles  CRPS, spread and ranks of several futures
    baselines, optical_flow  forecasts that need no learning
    evaluate  their means over a whole split, beside the two trivial forecasts; the report and its
              tables
    styles    names, colors and markers of models, for all pictures and tables
    pictures  frames as colors, animations
    strips, samples  one sequence as a figure; those of some sequences as files
    curves    metrics by frame
    figures   figures as files of several formats
    shown     which sequences are shown in a report
    recognition, recognition_pictures  accuracy of recognized classes, its interval

Frames are float32 `[B, T, H, W, C]` in [0, 1]: B batch, T time, H W space, C channels.
"""

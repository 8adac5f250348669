"""How good forecasts are, in numbers and in pictures.

    metrics   squared and absolute error, PSNR and SSIM of every single frame (jax.numpy)
    presets   metrics as other codes compute them, and those of one's own
    sharpness the size of gradients; what eyes see, LPIPS and FVD: perceptual
    events, conventions  CSI, POD, FAR and the like of values above thresholds; radar data sets
    balanced  errors that weigh more where it rains more
    ensembles  CRPS, spread and ranks of several futures
    baselines, optical_flow  forecasts that need no learning
    evaluate  all of these over a whole split, summed in collection; how sure the means are: intervals
    undefined what could not be measured: NaN in arrays, None in reports
    report    the report as JSON and as a table
    styles    names, colors and markers of models, for all pictures and tables
    pictures  frames as colors, animations
    strips, samples  one sequence as a figure; those of some sequences as files
    curves    metrics by frame
    figures   figures as files of several formats
    shown     which sequences are shown in a report
    recognition, recognition_pictures  accuracy of recognized classes, its interval

Frames are float32 `[B, T, H, W, C]` in [0, 1]: B batch, T time, H W space, C channels.
"""

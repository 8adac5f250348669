"""Data: from files and digits to batches of frames.

    open_source       the data set a config names, by random access (sources.registry)
    layout_of         which frames of its sequences are observed, which forecast (sources.layouts)
    prepare           makes it ready ahead of training (preparation)
    describe_data_sets  all data sets and whether they are at hand (listing)
    training_batches  batches, their order a function of (seed, step) (batches)

In between:

    readers      files of others, read with bounds: videos, pictures, arrays, archives
    sources      the data sets, by random access

A source is anything with `len(source)` and `source[index] -> {'frames': [T, H, W, C]}`, uint8 in
0 .. 255 or float32 in [0, 1], and for recognition a 'label'. A batch holds `frames`, float32
[B, T, H, W, C] in [0, 1].
"""

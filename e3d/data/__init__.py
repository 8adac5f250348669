"""Data: from digits and array files to batches of frames.

    digits         images of digits, by source, disjoint between the splits
    moving_digits  one bouncing-digits sequence as a function of (seed, split, index)
    moving_mnist   the fixed sets of such sequences as a TFDS builder, written once
    arrays         sequences stored by others: mnist_test_seq.npy, the released .npz, any array
    sources        open_source: the data set a config names, by random access
    batches        training and evaluation batches, order a function of (seed, step)

A source is anything with `len(source)` and `source[index] -> {'frames': [T, H, W, C]}`, uint8 in
0 .. 255 or float32 in [0, 1]. A batch holds `frames`, float32 [B, T, H, W, C] in [0, 1].
"""

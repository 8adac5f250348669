"""Data: from files and digits to batches of frames.

    open_source       the data set a config names, by random access (sources)
    layout_of         which frames of its sequences are observed, which forecast (layouts)
    prepare           makes it ready ahead of training (preparation)
    training_batches  batches, their order a function of (seed, step) (batches)

Data sets:

    moving_mnist         bouncing digits: digits, moving_digits; stored by others: arrays, array_copies
    moving_actions       digits and what one of them does, for early recognition
    kth                  human actions; its archives and clips: kth_files; rules: kth_windows
    taxibj               flows over the grid of a city; its files: flow_files, flow_archives
    something_something  people and things; its files: something_something_files,
                         and records: something_something_records
    video_folder         anyone's clips; its files and who gets them: video_folder_files,
                         video_folder_splits

What they share:

    records       TFDS builders run without TensorFlow, whole or not there
    clip_records  clips in pieces, sequences anywhere in them
    walk          through folders, without getting lost in them
    left_out      what of the files is not used, in words
    copy_test     any of these with a sequence seen before
    clips         a clip from a file of any form: videos, pictures, clip_arrays
    timing        when frames are on the screen; other rates made of that
    videos        frames and times of a video: containers, video_streams, video_file,
                  video_pixels
    pictures      one decoded: upright, on black, all its depth; several in a file: animations
    picture_folders  one picture per frame; order and gaps: picture_order, picture_names
    array_files   .npy and .npz; their axes: array_layouts
    hdf5_files    data sets out of HDF5 files
    archives      zip archives, in bounds
    adaptation    frames of another size or colour made to fit
    downloads     files from the network, whole and checked

A source is anything with `len(source)` and `source[index] -> {'frames': [T, H, W, C]}`, uint8 in
0 .. 255 or float32 in [0, 1], and for recognition a 'label'. A batch holds `frames`, float32
[B, T, H, W, C] in [0, 1].
"""

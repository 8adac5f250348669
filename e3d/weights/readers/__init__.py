"""Weights in the files of other codes, read as data.

    checksum            CRC-32C of many bytes
    tensorflow_bundle   TensorFlow's checkpoints, read without TensorFlow
    pickles             pickles read as data, without running what they ask for
    pytorch_files       PyTorch's files, read without PyTorch
    layouts             tensors in the tree of parameters here, by a table of their names
    torchvision         those of torchvision's networks of video recognition

Files are of others and not trusted: every length is checked against the file, and no code of a file
is ever run.
"""

"""Weights in and out: those of other codes made a run, a run made a file for others.

    checksum            CRC-32C of many bytes
    tensorflow_bundle   TensorFlow's checkpoints, read without TensorFlow
    pickles             pickles read as data, without running what they ask for
    pytorch_files       PyTorch's files, read without PyTorch
    layouts             tensors in the tree of parameters here, by a table of their names
    google              the checkpoints of google/e3d_lstm
    openstl             the files of OpenSTL
    tensor_file         a trained run as one .safetensors file
    importing           weights made a run: `import_run`
    programs            a forecast as a program in StableHLO
    exporting           a run made a file: `export_run`
    stream_file         the state of a stream as a file

Files are of others and not trusted: every length is checked against the file, and no code of a file
is ever run.
"""

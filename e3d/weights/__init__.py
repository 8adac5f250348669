"""Weights in and out: those of other codes made a run, a run made a file for others.

readers             the files of other codes, read as data
google              the checkpoints of google/e3d_lstm
openstl             the files of OpenSTL
tensor_file         a trained run as one .safetensors file
importing           weights made a run: `import_run`
programs            a forecast as a program, in StableHLO or ONNX
exporting           a run made a file: `export_run`
stream_file         the state of a stream as a file
"""

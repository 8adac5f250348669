"""What makes the models fast: arrays in, arrays out, each with a gradient rule of its own.

    winograd.py       a 3D convolution in few products, and its gradients: for CPUs
    planes.py         a 3D convolution as one of two axes: for GPUs and TPUs
    convolution.py    one 3D convolution with a gradient that is fast in a loop, on any backend
    depthwise.py      a 2D convolution of each channel by itself, and its gradients
    clips.py          a 3D convolution of whole clips, outside of any loop
    everywhere.py     RECALL as printed, over all positions, block by block
    fused.py          the same in one kernel, for NVIDIA GPUs
    nearby.py         RECALL at and around the same place
    in_place.py       at the same place in one kernel, for NVIDIA GPUs
    triton.py         what kernels for NVIDIA GPUs share
    recall.py         the choice between them, with its gradient
    layer_norm.py     LayerNorm over a state
    local_filters.py  filters of each pixel's or each picture's own
    modes.py          how a step carries out convolutions and RECALL: compute, record, replay
    bundles.py        trees of arrays as few arrays: for GPUs
    platforms.py      which of these a platform gets
    precision.py      how products are rounded
    scan.py           the time loop that owns the remembered states, with linear memory

Nothing here knows of a particular model. Axes are those of `e3d.model`.
"""

"""Files of others: what is in them, read with bounds. Untrusted input ends here.

clips         a clip from a file of any form: frames, and when each is on the screen
timing        when frames are on the screen; other rates made of that
videos        frames and times of a video: containers, video_streams, video_file, video_pixels
pictures      one decoded: upright, on black, all its depth; several in a file: animations
picture_folders  one picture per frame; order and gaps: picture_order, picture_names
clip_arrays   a clip from .npy or .npz: array_files; its axes: array_layouts
hdf5_files    data sets out of HDF5 files
grids         variables over time from .npy, .npz and .h5, in pieces; netCDF and zarr: labeled_grids,
              zarr_stores; when their frames are: grid_times
archives      zip archives, in bounds
downloads     files from the network, whole and checked
walk          through folders, without getting lost in them
left_out      what of the files is not used, in words
"""

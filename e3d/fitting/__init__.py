"""From Python, with no more than arrays: a model is fitted to frames, and a run forecasts and is shown.

run        `load_run`: a trained run that forecasts, and shows itself in a notebook
animation  moving pictures of a forecast
fit        `fit`: from arrays to a run
"""

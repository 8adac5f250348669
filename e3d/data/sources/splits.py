"""The parts into which every data set is divided."""

SPLITS = ('train', 'validation', 'test')

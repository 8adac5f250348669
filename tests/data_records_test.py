import numpy as np
from tensorflow_datasets.core import shuffle
from training_helpers import tiny_config

from e3d.data.sources.registry import open_source


def test_many_records_need_no_other_framework(tmp_path, monkeypatch):
    few = tiny_config(tmp_path, **{'dataset.data_dir': str(tmp_path / 'few')}).dataset
    many = tiny_config(tmp_path, **{'dataset.data_dir': str(tmp_path / 'many')}).dataset
    expected = open_source(few, 'test', 0)
    monkeypatch.setattr(shuffle, 'MAX_MEM_BUFFER_SIZE', 10)  # of bytes: any record has more
    found = open_source(many, 'test', 0)
    assert len(found) == len(expected) == 5
    for index in range(5):
        np.testing.assert_array_equal(found[index]['frames'], expected[index]['frames'])

import pytest
from selection import ON_LINUX

from e3d.parallel import host_memory

MEMINFO = """MemTotal:        2000 kB
MemFree:          1 kB
MemAvailable:   900 kB
SwapTotal:       500 kB
HugePages_Total:     0
"""
GROUP = 'sys/fs/cgroup/a'
GROUP_1 = 'sys/fs/cgroup/memory'


def file_system(root, groups='', files=()):
    written = {'proc/meminfo': MEMINFO, 'proc/self/cgroup': groups, **dict(files)}
    for name, text in written.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ('groups', 'limits', 'kibibytes'),
    [
        ('', {}, 2500),
        ('0::/\n', {'sys/fs/cgroup/memory.max': 'max\n'}, 2500),
        ('0::/\n', {'sys/fs/cgroup/memory.max': '1024000\n'}, 1000),
        ('0::/a/b\n', {'sys/fs/cgroup/a/memory.max': '2048000\n'}, 2000),
        ('0::/a/b\n', {'sys/fs/cgroup/x/memory.max': '2048\n'}, 2500),
        # In a container the path is that of the host.
        ('4:memory:/docker/1\n', {'sys/fs/cgroup/memory/memory.limit_in_bytes': '1024\n'}, 1),
        ('4:cpu:/\n', {'sys/fs/cgroup/cpu/memory.max': '1024\n'}, 2500),
        ('4:memory:/\n', {'sys/fs/cgroup/memory/memory.limit_in_bytes': f'{2**63 - 4096}\n'}, 2500),
    ],
)
def test_the_total_is_what_the_machine_and_its_groups_allow(tmp_path, groups, limits, kibibytes):
    root = file_system(tmp_path, groups, limits)
    assert host_memory.total_bytes(root) == kibibytes * 1024


@pytest.mark.parametrize(
    ('groups', 'files', 'kibibytes'),
    [
        ('', {}, 900),
        ('0::/a\n', {f'{GROUP}/memory.max': '819200'}, 800),
        (
            '0::/a\n',
            {
                f'{GROUP}/memory.max': '819200',
                f'{GROUP}/memory.current': '614400',
                f'{GROUP}/memory.stat': 'anon 1\ninactive_file 102400\n',  # 100 kB of files
            },
            300,
        ),
        ('0::/a\n', {f'{GROUP}/memory.max': 'max', f'{GROUP}/memory.current': '614400'}, 900),
        (
            '4:memory:/a\n',
            {
                f'{GROUP_1}/memory.limit_in_bytes': '1024000',
                f'{GROUP_1}/memory.usage_in_bytes': '921600',
                f'{GROUP_1}/memory.stat': 'inactive_file 7\ntotal_inactive_file 102400\n',
            },
            200,
        ),
        (  # used beyond a limit that was lowered since
            '0::/a\n',
            {
                f'{GROUP}/memory.max': '1024',
                f'{GROUP}/memory.current': '614400',
                f'{GROUP}/memory.stat': 'inactive_file 0\n',
            },
            0,
        ),
    ],
)
def test_free_is_what_the_machine_has_left_and_its_groups_allow(tmp_path, groups, files, kibibytes):
    root = file_system(tmp_path, groups, files)
    assert host_memory.free_bytes(root) == kibibytes * 1024


def test_a_system_that_does_not_say(tmp_path):
    assert host_memory.total_bytes(tmp_path) is None
    assert host_memory.free_bytes(tmp_path) is None


@ON_LINUX
def test_this_machine_has_memory():
    assert 2**20 < host_memory.free_bytes() <= host_memory.total_bytes() < 2**50

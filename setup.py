"""What setup.cfg cannot say: the experiments are shipped inside the package, as `e3d.experiments`."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=['e3d', 'e3d.*']), 'e3d.experiments'],
    package_dir={'e3d.experiments': 'experiments'},
)

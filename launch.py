"""The command `e3d` from a checkout, installed or not: `python launch.py --help`."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from e3d.__main__ import start

if __name__ == '__main__':
    start([sys.executable, os.path.abspath(__file__)])

"""What the command `e3d` understands.

definitions  its flags
parsing      flags read, the config they name, and the values they change in it
help         what `--help` lists
"""

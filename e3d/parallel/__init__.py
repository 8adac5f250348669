"""The devices and processes of one training; nothing else knows how many there are, or their memory.

processes    those that train together, on one machine or many
devices      the local devices: placing, the parallel step, what all agree on
followers    what the processes have that do not write
host_memory  how much memory the machine has and how much is free, as control groups allow
"""

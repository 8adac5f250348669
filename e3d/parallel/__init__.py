"""The devices and processes of one training; nothing else knows how many there are.

processes    those that train together, on one machine or many
devices      the local devices: placing, the parallel step, what all agree on
followers    what the processes have that do not write
"""

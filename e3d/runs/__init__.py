"""What a workdir holds: the config, states, metrics, and what tells the data of a run from others.

state        what training changes: step, parameters, their moving average, optimizer
checksums    what was written can be read; damage to it is found
storage_errors  what goes wrong there, in words
retention    which checkpoints stay
workdir      the folder of a run and the config stored in it
fingerprint  what tells the data of a run from others
stored_run   what is stored with each state, so that the run can be used
checkpoints  the states on disk
trained_run  `load_run` opens a trained run for use
published    recognizers whose weights others have published, as runs
transfer     parameters of another run to begin with
reporting    metrics.jsonl, TensorBoard events, the progress line
"""

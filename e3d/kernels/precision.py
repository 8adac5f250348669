"""How products of float32 are rounded on GPUs and TPUs.

JAX has a setting for it, `jax.default_matmul_precision`. What is computed later than it is said, such
as a gradient, would take what is set then; so the functions here ask once, when they are called, and
keep to it. CPUs multiply float32 as it is.
"""

import jax

# In words of a model, in JAX's words.
PRECISIONS = {
    # As float32, nearly to its last bits: no TF32 on GPUs, or three products of it for one (see
    # `triton.py`); six passes of bfloat16 on TPUs.
    'float32': 'highest',
    'fast': 'default',  # what the backend does fastest: TF32, one pass of bfloat16
}


def chosen_precision() -> str | None:
    """What is set where this is called, None where nothing is."""
    return jax.config.jax_default_matmul_precision

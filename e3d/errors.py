"""The two kinds of failure that are reported by a plain message."""


class InputError(ValueError):
    """What the user gave cannot be used: a config value, a file, an array, a folder.

    The message names the value, what is allowed and the remedy. The command `e3d` prints it and ends
    with exit code 2.
    """


class RunError(RuntimeError):
    """Work that had begun could not continue: a non-finite loss, a full disk.

    The message says what happened, what is safe and what to try. The command `e3d` prints it and ends
    with exit code 1.
    """


def exit_code(error: Exception) -> int:
    """With what a program ends that met an error: 2 for input that cannot be used, else 1."""
    return 2 if isinstance(error, InputError) else 1


def missing_extra(what: str, error: ModuleNotFoundError) -> Exception:
    """What to raise where a package is missing: those of pip's extra `all` are named with a remedy.

    Args:
      what: that was to be used.
      error: of the import.
    """
    package = (error.name or '').partition('.')[0]
    if package in ('', 'e3d'):
        return error
    return InputError(f"{what} needs the package {package}: pip install 'e3d[all]'")

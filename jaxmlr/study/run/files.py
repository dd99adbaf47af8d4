"""Files that are written whole or not at all, created by one process only, and read only if unchanged."""

import contextlib
import hashlib
import os
import shutil
import tempfile
import time
from pathlib import Path

DIGEST_BYTES = hashlib.sha256().digest_size


def sealed(content: bytes) -> bytes:
    """The content, then its SHA-256."""
    return content + hashlib.sha256(content).digest()


def unsealed(path: Path) -> bytes:
    """The content of a sealed file.

    Raises:
      OSError: it cannot be read.
      ValueError: it is not what was written.
    """
    whole = path.read_bytes()
    content, digest = whole[:-DIGEST_BYTES], whole[-DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != digest:
        raise ValueError("its checksum is another one")
    return content


def write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, also when the power fails.

    Raises:
      OSError: it cannot be written, as on a full disk; the message names it.
    """
    descriptor, fresh = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with open(descriptor, "wb", buffering=0) as file:
            rest = memoryview(content)
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
        os.chmod(fresh, 0o644)
        os.replace(fresh, path)
    except OSError as error:
        os.unlink(fresh)
        raise OSError(error.errno, error.strerror, str(path)) from error
    except BaseException:
        os.unlink(fresh)
        raise


def create(path: Path, content: bytes) -> bool:
    """Create a file with its content, whole, for one of any number of processes and hosts.

    Returns:
      False where the file is there already.

    Raises:
      OSError: the folder cannot be written.
    """
    descriptor, fresh = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(fresh, 0o644)
        try:
            os.link(fresh, path)
        except FileExistsError:
            return os.stat(fresh).st_nlink == 2  # network disks answer so to a repeated request
        except OSError:
            return _create_without_links(path, content)
        return True
    finally:
        os.unlink(fresh)


def _create_without_links(path: Path, content: bytes) -> bool:
    try:
        with open(path, "xb", buffering=0) as file:
            file.write(content)
    except FileExistsError:
        return False
    return True


def discard(path: Path) -> None:
    """Remove what stands where a file should, whatever it is."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sweep(folder: Path, age: float) -> None:
    """Remove the temporary files that killed processes left more than `age` seconds ago."""
    for path in [*folder.glob("tmp*.tmp"), *folder.glob("blocks/tmp*.tmp")]:
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > age:
                path.unlink()

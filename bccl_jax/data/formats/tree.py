"""A folder of pictures, walked: what is in it, and what systems left behind is left out."""

import collections
import os
import posixpath
from collections.abc import Collection, Iterator

from bccl_jax.data.formats.left_by_systems import left_by_systems, unseen
from bccl_jax.errors import DataError
from bccl_jax.system.names import shown, some

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")


class Tree:
    """A folder, read in the order of names so that nothing depends on the file system.

    Args:
      root: the folder.
      apart: folders below it, as paths from it, that are met only where they are asked for by
        that path: the splits that lie within the folder of another one.

    Raises:
      DataError: from any method: a folder cannot be read or is met twice, or an image is no file.
    """

    def __init__(self, root: str, apart: Collection[str] = ()):
        self.root = root
        self._apart = frozenset(apart)
        self._left_out: list[str] = []
        self._left_by_systems: list[str] = []
        self._met: dict[tuple[int, int], str] = {}
        self._read: dict[str, tuple[list[str], list[str]]] = {}

    def path(self, folder: str) -> str:
        """Where a folder lies."""
        return os.path.join(self.root, folder) if folder else self.root

    def folders(self, folder: str) -> list[str]:
        """Names of the folders in a folder."""
        return self._entries(folder)[0]

    def number_of_images(self, folder: str) -> int:
        """How many images a folder has itself."""
        return len(self._entries(folder)[1])

    def leave_images_out(self, folder: str) -> int:
        """Leaves the images out that a folder of class folders has itself; returns their number."""
        images = self._entries(folder)[1]
        self._left_out += [posixpath.join(folder, name) for name in images]
        return len(images)

    def images_below(self, folder: str) -> list[str]:
        """Paths from the root of all images below a folder, sorted."""
        paths, waiting = [], [folder]
        while waiting:
            current = waiting.pop()
            folders, images = self._entries(current)
            waiting += [posixpath.join(current, name) for name in folders]
            paths += [posixpath.join(current, name) for name in images]
        return sorted(paths)

    def has_images(self, folder: str) -> bool:
        """Whether an image lies anywhere below a folder."""
        return any(self.number_of_images(below) for below in self.folders_below(folder))

    def folders_below(self, folder: str) -> Iterator[str]:
        """Paths from the root of a folder and of all folders below it, those above first."""
        waiting = collections.deque([folder])
        while waiting:
            current = waiting.popleft()
            yield current
            waiting += [posixpath.join(current, name) for name in self.folders(current)]

    def table(self, *folders: str) -> str:
        """Where a CSV file lies in some folders, one of training images or labels first, or ""."""
        for folder in folders:
            self._entries(folder)
        found = [
            path
            for path in self._left_out
            if path.lower().endswith(".csv") and posixpath.dirname(path) in folders
        ]
        for word in ("train", "label", ""):
            for path in found:
                if word in posixpath.basename(path).lower():
                    return self.path(path)
        return ""

    def notes(self) -> tuple[str, ...]:
        """What was left out, hidden files apart."""
        notes = []
        if self._left_out:
            notes.append(
                f"{len(self._left_out)} files of {shown(self.root)} were left out, which "
                f"are no images of a class: {some(sorted(self._left_out))}"
            )
        if self._left_by_systems:
            names = sorted({posixpath.basename(path) for path in self._left_by_systems})
            notes.append(
                f"{len(self._left_by_systems)} folders or files of {shown(self.root)} were "
                f"left out, as systems leave them behind: {', '.join(map(shown, names))}"
            )
        return tuple(notes)

    def _entries(self, folder: str) -> tuple[list[str], list[str]]:
        """Names of the folders and of the images in a folder, each sorted."""
        if folder not in self._read:
            self._read[folder] = self._scan(folder)
        return self._read[folder]

    def _scan(self, folder: str) -> tuple[list[str], list[str]]:
        path = self.path(folder)
        try:
            status = os.stat(path)
            with os.scandir(path) as scanned:
                entries = sorted(scanned, key=lambda entry: entry.name)
        except OSError as error:
            raise DataError(
                f"the folder {shown(path)} cannot be read ({error.strerror}); mend its rights"
            ) from error
        first = self._met.setdefault((status.st_dev, status.st_ino), path)
        if first != path:
            raise DataError(
                f"{shown(path)} is a link to {shown(first)}, whose images it would "
                "repeat; take it away"
            )
        folders, images = [], []
        for entry in entries:
            lower, below = entry.name.lower(), posixpath.join(folder, entry.name)
            if unseen(entry.name) or below in self._apart:
                continue
            kind, named = _kind(entry), lower.endswith(SUFFIXES)
            if left_by_systems(entry.name, kind == "folder"):
                self._left_by_systems.append(below)
                continue
            if kind == "broken link" or (named and kind != "file"):
                raise DataError(
                    f"{shown(entry.path)} is a {kind} and no image; put the image in its "
                    "place or take it away"
                )
            if kind == "folder":
                folders.append(entry.name)
            elif named:
                images.append(entry.name)
            else:
                self._left_out.append(below)
        return folders, images


def _kind(entry: os.DirEntry) -> str:
    try:
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return "file"
    except OSError:  # a link that leads back to itself
        return "broken link"
    return "broken link" if entry.is_symlink() and not os.path.exists(entry.path) else "device"

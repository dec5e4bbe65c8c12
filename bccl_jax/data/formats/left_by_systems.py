"""What Windows, Linux, Macintosh, NAS boxes, notebooks and viewers of pictures leave in folders."""

import re

_UNSEEN = {"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r", "__macosx"}
_NAMES = {
    "__pycache__",
    "_gsdata_",
    "backups.backupdb",
    "cleanup at startup",
    "config.msi",
    "deliveryoptimization",
    "desktop folder",
    "lost+found",
    "lost.dir",
    "msdownld.tmp",
    "network trash folder",
    "recycled",
    "recycler",
    "system volume information",
    "temporary items",
    "thefindbycontentfolder",
    "thevolumesettingsfolder",
    "thumbnail",
    "thumbnails",
    "thumbs",
    "_thumbnails",
    "_thumbs",
    "windowsapps",
    "windowsimagebackup",
    "wpsystem",
    "wudownloadcache",
    "~snapshot",
}
_PATTERNS = re.compile(
    r"~\$.*"  # what Office locks
    r"|\$[ir][a-z0-9]{6}(\..*)?"  # what Windows threw away
    r"|#(recycle|snapshot|sharesnap)"
    r"|@(eadir|tmp|recycle|recently-snapshot|snapshot|sharesnap|sharebin|appstore|__.*)"
    r"|.*@syno[a-z]+"
    r"|found\.[0-9]{3}"  # what chkdsk saved
    r"|_vti_.*"
    r"|.+\.lr(data|cat-data)"
    r"|a?quota\.(user|group)"
)
# $RECYCLE.BIN, $WinREAgent, $Extend, $Windows.~BT; an amount of dollars may be a class.
_FOLDER_OF_WINDOWS = re.compile(r"\$[a-z]{2}.*")


def unseen(name: str) -> bool:
    """Whether nobody keeps pictures there, so that it is left out without a word."""
    return name.startswith(".") or name.lower() in _UNSEEN


def left_by_systems(name: str, is_folder: bool) -> bool:
    """Whether systems leave it behind. It is told, for it might hold pictures.

    Trash, Originals and the like are not among these, as there are such classes.

    Args:
      name: of a folder or a file, without its path.
      is_folder: which of the two.
    """
    lower = name.lower()
    # A class would hardly have the capitals of the shares of NAS boxes.
    if lower in _NAMES or _PATTERNS.fullmatch(lower) or name == "Recycle Bin":
        return True
    return is_folder and _FOLDER_OF_WINDOWS.fullmatch(lower) is not None

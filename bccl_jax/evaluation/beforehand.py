"""Pictures to evaluate on, looked at before a run trains for an epoch towards them.

Decoding all of them takes minutes where there are tens of thousands. A random sample tells at once
where far more are broken than may be; only then is looked on, until it is certain.
"""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from bccl_jax.data.encoded import allowed_broken
from bccl_jax.data.fingerprint import EMPTY, UNREADABLE
from bccl_jax.data.photographs.decode import why_broken
from bccl_jax.data.photographs.decoding import PLAIN, Decoding
from bccl_jax.data.split import Split
from bccl_jax.errors import BrokenPicturesError
from bccl_jax.system.names import shown

# Pictures that are decoded at a time: a second of one core, all of a small split.
SAMPLE = 512


def check_decodable(
    splits: Mapping[str, Split],
    numbers: Mapping[str, np.ndarray],
    max_share: float,
    decoding: Decoding = PLAIN,
) -> None:
    """Checks that not too many pictures to evaluate on are broken, as far as a sample tells.

    Args:
      splits: to evaluate on, by what they are called.
      numbers: `fingerprint` of each, which tells of each picture whether it can be read at all.
      max_share: of a split that may be broken; one picture is let pass unless it is 0.
      decoding: by which settings of the run they are decoded.

    Raises:
      BrokenPicturesError: more are, so that an evaluation would end the run.
    """
    for part, split in splits.items():
        if split.encoded:
            _check(part, split, numbers[part], max_share, decoding)


def _check(
    part: str, split: Split, numbers: np.ndarray, max_share: float, decoding: Decoding
) -> None:
    limit = allowed_broken(max_share, len(split))
    unread = np.zeros(len(split), bool)
    if len(numbers) == len(split):
        unread = np.isin(numbers, (UNREADABLE, EMPTY))
    broken = dict.fromkeys(np.flatnonzero(unread).tolist(), "")
    # Drawn the same way at each start, and by each process of a run.
    others = np.random.default_rng(0).permutation(np.flatnonzero(~unread))
    sampled = 0
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for start in range(0, len(others), SAMPLE):
            if len(broken) > limit:
                break
            chosen = others[start : start + SAMPLE].tolist()
            found = pool.map(lambda index: why_broken(split.images, index, decoding), chosen)
            found = {index: why for index, why in zip(chosen, found, strict=True) if why}
            broken, sampled = broken | found, sampled + len(found)
            # Where no larger share is broken than may be, the evaluation is to tell.
            if sampled * len(split) <= limit * (start + len(chosen)):
                break
    if len(broken) > limit or len(broken) == len(split):
        first, why = next(iter(broken.items()))
        reason = f" ({why})" if why else ""
        raise BrokenPicturesError(
            f"{len(broken)} of {len(split)} {part} pictures at least cannot be decoded, "
            f"{shown(split.images.name(first))} among them{reason}, more than "
            f"config.data.max_broken={max_share:g} allows, so that the run could not be "
            "evaluated; mend them (--mode=inspect --verify lists them) and give the same command "
            "again"
        )

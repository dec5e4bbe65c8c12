"""Downloads data sets: CIFAR-10 and CIFAR-100, checked by their checksums and unpacked.

python -m bccl_jax.datasets cifar100 [--dir=data] [--url=URL]

Interrupted, the same command goes on. What lies there is checked and never overwritten. The other
data sets are downloaded by hand, for each has terms of its own: docs/datasets.md.
"""

import argparse
import signal
import sys
import urllib.parse
from collections.abc import Sequence

from bccl_jax.data.downloading.archives import ARCHIVES
from bccl_jax.data.downloading.fetching import fetch
from bccl_jax.errors import BcclError
from bccl_jax.settings.suggestions import did_you_mean, nearest
from bccl_jax.system.directories import directory_to_write
from bccl_jax.system.documentation import page
from bccl_jax.system.output import of_a_command

_BY_HAND = ("imagenet_lt", "inaturalist2018", "places_lt", "tiny_imagenet_lt")


def main(argv: Sequence[str] | None = None) -> int:
    """Downloads what the flags say; returns the exit code."""
    arguments = _parsed(argv)
    addresses = [arguments.url] if arguments.url else []
    try:
        directory = directory_to_write(arguments.dir, "--dir")
        for name in arguments.names:
            fetch(ARCHIVES[name], directory, addresses, lambda text: print(text, flush=True))
    except BcclError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command goes on from there", file=sys.stderr)
        return 128 + signal.SIGINT
    return 0


def _parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bccl_jax.datasets",
        description="Downloads data sets, checks them by their checksums and unpacks them. If it "
        "is interrupted, the same command goes on. It never overwrites a file.",
        epilog="The other data sets have terms of their own, and you download them by hand: "
        f"{page('datasets.md')} says where.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "names",
        nargs="+",
        metavar="NAME",
        type=_name,
        help=f"The data set: {' or '.join(ARCHIVES)}. You can name both.",
    )
    parser.add_argument(
        "--dir",
        default="data",
        help="The folder to write into (default: %(default)s). If you choose another one, train "
        "with --config.data.dir=DIR.",
    )
    parser.add_argument(
        "--url",
        type=_address,
        help="Another address of the same archive, for one data set. The checksums stay the same.",
    )
    arguments, unknown = parser.parse_known_args(argv)
    if unknown:
        meant = nearest(unknown[0].partition("=")[0].lstrip("-"), ("dir", "url"))
        parser.error(f"{unknown[0]!r} is no flag{did_you_mean(meant, '--')}")
    if arguments.url and len(arguments.names) > 1:
        parser.error("--url is the address of one archive; name one data set")
    return arguments


def _name(text: str) -> str:
    if text in ARCHIVES:
        return text
    if text == "digits":
        raise argparse.ArgumentTypeError("digits come with scikit-learn; train with them at once")
    if text in _BY_HAND:
        raise argparse.ArgumentTypeError(
            f"{text} has terms of its own and is downloaded by hand; {page('datasets.md')} says "
            "where"
        )
    raise argparse.ArgumentTypeError(
        f"no data set is called {text!r}; there are {', '.join(ARCHIVES)}"
        f"{did_you_mean(nearest(text, ARCHIVES))}"
    )


def _address(text: str) -> str:
    try:
        parts = urllib.parse.urlsplit(text)
        # The port is read when it is asked for.
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not text.isascii() or not text.isprintable() or " " in text:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no http:// or https:// address; a file that you have is put into --dir"
        )
    return text


if __name__ == "__main__":
    with of_a_command():
        sys.exit(main())

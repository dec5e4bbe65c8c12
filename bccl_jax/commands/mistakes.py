"""A sentence on each mistake on the command line, which names the mend."""

import re

import ml_collections
from absl import flags

from bccl_jax.commands.flags_and_keys import OWN, overrides
from bccl_jax.errors import BcclError, ConfigError
from bccl_jax.settings.suggestions import SYNONYMS, did_you_mean, key_like, nearest

# Named where none is on the command line.
FIRST_CONFIG = "digits_lt"
_ARGUMENT = "the config's argument, as in --config="
# What other tools call our flags.
_FLAGS = {
    "--workdir": "output_dir out_dir outdir out save_dir log_dir logdir run_dir work_dir exp_dir "
    "experiment_dir results_dir checkpoint_dir ckpt_dir model_dir save_path o",
    "--mode=eval": "eval evaluate evaluation test test_only eval_only validate",
    "python -m bccl_jax.predict WORKDIR PICTURES": "predict predictions inference infer classify",
    "--mode=train": "train training fit do_train",
    "--mode=inspect": "inspect info stats",
    "--mode=estimate": "estimate dry_run dryrun profile how_long",
    "--mode=pack": "pack",
    "--test": "data.test test_on",
    "--details": "mistakes errors confusion",
    "--checkpoint": "ckpt ckpt_path",
    "--config": "cfg conf config_file config_path c f",
    "--print_config": "show_config dump_config print_cfg list_config",
    "the same command with the same --workdir, which goes on by itself": "resume restart "
    "resume_from auto_resume continue restore resume_from_checkpoint",
    _ARGUMENT: "method algorithm algo loss loss_name criterion",
}
_WORDS = {word: flag for flag, words in _FLAGS.items() for word in words.split()}


def sentence(error: Exception, argv: list[str]) -> str:
    """What is wrong with a command line, and the mend.

    Args:
      error: of parsing it.
      argv: the program and its arguments.
    """
    cause = error
    while cause is not None:
        if isinstance(cause, BcclError):
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, flags.UnrecognizedFlagError):
        written, _, value = (error.flagvalue or "").partition("=")
        return unknown_flag(error.flagname, value, written)
    text = _plain(error)
    if "in argv before a value for --config" in text:
        return "a --config.KEY stands before --config=FILE, which makes the keys; write it first"
    if found := re.match(r"flag --config\.([\w.]+)", text):
        return _unusable_value(found[1], overrides(argv).get(found[1], ""), text)
    if text == "Missing value for flag --test":
        return (
            "--test names no images; write --test=DIR or --test=LIST.csv, or --mode=eval alone for "
            "the run's own"
        )
    if found := re.match(r"flag --mode=([^:]*)", text):
        modes = flags.FLAGS["mode"].parser.enum_values
        meant = _WORDS.get(found[1], found[1]).removeprefix("--mode=")
        if meant.startswith("python "):
            return text + did_you_mean(meant)
        meant = nearest(meant, modes)
        return text + did_you_mean(meant and f"--mode={meant}")
    return text


def unknown_flag(name: str, value: str, written: str = "") -> str:
    """The sentence on a flag that there is not, with the flag or key that may be meant.

    Args:
      name: without its dashes.
      value: "" for none.
      written: the name as it was written.
    """
    written = written if written.startswith("-") else f"--{name}"
    if name.startswith("config."):
        return (
            f"--{name} changes a config that is not named; write --config=FILE before it, as in "
            "--config=digits_lt"
        )
    meant = did_you_mean(_meant(name, value))
    return f"{written} is no flag{meant or '; --help names all of them'}"


def no_flag(argument: str) -> str:
    """The sentence on an argument that is no flag at all."""
    name, equals, value = argument.partition("=")
    if _is_config(argument.partition(":")[0].removeprefix("config=")):
        meant = f"--config={argument.removeprefix('config=')}"
    elif name == "config" or name.startswith("config."):
        meant = f"--{argument}"
    else:
        meant = _meant(name, value) if equals or name in _WORDS else ""
    return (
        f"{argument!r} is no flag{did_you_mean(meant)}"
        if meant
        else f"{argument!r} is no flag; write --workdir=DIR, --mode=eval or --config.KEY=VALUE"
    )


def _is_config(path: str) -> bool:
    from bccl_jax.config import shipped

    return path.endswith(".py") or path in shipped.names()


def _meant(name: str, value: str) -> str | list[str]:
    own = name.lower().replace("-", "_")
    given = f"={value}" if value else ""
    if switch := re.fullmatch(r"no_(verify|print_config|config\..+)", own):
        return f"--no{switch[1]}"
    if own in _WORDS:
        return _flag(own, value)
    if own == "version":  # which is spelt much like verify
        return ""
    keys = key_like(own, _known())
    exact = own in SYNONYMS or any(key.rpartition(".")[2] == own for key in keys)
    flag = nearest(own, OWN, 0.8)
    if keys and (exact or not flag):
        return [f"--config.{key}{given}" for key in keys]
    flag = flag or nearest(own, OWN)
    return flag and f"--{flag}{given}"


def _flag(word: str, value: str) -> str:
    """What is meant by a word that is a flag, or another tool's name of one."""
    flag = f"--{word}" if word in OWN else _WORDS.get(word, f"--{word}")
    if flag == _ARGUMENT:
        return f"{flag}{_with_method(value)}"
    takes_one = value and "=" not in flag and " " not in flag
    return f"{flag}={value}" if takes_one else flag


def _with_method(name: str) -> str:
    """The value of --config that chooses a method, or the one most like it."""
    from bccl_jax import methods

    path = flags.FLAGS["config"].parser.path if "config" in flags.FLAGS else FIRST_CONFIG
    path, _, argument = path.partition(":")
    others = [part for part in argument.split(",") if part and part not in methods.names()]
    return f"{path}:{','.join([nearest(name, methods.names()) or 'bccl', *others])}"


def _known() -> dict:
    """The flattened config that is meant: that of --config, or the default one."""
    from bccl_jax import config as default

    loaded = flags.FLAGS["config"].parser.config if "config" in flags.FLAGS else None
    return default.flatten(default.get_config() if loaded is None else loaded)


def check_key(key: str, value: str, config: ml_collections.ConfigDict) -> None:
    """Checks that a key of --config.KEY is there.

    Args:
      key: as it was written, without an index.
      value: the text given for it.
      config: which --config names.

    Raises:
      ConfigError: the config has no such key, or it is a group of keys.
    """
    from bccl_jax.config import flatten
    from bccl_jax.config.allowed import unknown_key

    known = flatten(config)
    if key in known:
        return
    if below := [other for other in known if other.startswith(f"{key}.")]:
        raise ConfigError(f"config.{key} is a group of keys; {_of_group(key, value, below, known)}")
    last = key.rpartition(".")[2]
    like = key_like(key, known)
    # A flag of this very name is likelier than a key that is spelt alike.
    flag = key in (*OWN, *_WORDS) and not set(like) & set(SYNONYMS.get(key, ()))
    if flag or (last in _WORDS and not like):
        raise ConfigError(f"the config has no key {key!r}{did_you_mean(_flag(last, value))}")
    raise ConfigError(unknown_key(key, known))


def _of_group(group: str, value: str, keys: list[str], known: dict) -> str:
    """Ends the sentence on a group that was given a value."""
    from bccl_jax.config.allowed import keys_taking

    if group == "method":
        return f"a method is chosen by {_ARGUMENT}{_with_method(value)}"
    meant = keys_taking(value, group, known["method.name"])
    meant = meant or [key for key in SYNONYMS.get(group, ()) if key in known]
    if meant:
        return "change one of them" + did_you_mean(meant, "--config.")
    if group in (*OWN, *_WORDS):
        return "change one of them" + did_you_mean(_flag(group, value if group in OWN else ""))
    lasts = [key.removeprefix(f"{group}.") for key in keys]
    told = ", ".join(lasts[:8]) + (", ..." if len(lasts) > 8 else "")
    return f"change one of them, as --config.{group}.KEY: {told}"


def _unusable_value(key: str, value: str, text: str) -> str:
    from bccl_jax.config.allowed import bounds
    from bccl_jax.settings.bounds import Maybe, shown

    bound = bounds(_known()["method.name"]).get(key)
    if bound is None:
        return text
    # The command line has no way to write None.
    bound = bound.bound if isinstance(bound, Maybe) else bound
    return f"config.{key} is {shown(value)}; it must be {bound}"


def _plain(error: Exception) -> str:
    # ml_collections raises some messages quoted, with their quotes and line ends escaped.
    text = str(error).replace("\\n", "\n").replace("\\'", "'")
    while len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())

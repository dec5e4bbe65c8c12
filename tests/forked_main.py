"""Runs many command lines of `bccl_jax.main`, each in a fork of one process that has the imports.

Reads a JSON list of lists of arguments; writes one of [exit code, standard output, errors].
"""

import gc
import json
import os
import sys
import tempfile
import warnings


def outcome(arguments):
    """What a command line ends with."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if not child:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            sys.argv = ["main", *arguments]
            try:
                main.run()
            except SystemExit as end:
                if isinstance(end.code, str):
                    print(end.code, file=sys.stderr)
                code = end.code if isinstance(end.code, int) else int(end.code is not None)
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
            os._exit(99)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
    return [code, *texts]


if __name__ == "__main__":
    # No backend of JAX is started before the forks.
    warnings.simplefilter("ignore")
    from bccl_jax import main, methods
    from bccl_jax.config import files as config_files
    from bccl_jax.config import key_docs, validation

    del config_files, key_docs, validation
    for name in methods.names():
        methods.method_class(name)
    # The forks' own collections leave it alone, and its memory shared.
    gc.collect()
    gc.freeze()
    print(json.dumps([outcome(arguments) for arguments in json.load(sys.stdin)]))

"""As much of wandb and mlflow as a run calls, which remembers what it was told.

`test_signatures` compares them with the packages themselves where these are installed.
"""

import importlib.machinery
import types
from types import SimpleNamespace


def module(name, **names):
    made = types.ModuleType(name)
    made.__spec__ = importlib.machinery.ModuleSpec(name, None)
    vars(made).update(names)
    return made


class Wandb:
    """Runs by id, as the server has them, whatever process tells of them."""

    def __init__(self):
        self.runs, self.fails = {}, None
        self.module = module("wandb", init=self.init, Image=self.image, Settings=self.settings)

    def settings(self, *, console):
        return {"console": console}

    def image(self, data_or_path):
        return data_or_path

    def init(
        self,
        *,
        project,
        name,
        id,
        resume,
        dir,
        config,
        allow_val_change,
        reinit,
        settings,
    ):
        assert resume == "allow"
        if self.fails == "begin":
            raise ValueError("no key" + 200 * "!")
        run = self.runs.setdefault(id, WandbRun(self))
        run.project, run.name, run.config, run.dir = project, name, config, dir
        run.opened += 1
        run.code = None
        return run


class WandbRun:
    def __init__(self, service):
        self._service = service
        self.history, self.summary, self.images, self.opened = [], {}, {}, 0

    def log(self, data, step=None):
        if self._service.fails == step:
            raise ConnectionError("the network is gone\nand more of it")
        numbers = {k: v for k, v in data.items() if isinstance(v, int | float)}
        self.images |= {k: v for k, v in data.items() if k not in numbers}
        if numbers:
            self.history.append((step, numbers))

    def finish(self, exit_code=None):
        self.code = exit_code


class Mlflow:
    """The same of MLflow."""

    def __init__(self):
        self.runs, self.experiments = {}, {}
        entity = SimpleNamespace(Metric=self.metric, Param=self.param)
        self.module = module("mlflow", MlflowClient=lambda: self, entities=entity)

    def metric(self, key, value, timestamp, step):
        return key, value, step

    def param(self, key, value):
        assert len(value) <= 6000
        return key, value

    def get_experiment_by_name(self, name):
        return self.experiments.get(name)

    def create_experiment(self, name):
        self.experiments[name] = SimpleNamespace(experiment_id=name)
        return name

    def create_run(self, experiment_id, run_name=None):
        found = SimpleNamespace(metrics=[], params={}, images={}, status="RUNNING", name=run_name)
        self.runs[f"run{len(self.runs)}"] = found
        return SimpleNamespace(info=SimpleNamespace(run_id=f"run{len(self.runs) - 1}"))

    def update_run(self, run_id, status=None):
        self.runs[run_id].status = status

    def log_batch(self, run_id, metrics=(), params=()):
        assert len(params) <= 100
        assert not params or not self.runs[run_id].params.keys() & dict(params).keys()
        self.runs[run_id].metrics += metrics
        self.runs[run_id].params |= dict(params)

    def log_image(self, run_id, image, artifact_file=None):
        self.runs[run_id].images[artifact_file] = image

    def set_terminated(self, run_id, status=None):
        self.runs[run_id].status = status

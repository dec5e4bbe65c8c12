"""MLflow.

Its own variables decide the rest: MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME.
"""

import os
import time

from bccl_jax.tracking.service import Service

EXPERIMENT = "bccl_jax"
# What MLflow takes of one parameter, and at once.
_LONGEST, _MOST = 500, 100


class MLflowRuns(Service):
    """A step there is an epoch here."""

    def open(self, run, known):
        """See `Service`."""
        import mlflow

        # Not `mlflow.start_run`, which is one for a process and may be somebody else's.
        self._entities, self._client, self._id = mlflow.entities, mlflow.MlflowClient(), known
        if known is None:
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
            found = self._client.get_experiment_by_name(name)
            experiment = found.experiment_id if found else self._client.create_experiment(name)
            self._id = self._client.create_run(experiment, run_name=run.workdir.name).info.run_id
            param = self._entities.Param
            given = [param(key, str(value)[:_LONGEST]) for key, value in run.config.items()]
            for start in range(0, len(given), _MOST):
                self._client.log_batch(self._id, params=given[start : start + _MOST])
        else:
            self._client.update_run(known, status="RUNNING")
        return self._id

    def log(self, numbers, epoch):
        """See `Service`."""
        now, metric = int(1000 * time.time()), self._entities.Metric
        metrics = [metric(name, float(value), now, epoch) for name, value in numbers.items()]
        self._client.log_batch(self._id, metrics=metrics)

    def show(self, name, image, epoch):
        """See `Service`."""
        del epoch
        self._client.log_image(self._id, image, artifact_file=f"{name}.png")

    def close(self, numbers, epoch):
        """See `Service`."""
        self.log(numbers or {}, epoch)
        self._client.set_terminated(self._id, "KILLED" if numbers is None else "FINISHED")

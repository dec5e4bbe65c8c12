"""What a run takes, from what was measured of it: arithmetic alone."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class StepMemory:
    """Bytes on one device while a step is computed.

    Attributes:
      state: parameters, optimizer and the method's own arrays.
      temporaries: what the compiler says that the step holds beside its arguments: activations and
        gradients above all.
      batch: the images of a batch, where readers bring them.
      program: the compiled step.
    """

    state: int
    temporaries: int
    batch: int
    program: int


@dataclasses.dataclass(frozen=True)
class StageCost:
    """One stage of a method.

    Attributes:
      epochs: how many.
      step_seconds: the median of the measured steps.
      measured: how many these were.
      compile_seconds: until the first step could begin; little where a cache had the program.
      memory: of a step.
    """

    epochs: int
    step_seconds: float
    measured: int
    compile_seconds: float
    memory: StepMemory


@dataclasses.dataclass(frozen=True)
class ReadingCost:
    """What readers bring.

    Attributes:
      images_per_second: of all readers together, while no step was computed.
      measured: images that were read for it.
      start_seconds: until the first batch was there.
      readers: processes; 0 for threads.
      shared_bytes: of shared memory, for batches that are handed over.
    """

    images_per_second: float
    measured: int
    start_seconds: float
    readers: int
    shared_bytes: int


@dataclasses.dataclass(frozen=True)
class EvaluationCost:
    """The evaluations of a run.

    Attributes:
      seconds: of one, reading aside.
      first_seconds: that the first one takes longer, for its compilation.
      images: of one.
      measured: images that were evaluated for it.
      times: how many evaluations there are.
    """

    seconds: float
    first_seconds: float
    images: int
    measured: int
    times: int


@dataclasses.dataclass(frozen=True)
class RefreshCost:
    """What a method does between epochs.

    Attributes:
      seconds: of one; measured, or `images` at the speed of an evaluation.
      first_seconds: that the first one takes longer, for its compilation, where it was measured.
      images: that it looks at, of which nothing was computed here; 0 where it was measured.
      times: how many there are.
    """

    seconds: float
    first_seconds: float
    images: int
    times: int


@dataclasses.dataclass(frozen=True)
class Disk:
    """Bytes of a disk.

    Attributes:
      checkpoint: one.
      checkpoints: how many there are at a time at most.
      free: where the run would lie; None if that is not known.
      packed: of all images as `--mode=pack` writes them, by the mean of some; None where they lie
        in memory or are packed.
    """

    checkpoint: int
    checkpoints: int
    free: int | None
    packed: int | None


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a run takes.

    Attributes:
      device: its name.
      devices: that share each batch.
      cores: of the CPU.
      shares_cores: whether readers and steps are computed by the same cores.
      classes: K.
      training_images: that the run trains on.
      batch_size: images of a step.
      steps_per_epoch: steps.
      preparing_seconds: until data and network were there.
      stages: one after the other.
      reading: None where the images lie on the device.
      evaluation: see there.
      refresh: None where the method has none.
      resident_bytes: of images on each device.
      device_bytes: of one device's memory, or of the machine's where cores are the devices; None if
        that is not known.
      device_peak_bytes: that a device held at most here; None where it does not say.
      host_peak_bytes: that this process held at most, the images in memory among it.
      disk: see there.
    """

    device: str
    devices: int
    cores: int
    shares_cores: bool
    classes: int
    training_images: int
    batch_size: int
    steps_per_epoch: int
    preparing_seconds: float
    stages: tuple[StageCost, ...]
    reading: ReadingCost | None
    evaluation: EvaluationCost
    refresh: RefreshCost | None
    resident_bytes: int
    device_bytes: int | None
    device_peak_bytes: int | None
    host_peak_bytes: int
    disk: Disk

    @property
    def epochs(self) -> int:
        """Of all stages."""
        return sum(stage.epochs for stage in self.stages)

    @property
    def reading_seconds(self) -> float:
        """That the images of a batch take the readers."""
        return self.batch_size / self.reading.images_per_second if self.reading else 0.0

    def step_seconds(self, stage: StageCost) -> float:
        """From one step to the next.

        Readers of a machine with an accelerator work beside it, so that the slower of both decides;
        on a CPU they take the cores from the step.
        """
        both = stage.step_seconds, self.reading_seconds
        return sum(both) if self.shares_cores else max(both)

    def stage_seconds(self, stage: StageCost) -> float:
        """Of the steps of a stage."""
        return stage.epochs * self.steps_per_epoch * self.step_seconds(stage)

    @property
    def evaluation_seconds(self) -> float:
        """Of one evaluation with its reading."""
        cost = self.evaluation
        if self.reading is None:
            return cost.seconds
        reading = cost.images / self.reading.images_per_second
        both = cost.seconds, reading
        return self.reading.start_seconds + (sum(both) if self.shares_cores else max(both))

    @property
    def start_seconds(self) -> float:
        """Before the first step, and where a stage's program is compiled."""
        started = self.reading.start_seconds if self.reading else 0.0
        return self.preparing_seconds + started + sum(s.compile_seconds for s in self.stages)

    @property
    def seconds(self) -> float:
        """Of the whole run."""
        refreshes, between = self.refresh, 0.0
        if refreshes is not None:
            between = refreshes.first_seconds + refreshes.times * refreshes.seconds
        evaluations = self.evaluation.times * self.evaluation_seconds
        evaluations += self.evaluation.first_seconds
        steps = sum(map(self.stage_seconds, self.stages))
        return self.start_seconds + steps + evaluations + between

    @property
    def memory_bytes(self) -> int:
        """On one device, at the step that takes most."""
        needs = (sum(dataclasses.astuple(stage.memory)) for stage in self.stages)
        return self.resident_bytes + max(needs)

    def record(self) -> dict:
        """All of it as JSON values, what is inferred by the side of what was measured."""
        inferred = {
            "step_seconds": [self.step_seconds(stage) for stage in self.stages],
            "epoch_seconds": [
                self.step_seconds(stage) * self.steps_per_epoch for stage in self.stages
            ],
            "evaluation_seconds": self.evaluation_seconds,
            "seconds": self.seconds,
            "device_memory_bytes": self.memory_bytes,
        }
        return {"measured": dataclasses.asdict(self), "inferred": inferred}

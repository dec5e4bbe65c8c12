"""The default configuration, every field documented.

A config file returns `get_config()` with a few fields changed; `--config.KEY=VALUE` changes one
more. Everything that shapes a run's numbers is here, so that the config names the experiment.
`--print_config` shows the comment above each key; `bccl_jax/config/allowed.py` has its bounds.
"""

from collections.abc import Sequence

import ml_collections

from bccl_jax import methods
from bccl_jax.config.importing import import_files
from bccl_jax.config.published import published_recipe
from bccl_jax.data.photographs.decoding import MAX_PIXELS


def get_config(
    method: str = "bccl", imports: Sequence[str] = (), published: Sequence[str] = ()
) -> ml_collections.ConfigDict:
    """Returns the recipe of CIFAR-LT (Kim & Ko 2025, section 4.1) with the settings of `method`.

    Args:
      method: the name of a method; a preset of it may follow, as in "bccl,released", which is its
        authors' code and brings its learning-rate schedule, or "bcl,published", the method's own
        recipe in place of this one.
      imports: files of one's own, as `config.imports` has them, where the method may be.
      published: what the data is among `Method.published`, such as ("cifar",), the first that there
        is; empty where such recipes are not for it.

    Raises:
      ConfigError: no method or no preset has that name, there is no published recipe for the data,
        or a file cannot be imported.
    """
    import_files({"imports": tuple(imports)})
    name, preset = methods.variant(method)
    own = published_recipe(name, published) if preset == methods.PUBLISHED else {}
    config = ml_collections.ConfigDict()

    # One seed sets parameters, image order, augmentation and clustering.
    config.seed = 0
    # Passes over the long-tailed training split. 0: sized to the data, as `sizing.py` says. A run
    # goes on for more of them where nothing follows their number (docs/fine_tuning.md).
    config.epochs = 200
    # Images a step over all devices; a rest smaller than this is left out of the epoch (another
    # one each time). 0: sized to the data.
    config.batch_size = 128
    # Parts of a batch that run one after the other, their gradients averaged: an N-th of the
    # memory. Batch normalisation and contrastive loss see one part at a time, as of that batch.
    config.accumulation = 1
    # Devices that share a batch; 0 takes all there are.
    config.devices = 0
    # Of the network's computation: "float32" or "bfloat16". Parameters, statistics and losses
    # are float32 in either.
    config.dtype = "float32"
    # What is compiled as one program where images lie in memory: "scan": an epoch; "loop": a step,
    # so that progress shows; "auto": an epoch on an accelerator, a step on the CPU.
    config.engine = "auto"
    # Share of each label that is spread evenly over all classes, in the classification loss of the
    # methods whose loss is a softmax cross-entropy.
    config.label_smoothing = 0.0
    # On a GPU, only kernels that give the same bits every time; costs some speed.
    config.deterministic = True
    # Python files of one's own that register a method, a backbone, a data set or a view
    # (docs/extending.md). A run's directory remembers where they are.
    config.imports = tuple(imports)
    # What follows the run, joined by commas: "tensorboard", "wandb", "mlflow"; "" for nothing. It
    # may be changed when a run goes on (docs/tracking.md).
    config.trackers = "tensorboard"
    # Whether a picture of the augmented views goes to TensorBoard too, as it does to the others;
    # to compile them takes seconds.
    config.track_views = False

    config.data = data = ml_collections.ConfigDict()
    # "digits", "cifar10", "cifar100", "imagenet_lt", "inaturalist2018", "places_lt",
    # "tiny_imagenet_lt", or "folder" for pictures of one's own (docs/datasets.md).
    data.name = "cifar100"
    # "original": the data set's own files under `dir`; "tfds": ArrayRecord prepared by
    # tensorflow-datasets under `dir`; "packed": what --mode=pack wrote into `dir`.
    data.source = "original"
    # Where the files lie; for "folder" the folder of classes, or a CSV file of path,label.
    data.dir = "data"
    # Folder of the list files of a photograph data set; "" for `dir` itself.
    data.lists = ""
    # Of "folder": the folders of the splits as paths from `dir`, such as "seg_train/seg_train"; ""
    # for the ones called train, test and val. train_folder="." says that `dir` holds the classes.
    data.train_folder = ""
    # The same of the test split.
    data.test_folder = ""
    # The same of the validation split.
    data.validation_folder = ""
    # Of "folder" with a CSV file: what the column of the pictures' paths is called; "" for path.
    data.path_column = ""
    # The same of the column of their classes; "" for label.
    data.label_column = ""
    # The same of the column that says train, test or val; "" for split.
    data.split_column = ""
    # Whether the lists must be the public ones, by their number of images.
    data.check_totals = True
    # Largest class over smallest; 1 keeps the split balanced, 0 takes it as it is. A split that is
    # long-tailed already must have this factor.
    data.imbalance = 100.0
    # Classes to keep, evenly spaced over the labels and numbered anew; 0 keeps all. A part of a
    # data set makes a study that a small machine can run.
    data.classes = 0
    # Side in pixels that images in memory are reduced to by averaging; 0 keeps theirs.
    data.pixels = 0
    # Seed of the draw of the long-tailed subset; 0 draws the images that the field uses.
    data.subset_seed = 0
    # How often each class is drawn in training: "instance_balanced" takes each image once an epoch;
    # "class_balanced", "square_root", "effective_number", "progressive" (from the first to the
    # second over the run) and "reversed" draw rare classes more often (`data/sampling.py`).
    data.sampler = "instance_balanced"
    # Share of each class of the original training split that is set aside and evaluated on in
    # place of the test split: choose settings with this, never on the test split.
    data.validation_fraction = 0.0
    # Share of each class of a folder without a test set that becomes one.
    data.test_fraction = 0.2
    # Red, green and blue of the ground that transparent photographs are put on, as a viewer of
    # pictures does.
    data.background = (255, 255, 255)
    # A photograph of more pixels by its header counts as broken and is not decoded, which would
    # take 4 to 26 bytes a pixel in each reader. Pillow warns above the default and refuses above
    # twice as many. It may be changed when a run goes on.
    data.max_pixels = MAX_PIXELS
    # True: the images lie on the device and an epoch is an array of indices; False: a grain
    # pipeline feeds each batch. Both give the same batches in the same order.
    # Photographs are always fed.
    data.resident = True
    # Processes of the grain pipeline that read photographs; -1: one for each core.
    data.workers = -1
    # Threads of the grain pipeline that read other images, and photographs where `workers` is 0.
    data.threads = 8
    # Share of the photographs of a split that may turn out broken before the run stops, and one in
    # any case; up to then each is skipped and named in broken.txt, or in broken_test.txt and
    # broken_validation.txt where it was to be evaluated on. 0 stops at the first.
    data.max_broken = 0.01

    config.augment = augment = ml_collections.ConfigDict()
    # Of red, green and blue in [0, 1], to normalise images by; the field uses CIFAR-10's figures
    # for CIFAR-100 too.
    augment.mean = (0.4914, 0.4822, 0.4465)
    # Standard deviation of red, green and blue in [0, 1], to normalise images by.
    augment.std = (0.2023, 0.1994, 0.2010)
    # Side of a resized crop in pixels; 0 keeps the image's. Photographs need one.
    augment.size = 0
    # Photographs are evaluated on their centre, of `size`, once the short side has this length; 0
    # keeps the proportion of ImageNet's 256 to 224.
    augment.eval_resize = 0
    # MixUp of the classified view: alpha of the Beta(alpha, alpha) that the share of each of two
    # images is drawn from, such as 0.2; 0 for none. With CutMix too a batch has one of the two.
    augment.mixup_alpha = 0.0
    # The same of CutMix, such as 1.
    augment.cutmix_alpha = 0.0
    # Chance that a batch is mixed.
    augment.mix_probability = 1.0
    augment.strong = strong = ml_collections.ConfigDict()
    # "padded": `crop_padding` black pixels on each side, then a crop of the image's size;
    # "resized": RandomResizedCrop by `scale` and `ratio`; "none".
    strong.crop = "padded"
    # Black pixels on each side of a padded crop's image.
    strong.crop_padding = 4
    # Share of the image's area that a resized crop covers, from and to.
    strong.scale = (0.08, 1.0)
    # Width over height of a resized crop, from and to.
    strong.ratio = (3 / 4, 4 / 3)
    # Mirror half of the images.
    strong.flip = True
    # Brightness, contrast, saturation, hue, of every image.
    strong.jitter = (0.0, 0.0, 0.0, 0.0)
    # "autoaugment_cifar10", "randaugment" or "none".
    strong.policy = "autoaugment_cifar10"
    # RandAugment's operations in a row.
    strong.num_ops = 2
    # RandAugment's mean magnitude, of 10.
    strong.magnitude = 10.0
    # Standard deviation of RandAugment's magnitude.
    strong.magnitude_std = 0.5
    # Red, green and blue of what RandAugment uncovers.
    strong.fill = (128, 128, 128)
    # Side of the Cutout square in pixels; 0 cuts nothing.
    strong.cutout = 16
    augment.sim = sim = ml_collections.ConfigDict()
    # Share of the image's area that a crop covers, from and to.
    sim.scale = (0.08, 1.0)
    # Width over height of a crop, from and to.
    sim.ratio = (3 / 4, 4 / 3)
    # Mirror half of the images.
    sim.flip = True
    # Brightness, contrast, saturation, hue, of the images that are jittered.
    sim.jitter = (0.4, 0.4, 0.4, 0.1)
    # Share of images that are jittered.
    sim.jitter_prob = 0.8
    # Share of images that turn grey.
    sim.grayscale_prob = 0.2
    # Share of images that are blurred.
    sim.blur_prob = 0.0
    # Sigma of the blur in pixels, from and to.
    sim.blur_sigma = (0.1, 2.0)

    config.model = model = ml_collections.ConfigDict()
    # "resnet8", "resnet32" or "resnet32x4" (four times as wide); for photographs "resnet50" or
    # "resnext50".
    model.backbone = "resnet32"
    # "global": statistics over the whole batch, however many devices share it; "device": over each
    # device's part, as PyTorch's data parallelism has it.
    model.batch_norm = "global"
    # Keep a block's input alone for the backward pass and compute the rest again: about a third
    # more time, a fraction of the memory.
    model.remat = False
    # Start the last normalisation of each block of "resnet50" and "resnext50" at zero.
    model.zero_init_residual = False
    # What to start from: weights of torchvision or timm (.pth or .safetensors) for "resnet50" or
    # "resnext50"; or the directory of another run, or a shared file, whose (last) checkpoint gives
    # the backbone and the heads that fit, the classifier where it has all classes of this run by
    # name (docs/fine_tuning.md). "" starts from random weights.
    model.pretrained = ""

    # The method's own settings; `bccl_jax/methods/NAME.py` documents them.
    reading = {"preset": preset} if preset and preset != methods.PUBLISHED else {}
    config.method = methods.settings(name, **reading)

    config.optimizer = optimizer = ml_collections.ConfigDict()
    # "sgd", or "adamw" with a smaller `learning_rate`, such as 0.001.
    optimizer.name = "sgd"
    # At the schedule's peak. 0: in proportion to the batch, 0.1 (of AdamW 0.001) at 128.
    optimizer.learning_rate = 0.15
    # After the warm-up: "cosine" to 0, "step" (times `step_factor` at each of `step_epochs`) or
    # "constant"; or "cosine_per_epoch", of which warm-up and cosine change once an epoch and end
    # above 0, as in `method.preset` "released".
    optimizer.schedule = "cosine"
    # Epochs of linear warm-up from 0. -1: sized to the run.
    optimizer.warmup_epochs = 5
    # Epochs at which the "step" schedule falls.
    optimizer.step_epochs = (160, 180)
    # What the "step" schedule multiplies the learning rate by.
    optimizer.step_factor = 0.1
    # Momentum of SGD.
    optimizer.momentum = 0.9
    # Nesterov's reading of momentum.
    optimizer.nesterov = False
    # Of AdamW, how much of the mean gradient is kept each step.
    optimizer.beta1 = 0.9
    # Of AdamW, how much of the mean squared gradient is kept each step.
    optimizer.beta2 = 0.999
    # Of AdamW, added to the root of the mean squared gradient that divides each step.
    optimizer.epsilon = 1e-8
    # The longest that the gradient may be, over all parameters and before weight decay; a longer
    # one is scaled down to it. 0 leaves it as it is.
    optimizer.clip_norm = 0.0
    # Decay of an exponential moving average of the weights, such as 0.999: it is evaluated beside
    # them. 0 keeps none.
    optimizer.ema = 0.0
    # Of SAM, how far up the loss, over all parameters, the gradient is taken; 0.05 is usual. It
    # takes twice the time. 0 takes the gradient where the parameters are.
    optimizer.sam_rho = 0.0
    # Of SGD, L2 added to the gradient before momentum, as PyTorch's SGD does; of AdamW, the share
    # of the parameters that is taken from them each step, times the learning rate.
    optimizer.weight_decay = 5e-4
    # Weight decay on all parameters; False: on kernels alone.
    optimizer.decay_norm_and_bias = True

    config.eval = evaluation = ml_collections.ConfigDict()
    # Epochs between two evaluations; the last epoch is always evaluated.
    evaluation.every_epochs = 5
    # Images of a batch of evaluation.
    evaluation.batch_size = 500
    # Classes of more training images than this are many-shot.
    evaluation.many_above = 100
    # Classes of fewer training images than this are few-shot, those between medium-shot.
    evaluation.few_below = 20
    # t of post-hoc logit adjustment: logits - t * log prior. 0 uses the raw logits, as it must be
    # where the loss has the prior (`Method.prior_in_loss`).
    evaluation.logit_adjustment = 0.0
    # Bins of the expected calibration error.
    evaluation.calibration_bins = 15

    if preset == "released":
        optimizer.warmup_epochs = 10
        optimizer.schedule = "cosine_per_epoch"

    config.checkpoint = checkpoint = ml_collections.ConfigDict()
    # Epochs between two checkpoints; every evaluated epoch has one too.
    checkpoint.every_epochs = 5
    # Steps between two more within an epoch, where epochs are long; 0 for none. Where an
    # epoch is one program (`engine`) it has no such steps.
    checkpoint.every_steps = 0
    config.update_from_flattened_dict(own)
    return config

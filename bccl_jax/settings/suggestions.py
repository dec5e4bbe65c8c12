"""Which name is meant: by its meaning, as other tools call it, and by its spelling."""

import difflib
import re
from collections.abc import Iterable, Sequence

# What other tools and papers call a key. Where a word has several meanings all are named.
_SYNONYMS = {
    "seed": "random_seed manual_seed rng rng_seed random_state",
    "epochs": "epoch n_epochs num_epochs max_epochs max_epoch nb_epochs total_epochs train_epochs "
    "num_train_epochs steps num_steps max_steps total_steps iters iterations max_iter",
    "batch_size": "bs batch batchsize train_batch_size train_bs mini_batch minibatch "
    "minibatch_size per_device_batch_size per_device_train_batch_size global_batch_size",
    "accumulation": "accum accum_iter accum_steps accumulate_grad_batches grad_accum "
    "grad_accum_steps gradient_accumulation gradient_accumulation_steps update_freq",
    "devices": "gpu gpus num_gpus n_gpu n_gpus ngpus gpu_id gpu_ids device num_devices n_devices "
    "cuda cuda_device tpus world_size accelerator",
    "dtype": "precision amp use_amp fp16 bf16 half mixed_precision compute_dtype half_precision",
    "engine": "scan jit compile",
    "deterministic": "cudnn_deterministic reproducible determinism",
    "data.name": "data.type data.dataset dataset dataset_name ds data_name data_set",
    "data.source": "data_source",
    "data.dir": "data data_dir data_path data_root dataroot datadir dataset_dir dataset_path "
    "dataset_root root root_dir path img_dir image_dir image_folder folder input_dir train_dir",
    "data.lists": "list_dir txt_dir data_txt train_list",
    "data.imbalance": "imb imb_factor imb_ratio imbalance_factor imbalance_ratio imbalance_rate "
    "imbalance_type imb_type if ir rho",
    "data.classes": "n_classes num_classes nb_classes num_class nclass n_class",
    "data.subset_seed": "imb_seed rand_number split_seed data_seed",
    "data.validation_fraction": "val_split val_fraction val_ratio val_size validation_split "
    "validation_size validation_ratio valid_size holdout",
    "data.test_fraction": "test_split test_size test_ratio",
    "data.resident": "cache in_memory preload cache_data",
    "data.workers": "num_workers n_workers nworkers worker_count jobs n_jobs loader_workers "
    "dataloader_num_workers data_workers",
    "data.threads": "num_threads n_threads",
    "augment.size": "image_size img_size imgsz input_size crop_size resolution train_crop_size",
    "augment.eval_resize": "resize resize_size val_resize val_resize_size",
    "augment.mean": "image_mean norm_mean",
    "augment.std": "image_std norm_std",
    "augment.strong.policy": "augment.name augment.type augment.policy auto_augment "
    "autoaugment aa randaug rand_augment randaugment augmentation aug data_aug aug_policy",
    "augment.strong.cutout": "cutout_size cutout_length random_erasing reprob",
    "augment.strong.crop_padding": "padding crop_pad random_crop_padding",
    "augment.sim.jitter": "color_jitter colour_jitter colorjitter",
    "model.backbone": "arch architecture backbone_name model model_name model_type model.name "
    "model.type model.arch net network encoder encoder_name feature_extractor",
    "model.batch_norm": "bn sync_bn syncbn sync_batchnorm norm",
    "model.remat": "gradient_checkpointing grad_checkpointing activation_checkpointing "
    "use_checkpoint",
    "model.zero_init_residual": "zero_init_last zero_init zero_gamma",
    "model.pretrained": "weights pretrained_path init_checkpoint finetune pretrain",
    "method.temperature": "temp tau t contrast_temp softmax_temperature",
    "method.weight_contrastive": "lambda lambda_contrastive contrastive_weight contrast_weight",
    "method.weight_centroid": "gamma centroid_weight",
    "method.weight_classification": "classification_weight ce_weight cls_weight",
    "method.num_centroids": "n_clusters num_clusters clusters n_centroids centroids k c",
    "method.queue_size": "queue queue_len queue_length memory memory_size memory_bank "
    "memory_bank_size bank_size moco_k m",
    "method.projector_dim": "feat_dim embedding_dim embed_dim proj_dim projection_dim dim d",
    "method.projector_hidden": "hidden_dim hidden_size mlp_dim proj_hidden_dim",
    "method.refresh_epochs": "refresh refresh_interval cluster_every update_interval",
    "method.kmeans_iterations": "kmeans_iters n_iter num_iters kmeans_iter",
    "method.clustering": "cluster cluster_method clustering_method",
    "method.classifier": "head classifier_type use_norm cosine",
    "method.classifier_scale": "scale cosine_scale",
    "optimizer.name": "optimizer optim opt solver optimizer_name optimizer_type optim.name "
    "optim.type optimizer.type optimizer.kind",
    "optimizer.learning_rate": "lr base_lr init_lr initial_lr max_lr peak_lr learningrate eta "
    "blr optim.lr",
    "optimizer.schedule": "scheduler sched lr_schedule lr_scheduler lr_policy lr_scheduler_type "
    "cos",
    "optimizer.warmup_epochs": "warmup warm_up warmup_steps warmup_epoch warm_up_epochs lr_warmup "
    "lr_warmup_epochs num_warmup_steps",
    "optimizer.step_epochs": "milestones lr_steps decay_epochs lr_milestones decay_steps",
    "optimizer.step_factor": "gamma decay_rate lr_gamma lr_decay lr_decay_rate",
    "optimizer.momentum": "sgd_momentum",
    "optimizer.beta1": "betas beta_1 b1 adam_beta1",
    "optimizer.beta2": "betas beta_2 b2 adam_beta2",
    "optimizer.epsilon": "eps adam_eps adam_epsilon opt_eps",
    "optimizer.clip_norm": "clip clip_grad clip_gradient clip_grad_norm clip_value grad_clip "
    "gradient_clip gradient_clipping gradient_clip_val gradient_clip_norm max_grad_norm max_norm "
    "clipnorm global_clipnorm",
    "optimizer.weight_decay": "wd l2 l2_reg weightdecay weight_decays regularization decay",
    "eval.every_epochs": "eval_every eval_interval eval_freq val_interval val_every test_freq "
    "eval_steps check_val_every_n_epoch",
    "eval.batch_size": "eval_batch_size val_batch_size test_batch_size eval_bs "
    "per_device_eval_batch_size",
    "eval.many_above": "many many_shot many_shot_thr many_shot_threshold",
    "eval.few_below": "few few_shot low_shot_thr few_shot_threshold low_shot_threshold",
    "eval.logit_adjustment": "logit_adjust post_hoc posthoc posthoc_tau tau tro la",
    "eval.calibration_bins": "bins n_bins num_bins ece_bins",
    "checkpoint.every_epochs": "checkpoint_every ckpt_every ckpt_interval save_every save_freq "
    "save_interval save_epoch every_n_epochs",
    "checkpoint.every_steps": "save_steps checkpoint_steps ckpt_steps every_n_train_steps",
}

# Words that mean something else in each group.
_OF_THEIR_GROUP = {"name", "type", "kind"}

SYNONYMS: dict[str, tuple[str, ...]] = {}
for _key, _words in _SYNONYMS.items():
    for _word in _words.split():
        SYNONYMS[_word] = (*SYNONYMS.get(_word, ()), _key)


def key_like(asked: str, keys: Iterable[str]) -> tuple[str, ...]:
    """The keys that an unknown one may stand for, the likeliest first.

    Args:
      asked: dotted or not, such as "optimizer.lr".
      keys: those there are, dotted.

    Returns:
      None, one, or all that a word of several meanings may mean.
    """
    keys = list(keys)
    asked = _plain(asked)
    group, _, last = asked.rpartition(".")
    if group and last in _OF_THEIR_GROUP:
        return tuple(
            key for word in (asked, group) for key in SYNONYMS.get(word, ()) if key in keys
        )[:1]
    meant = [key for word in (asked, last) for key in SYNONYMS.get(word, ()) if key in keys]
    meant += [key for key in keys if key.rpartition(".")[2] == last]
    in_group = [key for key in meant if group and key.startswith(f"{group}.")]
    if meant:
        # A word of several meanings has one in its group.
        return tuple(dict.fromkeys(in_group or meant))[:3]
    if close := nearest(asked, keys, 0.75):
        return (close,)
    lasts = {key.rpartition(".")[2]: key for key in reversed(keys)}
    if close := nearest(last, lasts, 0.75):
        return (lasts[close],)
    if close := nearest(last, SYNONYMS, 0.85):
        return tuple(key for key in SYNONYMS[close] if key in keys)
    return ()


def nearest(asked: str, known: Iterable[str], least: float = 0.6) -> str:
    """The known word that is spelt most like another, or "" where none is.

    Args:
      asked: any value; only a text is like another.
      known: words.
      least: how like, from 0 to 1.
    """
    if not isinstance(asked, str) or len(asked) > 200:
        return ""
    by_plain = {_plain(word): word for word in known}
    found = difflib.get_close_matches(_plain(asked), by_plain, n=1, cutoff=least)
    return by_plain[found[0]] if found else ""


def did_you_mean(meant: str | Iterable[str], prefix: str = "") -> str:
    """Ends a sentence with the names that may be meant; "" where there are none."""
    names = [meant] if isinstance(meant, str) else list(meant)
    text = " or ".join(f"{prefix}{name}" for name in names if name)
    return f"; did you mean {text}?" if text else ""


def series(words: Sequence[str]) -> str:
    """Words as a sentence has them.

    Examples:
      >>> series(["bcl"]), series(["bcl", "scl"]), series(["bcl", "scl", "kcl"])
      ('bcl', 'bcl and scl', 'bcl, scl and kcl')
    """
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last


def _plain(name: str) -> str:
    # learningRate, learning-rate and Learning_Rate are one word.
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    return name.lower().replace("-", "_").replace(" ", "_")

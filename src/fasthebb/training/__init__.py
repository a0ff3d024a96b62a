"""Training: Hebbian pre-training without labels, classifiers with them, and what a run leaves on disk."""

from fasthebb.training.at_once import learn_at_once
from fasthebb.training.batch_norm import reestimate_batch_norm
from fasthebb.training.callback import HebbianCallback
from fasthebb.training.checkpoints import CheckpointError, last_checkpoint
from fasthebb.training.class_weights import balanced_class_weights
from fasthebb.training.classifier import Classifier
from fasthebb.training.clock import trained_seconds
from fasthebb.training.closed_form import Ridge, ridge
from fasthebb.training.convergence import epochs_to_come_within, logged
from fasthebb.training.cross_consistency import CrossConsistency
from fasthebb.training.cross_pseudo import CrossPseudo
from fasthebb.training.divergence import OnDivergence, rollbacks
from fasthebb.training.labelled_and_unlabelled import LabelledAndUnlabelled
from fasthebb.training.mean_teacher import MeanTeacher
from fasthebb.training.precision import Precision, fast_precision
from fasthebb.training.pretraining import HebbianPretraining, Order
from fasthebb.training.readouts import Readout, ReadoutWarning
from fasthebb.training.rectified_pyramid import RectifiedPyramid
from fasthebb.training.schedule import USUAL_EPOCHS, usual_epochs
from fasthebb.training.segmentation_loss import segmentation_loss
from fasthebb.training.segmentation_vae import SegmentationVAE
from fasthebb.training.segmenter import Segmenter, SegmenterSettings
from fasthebb.training.selection import best_weights, folds
from fasthebb.training.self_training import USUAL_BATCH, USUAL_LR, SelfTraining
from fasthebb.training.semi_supervised import SemiSupervised
from fasthebb.training.spreading import spread_labels
from fasthebb.training.synchronised_batch_norm import plain_batch_norms, synchronise_batch_norms
from fasthebb.training.taught import TaughtClassifier
from fasthebb.training.tracking_loggers import check_logger, open_logger
from fasthebb.training.trainer import fit, make_trainer
from fasthebb.training.vae import VAEPretraining
from fasthebb.training.view_whitening import ViewWhitening
from fasthebb.training.weights import WeightsError, check_fit, load_into, load_weights, save_weights
from fasthebb.training.within_epochs import TERMINATED, Terminated, ended_by_sigterm

__all__ = [
    "TERMINATED",
    "USUAL_BATCH",
    "USUAL_EPOCHS",
    "USUAL_LR",
    "CheckpointError",
    "Classifier",
    "CrossConsistency",
    "CrossPseudo",
    "HebbianCallback",
    "HebbianPretraining",
    "LabelledAndUnlabelled",
    "MeanTeacher",
    "OnDivergence",
    "Order",
    "Precision",
    "Readout",
    "ReadoutWarning",
    "RectifiedPyramid",
    "Ridge",
    "SegmentationVAE",
    "Segmenter",
    "SegmenterSettings",
    "SelfTraining",
    "SemiSupervised",
    "TaughtClassifier",
    "Terminated",
    "VAEPretraining",
    "ViewWhitening",
    "WeightsError",
    "balanced_class_weights",
    "best_weights",
    "check_fit",
    "check_logger",
    "ended_by_sigterm",
    "epochs_to_come_within",
    "fast_precision",
    "fit",
    "folds",
    "last_checkpoint",
    "learn_at_once",
    "load_into",
    "load_weights",
    "logged",
    "make_trainer",
    "open_logger",
    "plain_batch_norms",
    "reestimate_batch_norm",
    "ridge",
    "rollbacks",
    "save_weights",
    "segmentation_loss",
    "spread_labels",
    "synchronise_batch_norms",
    "trained_seconds",
    "usual_epochs",
]

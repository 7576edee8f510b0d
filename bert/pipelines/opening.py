"""Opens a pipeline from a path: finds out what lies there."""
import inspect
import logging
import os

from bert import file_names
from bert.errors import UserError, did_you_mean
from bert.flags.pipelines import OpeningOptions
from bert.model.bert import set_compute_dtype
from bert.model.weights import catalogue, checkpoint_reader, heads
from bert.model.weights.model_names import locate_model, pin_name
from bert.pipelines.classifier_folder import (
    make_classifier,
    names_no_output,
    read_classifier_task,
)
from bert.pipelines.embedder import Embedder
from bert.pipelines.exported import open_exported_pipeline
from bert.pipelines.exported_embedder import holds_embedding_export, open_exported_embedder
from bert.pipelines.mask_filling import make_mask_filler, open_released_filler
from bert.pipelines.model_folder import (
    find_checkpoint_folder,
    find_head,
    folder_of,
    has_weights,
)
from bert.pipelines.question_answering import build_qa_network, make_question_answerer
from bert.pipelines.ranking import CrossEncoder
from bert.pipelines.task_file import check_kind
from bert.pipelines.token_classification import make_replacement_tagger, make_token_classifier
from bert.train.devices import pick_device

LOG = logging.getLogger(__name__)

TRAINING_SCRIPTS = 'finetune_classifier.py, finetune_ner.py or finetune_squad.py'

# {argument of sentence-transformers: the same of ours}, for messages
OTHER_NAMES = {'truncate_dim': 'dimensions', 'max_seq_length': 'max_tokens',
               'normalize_embeddings': 'normalize'}
EMBEDDER_KEYWORDS = tuple(inspect.signature(Embedder).parameters)


def open_any_pipeline(options, keywords):
    """The pipeline of `bert.flags.pipelines.OpeningOptions`. keywords: of `Embedder`. Raises
    `UserError`."""
    for name in keywords:
        if name not in EMBEDDER_KEYWORDS:
            ours = OTHER_NAMES.get(name, name)
            raise UserError('unknown argument %s.%s' % (name, did_you_mean(
                ours, [*EMBEDDER_KEYWORDS, *OpeningOptions.__dataclass_fields__])))
    pipeline = _open_path(options, keywords)
    if options.activation:
        if not isinstance(pipeline, CrossEncoder):
            raise UserError('activation: it is for a CrossEncoder, but %s is opened as %s; task '
                            '"%s" opens a model with one output as a CrossEncoder'
                            % (options.path, type(pipeline).__name__, file_names.RANKING))
        pipeline.task['activation'] = options.activation
    return pipeline


def _open_path(options, keywords):
    options = _name_export(options)
    repository = catalogue.find_relative(options.path)
    if repository and not os.path.exists(options.path):
        options = options.replace(path=repository)
    if options.path not in catalogue.MODELS:
        options = options.replace(path=locate_model(pin_name(options.path)))
    if is_export(options.path):
        return _open_export(options, keywords)
    for name in ('runtime', 'model_prefix'):
        if getattr(options, name):
            raise UserError('%s: it is for an exported model, but %s holds none'
                            % (name, options.path))
    if options.path in catalogue.MODELS and not os.path.exists(options.path):
        if options.task == file_names.FILL_MASK:
            _refuse_keywords(options, keywords, 'a model that fills masks')
            return _ready(open_released_filler(
                options.path, pick_device(options.gpu, options.dtype, 'gpu')), options)
        check_kind(options.task, {'kind': file_names.EMBEDDING}, options.path)
        return Embedder(model=options.path, gpu=options.gpu, dtype=options.dtype,
                        **_batch_limits(options), **keywords)
    device = pick_device(options.gpu, options.dtype, 'gpu')
    folder = options.path
    if os.path.isdir(folder):
        folder = find_checkpoint_folder(folder, TRAINING_SCRIPTS)
    checkpoint = checkpoint_reader.read_checkpoint(folder)
    head, _, _ = find_head(checkpoint)
    if (options.task or default_kind(head)) == file_names.EMBEDDING:
        return Embedder(checkpoint, gpu=options.gpu, dtype=options.dtype, **_batch_limits(options),
                        **keywords)
    _refuse_keywords(options, keywords, 'a model for ' + head.name)
    return _ready(make_pipeline(checkpoint, device, kind=options.task), options)


def _ready(pipeline, options):
    """The pipeline with the settings of `OpeningOptions`."""
    set_compute_dtype(pipeline.network, options.dtype)
    return _with_batch_limits(pipeline, options)


def _name_export(options):
    """The options with a folder and `model_prefix` for a path of one of its exported models."""
    folder, name = os.path.split(os.path.abspath(options.path))
    for ending in (file_names.SYMBOL_ENDING, file_names.ONNX_ENDING):
        if name.endswith(ending) and os.path.isfile(options.path):
            return options.replace(path=folder, model_prefix=name.removesuffix(ending))
    return options


def _open_export(options, keywords):
    if options.dtype != 'float32':
        raise UserError('dtype %s: the exported model in %s has its own dtype: leave dtype out'
                        % (options.dtype, options.path))
    arguments = (options.path, options.model_prefix, options.runtime,
                 pick_device(options.gpu, flag='gpu'), options.threads)
    if holds_embedding_export(options.path):
        check_kind(options.task, {'kind': file_names.EMBEDDING}, options.path)
        return open_exported_embedder(*arguments, **_batch_limits(options), **keywords)
    _refuse_keywords(options, keywords, 'an exported model')
    return _with_batch_limits(open_exported_pipeline(*arguments, kind=options.task), options)


def is_export(path):
    """Whether a folder holds a model that was exported or quantized, and no checkpoint."""
    return os.path.isdir(path) and not has_weights(path) and any(
        name.endswith((file_names.SYMBOL_ENDING, file_names.ONNX_ENDING))
        for name in os.listdir(path))


def _refuse_keywords(options, keywords, description):
    if keywords:
        raise UserError('%s: it is for an Embedder, but %s holds %s'
                        % (sorted(keywords)[0], options.path, description))


def _batch_limits(options):
    return {name: getattr(options, name) for name in ('batch_size', 'batch_tokens')
            if getattr(options, name)}


def _with_batch_limits(pipeline, options):
    for name, value in _batch_limits(options).items():
        setattr(pipeline, name, value)
    return pipeline


def open_pipeline(path, device, like_model=None, like_dataset=None, classes=None, pair=False,
                  kind=None, is_quiet=False):
    """Open the `Pipeline` in a file of parameters or a folder.

    like_model, like_dataset: as for `checkpoint_reader.read_checkpoint`. classes, pair: what a
    classifier's parameters alone don't say. kind, is_quiet: of `make_pipeline`. Raises `UserError`,
    also for parameters of another model.
    """
    return make_pipeline(checkpoint_reader.read_checkpoint(path, like_model, like_dataset), device,
                         classes, pair, kind, is_quiet)


def make_pipeline(checkpoint, device, classes=None, pair=False, kind=None, is_quiet=False):
    """The same for a `checkpoint_reader.Checkpoint`. kind: of `file_names.MODEL_KINDS`, where the
    checkpoint can be opened in more ways than one. is_quiet: do not warn of an output that no file
    describes. Raises `UserError` for a kind that its head is not for."""
    head, arrays, _ = find_head(checkpoint)
    if kind == file_names.FILL_MASK and head.name not in heads.WORD_HEADS:
        raise UserError('task %s: %s has no masked-language-model decoder; found: %s'
                        % (kind, checkpoint.source, head.name))
    if head.name == heads.CLASSIFICATION:
        if not is_quiet and kind is None:
            _warn_of_output(checkpoint, arrays)
        return _make_text_classifier(checkpoint, arrays, device, classes, pair, kind)
    if head.name not in MAKERS:
        raise UserError('%s holds no model for a task; found: %s. Train a model on it with %s'
                        % (checkpoint.source, head.name, TRAINING_SCRIPTS))
    if classes or pair:
        raise UserError('%s: %s holds no text classifier; found: %s'
                        % ('--classes' if classes else '--pair', checkpoint.source, head.name))
    pipeline = MAKERS[head.name](checkpoint, arrays, device)
    check_kind(kind, pipeline.task, checkpoint.source)
    return pipeline


def _make_answerer(checkpoint, arrays, device):
    return make_question_answerer(build_qa_network(checkpoint, device), checkpoint, device)


# {head: function(checkpoint, arrays of `find_head`, device) → its `Pipeline`}; a classifier of
# texts has `_make_text_classifier`
MAKERS = {heads.QUESTION_ANSWERING: _make_answerer,
          heads.TOKEN_CLASSIFICATION: make_token_classifier,
          heads.DISCRIMINATOR: make_replacement_tagger,
          **dict.fromkeys(heads.WORD_HEADS, make_mask_filler)}


def default_kind(head):
    """The kind of `bert.file_names.MODEL_KINDS` that the weights of a `heads.Head` are opened as if
    nothing is said: None where the head decides."""
    return None if head.name in heads.TASK_HEADS else file_names.EMBEDDING


def _warn_of_output(checkpoint, arrays):
    """Warn if nothing says what the only output of a classifier is."""
    if heads.num_classes(arrays) == 1 and names_no_output(
            checkpoint, read_classifier_task(checkpoint, 1)):
        LOG.warning('%s: config.json does not describe the only output: scores are the raw output. '
                    'As a reranker (predict.py --query, --task %s of export/export.py, task="%s" '
                    'of bert.open) the model applies a sigmoid', checkpoint.source,
                    *2 * (file_names.RANKING,))


def _make_text_classifier(checkpoint, arrays, device, classes, pair, kind):
    num_outputs = heads.num_classes(arrays)
    class_names = classes or _names_from_indices(checkpoint, num_outputs)
    task = read_classifier_task(checkpoint, num_outputs, class_names, kind)
    if classes and _has_task(checkpoint):
        labels = read_classifier_task(checkpoint, num_outputs)['labels']
        if labels != list(classes):
            raise UserError('--classes %s: %s beside the parameters names %s: leave the flag out'
                            % (','.join(classes), file_names.TASK_FILE, ','.join(labels)))
    check_kind(kind, task, checkpoint.source)
    model = make_classifier(checkpoint, arrays, task, device)
    if pair and model.task['pair'] is False:
        raise UserError('--pair: %s was trained on single texts' % checkpoint.source)
    model.task['pair'] = pair or model.task['pair']
    return model


def refuse_overwriting_model(output_dir, source):
    """Raises `UserError` if the output folder is the folder of the model, because files with the
    same names would be replaced. source: a folder or a file of weights."""
    weights = checkpoint_reader.find_weights(source)
    for path in (source, os.path.dirname(os.path.abspath(weights))):
        if output_dir and os.path.realpath(output_dir) == os.path.realpath(path):
            raise UserError('--output_dir %s: this is the folder of the model, whose files would '
                            'be replaced: choose another folder' % output_dir)


def _names_from_indices(checkpoint, num_outputs):
    """Names for classes without names: their indices as text. None if the folder has the names."""
    if num_outputs == 1 or _has_task(checkpoint) or \
            checkpoint_reader.has_transformers_config(folder_of(checkpoint)):
        return None
    LOG.warning('%s: no %s beside it: the %d classes are named by their numbers; set names with '
                '--classes', checkpoint.source, file_names.TASK_FILE, num_outputs)
    return tuple(map(str, range(num_outputs)))


def _has_task(checkpoint):
    return os.path.isfile(os.path.join(folder_of(checkpoint), file_names.TASK_FILE))

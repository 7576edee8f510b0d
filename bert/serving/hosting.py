"""The models of the server: opened, made ready, found by name, replaced."""
import dataclasses
import functools
import gc
import math
import os
import time

import bert
from bert import file_names
from bert.errors import UserError, did_you_mean
from bert.pipelines.classification import Classifier
from bert.pipelines.embedder import Embedder
from bert.pipelines.inference import NETWORK_LOCK
from bert.pipelines.task_file import kind_of
from bert.serving.api_errors import ApiError

# What is computed to see that a model works, by kind; a text for all others
SAMPLE_TEXT, SAMPLE_QUESTION = 'The cat sat on the mat.', 'Where did the cat sit?'
MEASURED_TEXTS = 16     # with fewer a small model seems slow, with more a large one starts late
CLASSIFIER_KINDS = (file_names.CLASSIFICATION, file_names.MULTI_LABEL, file_names.REGRESSION)


@dataclasses.dataclass(frozen=True, eq=False)
class ServedModel:
    """A pipeline under a name. path: what it was opened from; dtype: what it computes in; created:
    in seconds since 1970; hub_name: None for a model that was opened from a path; speed: tokens a
    second when it was opened."""
    name: str
    path: str
    pipeline: object
    dtype: str
    created: int
    hub_name: str | None
    speed: float = math.inf

    @functools.cached_property
    def runner(self):
        """The `NetworkRunner` of the network that it needs by default."""
        return self.plan_sample().runner

    @property
    def kind(self):
        """Of `bert.file_names.MODEL_KINDS`."""
        if isinstance(self.pipeline, Embedder):
            return file_names.EMBEDDING
        return kind_of(self.pipeline.task)

    @property
    def max_tokens(self):
        """Tokens of a text at most, special ones included."""
        if isinstance(self.pipeline, Embedder):
            return self.pipeline.sentence_model.max_seq_length
        return self.pipeline.max_len

    @property
    def reads_pairs(self):
        """Whether it reads pairs of texts: True, False, or None for either."""
        return getattr(self.pipeline, 'task', {'pair': False}).get('pair', False)

    def plan_sample(self, count=1):
        """The `Inference` of something that any model of this kind can compute, `count` times."""
        if self.kind == file_names.QUESTION_ANSWERING:
            return self.pipeline.plan([(SAMPLE_QUESTION, SAMPLE_TEXT)] * count)
        if self.kind == file_names.FILL_MASK:
            return self.pipeline.plan([self.pipeline.tokenizer.vocab.mask_token] * count)
        is_pair = isinstance(self.pipeline, Classifier) and self.reads_pairs is True
        return self.pipeline.plan(
            [(SAMPLE_QUESTION, SAMPLE_TEXT) if is_pair else SAMPLE_TEXT] * count)

    def measure_speed(self):
        """The model with its speed, after it has computed something. Raises `UserError`."""
        self.plan_sample(MEASURED_TEXTS).run()      # the first time takes longer
        inference = self.plan_sample(MEASURED_TEXTS)
        with NETWORK_LOCK:      # a reload waits for the batches of others, which is no slowness
            started = time.monotonic()
            inference.run()
            seconds = time.monotonic() - started
        return dataclasses.replace(self, speed=inference.num_read / max(seconds, 1e-6))


def dtype_of(pipeline, dtype):
    """What a pipeline computes in. An exported INT8 model has int8, whatever --dtype says."""
    network = getattr(pipeline, 'network', None)        # embedders have none
    return 'int8' if getattr(network, 'is_quantized', False) else dtype


def settle_objects():
    """Free what is in cycles, and take all other objects for permanent. Python's collector would
    look through them again and again, while requests wait."""
    gc.unfreeze()       # among them is a model that was replaced
    gc.collect()
    gc.freeze()


class ModelHost:
    """The models, by name. options: `bert.flags.serving.ServingOptions`."""

    def __init__(self, options):
        self._options, self.models = options, {}
        paths = parse_models(options.model_dir)
        self._tasks = parse_tasks(options.task or (), paths)
        for name, path in paths.items():
            self.models[name] = self.open(name, path)

    def open(self, name, path):
        """The `ServedModel` at `path`, after it has computed something. Raises `UserError`."""
        options = self._options
        pipeline = bert.open(path, task=self._tasks[name], dtype=options.dtype,
                             threads=options.threads)
        return ServedModel(name, path, pipeline, dtype_of(pipeline, options.dtype),
                           int(time.time()), None if os.path.exists(path) else path).measure_speed()

    def reload(self, name):
        """Open a model anew from its path, and put it in the place of the old one, which goes on
        with what it has begun. Returns the new one. Raises `UserError`."""
        self.models[name] = self.open(name, self.models[name].path)
        settle_objects()        # the old one is in cycles, and large
        return self.models[name]

    def find(self, name, kinds):
        """The model `name`, or for None the first of one of these kinds. Raises `ApiError`."""
        if name is not None and name not in self.models:
            raise ApiError(404, 'ModelNotFound', 'model "%s": there is no such model.%s The models '
                           'are %s' % (name, did_you_mean(name, self.models),
                                       ', '.join(self.models)))
        models = self.models.values() if name is None else [self.models[name]]
        for model in models:
            if model.kind in kinds:
                return model
        raise ApiError(424, 'Backend', '%s: this needs a model for %s' % (
            ', '.join('"%s" is for %s' % (model.name, model.kind) for model in models),
            ' or '.join(kinds)))


def parse_tasks(values, names):
    """{name of a model: kind of `bert.file_names.MODEL_KINDS`, or None} of the values of --task:
    [NAME=]KIND. Raises `UserError`."""
    default, tasks = None, {}
    for value in values:
        name, separator, kind = value.rpartition('=')
        if kind not in file_names.MODEL_KINDS:
            raise UserError('--task %s: no such kind.%s The kinds are %s' % (
                value, did_you_mean(kind, file_names.MODEL_KINDS),
                ', '.join(file_names.MODEL_KINDS)))
        if separator and name not in names:
            raise UserError('--task %s: there is no model "%s".%s The models are %s'
                            % (value, name, did_you_mean(name, names), ', '.join(names)))
        if name in tasks if separator else default:
            raise UserError('--task %s: it is given twice' % value)
        if separator:
            tasks[name] = kind
        else:
            default = kind
    return {name: tasks.get(name, default) for name in names}


def parse_models(values):
    """{name: path} of the values of --model_dir: [NAME=]PATH. Raises `UserError`."""
    models = {}
    for value in values:
        name, separator, path = value.partition('=')
        if not separator or os.path.exists(value):
            path = value
            name = os.path.basename(os.path.abspath(value)) if os.path.exists(value) else value
        if not name or not path:
            raise UserError('--model_dir %s: expected NAME=PATH, or a path alone' % value)
        if name in models:
            raise UserError('--model_dir: two models have the name "%s": give them names, as in '
                            'first=%s second=%s' % (name, models[name], path))
        models[name] = path
    return models


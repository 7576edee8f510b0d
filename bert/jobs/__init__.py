"""The jobs: what the scripts do, as functions of Python.

    from bert.jobs import finetune_classifier
    run = finetune_classifier(task_name='MRPC', bert_model='bert_6_384_12', epochs=1)
    run.metrics, run.folder, run.report

Keywords are the flags of the script without `--`. Each function also takes an object of its options
class. Importing this module imports no mxnet; the first call of a job does.
"""
import contextlib
import functools
import importlib
import inspect
import os
import random

from bert import _compat
from bert.errors import NOT_UNICODE, UserError, is_unicode
from bert.flags.options import explicit_options, make_options
from bert.flags.threads import check_threads

# Variables of the environment that name folders of data and of the cache
FOLDER_VARIABLES = ('MXNET_HOME', 'GLUE_DIR', 'SQUAD_DIR', 'BAIDU_ERNIE_DATA_DIR', 'NER_DIR',
                    'HOME')


class Job:
    """A job as a function: takes options, returns a `bert.jobs.runs.results.JobResult`.

    module: where the function of the same name is, below this package. options_classes: names of
    its classes of options, as module.class of `bert.flags`; the first is for keywords. They are
    imported at the first use, so that a script imports those of its own.
    """

    def __init__(self, module, name, *options_classes):
        self._module, self.__name__, self._classes = module, name, options_classes
        self.__doc__ = ('The job %s. Keywords: the flags of its script, without "--", see '
                        'docs/python.rst. Returns a JobResult.' % name)

    @functools.cached_property
    def options_classes(self):
        """The classes of options that the job takes."""
        names = [name.partition('.') for name in self._classes]
        return tuple(getattr(importlib.import_module('bert.flags.' + module), name)
                     for module, _, name in names)

    @property
    def options_class(self):
        """The class that keywords are made into."""
        return self.options_classes[0]

    @property
    def __signature__(self):        # the keywords, for editors
        return inspect.signature(self.options_class)

    def __repr__(self):
        return '<job %s>' % self.__name__

    def __call__(self, options=None, explicit=None, **keywords):
        """Do the job with an object of `options_class`, or with keywords.

        explicit: {option: flag} of the options that the command line set; left out: those that
        differ from their defaults. Raises `UserError` with the line that the script prints.
        """
        if options is None and explicit is None:
            options, explicit = make_options(self.options_class, keywords)
        elif keywords or not isinstance(options, self.options_classes):
            raise TypeError('%s: give keywords, or an object of %s'
                            % (self.__name__, self.options_class.__name__))
        elif explicit is None:
            explicit = explicit_options(options)
        _check_surroundings()
        options.check(explicit, is_final=not options.continues_run)
        if 'threads' in explicit:
            check_threads(options.threads)
        _compat.check_numpy()
        options.prepare_mxnet()
        module = importlib.import_module('%s.%s' % (__name__, self._module))
        with _without_traces():
            return getattr(module, self.__name__)(_pin_models(options), explicit)


def _check_surroundings():
    """Raises `UserError` if the working folder is gone, or if its path or a folder that the
    environment names is no Unicode: reports hold such paths."""
    try:
        paths = {'the working folder': os.getcwd()}
    except OSError as error:
        raise UserError('the working folder: %s: change to another folder with cd'
                        % error.strerror) from None
    paths.update((name, os.environ.get(name, '')) for name in FOLDER_VARIABLES)
    for name, path in paths.items():
        if not is_unicode(path):
            raise UserError('%s, %a: %s: rename it, or choose another' % (name, path, NOT_UNICODE))


def _pin_models(options):
    """The options with the commits of models that are named as on the hub, after their files are
    here. Raises `UserError`."""
    options = _name_relatives(options)
    names = {option: getattr(options, option, None) for option in options.model_options}
    if not any(names.values()):
        return options
    log = importlib.import_module('bert.train.log')
    model_names = importlib.import_module('bert.model.weights.model_names')
    log.open_log()
    try:
        return options.replace(**{option: model_names.pin_name(name)
                                  for option, name in names.items() if name})
    finally:
        log.close_log()


def _name_relatives(options):
    """The options with the repository of the hub in --bert_checkpoint, where --bert_model names a
    relative of BERT: its commit is recorded then."""
    names = options.as_dict()
    if names.get('bert_checkpoint', '') is not None or not names.get('bert_model'):
        return options
    catalogue = importlib.import_module('bert.model.weights.catalogue')
    return options.replace(bert_checkpoint=catalogue.find_relative(options.bert_model,
                                                                   options.bert_dataset))


@contextlib.contextmanager
def _without_traces():
    """After the body, the program's generators of random numbers are as before, and its records no
    longer go to the log of the run. (MXNet's generator can't be restored.)"""
    import numpy as np  # here, because --help needs none
    states = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        importlib.import_module('bert.train.log').close_log()


finetune_classifier = Job('finetuning.classification', 'finetune_classifier',
                          'finetuning.FinetuneClassifierOptions')
finetune_squad = Job('finetuning.question_answering', 'finetune_squad',
                     'finetuning.FinetuneSquadOptions')
finetune_static_squad = Job('finetuning.question_answering', 'finetune_static_squad',
                            'finetuning.StaticFinetuneSquadOptions')
finetune_ner = Job('finetuning.token_classification', 'finetune_ner',
                   'token_classification.FinetuneNerOptions')
create_pretraining_data = Job('pretraining.data_creation', 'create_pretraining_data',
                              'pretraining.CreatePretrainingDataOptions')
pretrain = Job('pretraining.training', 'pretrain', 'pretraining.RunPretrainingOptions',
               'pretraining.RunPretrainingHorovodOptions')
embed = Job('embedding.command', 'embed', 'embedding.EmbedOptions')
predict_labels = Job('prediction.text_prediction', 'predict_labels', 'prediction.PredictOptions')
predict_answers = Job('prediction.question_answering', 'predict_answers',
                      'prediction.AnswerQuestionsOptions')
deploy = Job('prediction.deployment', 'deploy', 'prediction.DeployOptions')
evaluate_predictions = Job('prediction.squad_evaluation', 'evaluate_predictions',
                           'prediction.EvaluateSquadOptions')
evaluate_entities = Job('prediction.entity_evaluation', 'evaluate_entities',
                        'prediction.EvaluateEntitiesOptions')
quantize = Job('int8.command', 'quantize', 'int8.QuantizeOptions')
export_symbol = Job('exporting.serving_folder', 'export_symbol', 'exporting.ExportOptions')
export_onnx = Job('exporting.serving_folder', 'export_onnx', 'exporting.ExportOnnxOptions')
export_static_squad = Job('exporting.static_shapes', 'export_static_squad',
                          'exporting.StaticExportOptions')
convert_checkpoint = Job('exporting.conversion', 'convert_checkpoint',
                         'exporting.ConvertCheckpointOptions')
run_glue = Job('lpot_example', 'run_glue', 'lpot_example.RunGlueTuneOptions')
run_squad = Job('lpot_example', 'run_squad', 'lpot_example.RunSquadTuneOptions')

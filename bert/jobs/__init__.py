"""The jobs: what the scripts do, as functions of Python.

    from bert.jobs import finetune_classifier
    run = finetune_classifier(task_name='MRPC', bert_model='bert_6_384_12', epochs=1)
    run.metrics, run.folder, run.report

Keywords are the flags of the script without `--`. Each function also takes an object of its options
class. Importing this module imports no mxnet; the first call of a job does.
"""
import importlib
import inspect

from bert import _compat
from bert.flags.embedding import EmbedOptions
from bert.flags.exporting import (
    ConvertCheckpointOptions,
    ExportOnnxOptions,
    ExportOptions,
    StaticExportOptions,
)
from bert.flags.finetuning import (
    FinetuneClassifierOptions,
    FinetuneSquadOptions,
    StaticFinetuneSquadOptions,
)
from bert.flags.int8 import QuantizeOptions
from bert.flags.lpot_example import RunGlueTuneOptions, RunSquadTuneOptions
from bert.flags.options import explicit_options, make_options
from bert.flags.prediction import (
    AnswerQuestionsOptions,
    DeployOptions,
    EvaluateSquadOptions,
    PredictOptions,
)
from bert.flags.pretraining import (
    CreatePretrainingDataOptions,
    RunPretrainingHorovodOptions,
    RunPretrainingOptions,
)
from bert.flags.threads import check_threads


class Job:
    """A job as a function: takes options, returns a `bert.jobs.runs.results.JobResult`.

    module: where the function of the same name is, below this package. options_class: of
    `bert.flags`. other_classes: options of further scripts that do this job.
    """

    def __init__(self, module, name, options_class, *other_classes):
        self._module, self.__name__, self.options_class = module, name, options_class
        self._classes = (options_class,) + other_classes
        self.__signature__ = inspect.signature(options_class)   # the keywords, for editors
        self.__doc__ = 'The job of %s. Keywords: the flags of the script, without "--".' % (
            options_class.__doc__)

    def __repr__(self):
        return '<job %s>' % self.__name__

    def __call__(self, options=None, explicit=None, **keywords):
        """Do the job with an object of `options_class`, or with keywords.

        explicit: {option: flag} of the options that the command line set; left out: those that
        differ from their defaults. Raises `UserError` with the line that the script prints.
        """
        if options is None and explicit is None:
            options, explicit = make_options(self.options_class, keywords)
        elif keywords or not isinstance(options, self._classes):
            raise TypeError('%s: give keywords, or an object of %s'
                            % (self.__name__, self.options_class.__name__))
        elif explicit is None:
            explicit = explicit_options(options)
        options.check(explicit, is_final=not options.continues_run)
        if 'threads' in explicit:
            check_threads(options.threads)
        _compat.check_numpy()
        options.prepare_mxnet()
        module = importlib.import_module('%s.%s' % (__name__, self._module))
        try:
            return getattr(module, self.__name__)(options, explicit)
        finally:        # the program's later records don't belong to the log of the run
            importlib.import_module('bert.train.log').close_log()


finetune_classifier = Job('finetuning.classification', 'finetune_classifier',
                          FinetuneClassifierOptions)
finetune_squad = Job('finetuning.question_answering', 'finetune_squad',
                     FinetuneSquadOptions)
finetune_static_squad = Job('finetuning.question_answering', 'finetune_static_squad',
                            StaticFinetuneSquadOptions)
create_pretraining_data = Job('pretraining.data_creation', 'create_pretraining_data',
                              CreatePretrainingDataOptions)
pretrain = Job('pretraining.training', 'pretrain', RunPretrainingOptions,
               RunPretrainingHorovodOptions)
embed = Job('embedding.command', 'embed', EmbedOptions)
predict_labels = Job('prediction.classification', 'predict_labels', PredictOptions)
predict_answers = Job('prediction.question_answering', 'predict_answers',
                      AnswerQuestionsOptions)
deploy = Job('prediction.deployment', 'deploy', DeployOptions)
evaluate_predictions = Job('prediction.squad_evaluation', 'evaluate_predictions',
                           EvaluateSquadOptions)
quantize = Job('int8.command', 'quantize', QuantizeOptions)
export_symbol = Job('exporting.serving_folder', 'export_symbol', ExportOptions)
export_onnx = Job('exporting.serving_folder', 'export_onnx', ExportOnnxOptions)
export_static_squad = Job('exporting.static_shapes', 'export_static_squad',
                          StaticExportOptions)
convert_checkpoint = Job('exporting.conversion', 'convert_checkpoint',
                         ConvertCheckpointOptions)
run_glue = Job('lpot_example', 'run_glue', RunGlueTuneOptions)
run_squad = Job('lpot_example', 'run_squad', RunSquadTuneOptions)

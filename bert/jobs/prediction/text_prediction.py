"""The job of predict.py: what a model says of texts, whatever its kind."""
from bert import file_names
from bert.errors import UserError
from bert.flags.option_kinds import refuse_other_kinds
from bert.jobs.prediction import classification, mask_filling, ranking
from bert.jobs.prediction.tagged_output import write_entities
from bert.jobs.runs.results import JobResult
from bert.model.bert import set_compute_dtype
from bert.pipelines.model_folder import find_checkpoint_folder
from bert.pipelines.opening import is_export, open_pipeline
from bert.pipelines.task_file import kind_of
from bert.train.devices import pick_device

# {kind of `file_names.MODEL_KINDS`: function(model, options, explicit) that writes what an open
# `Pipeline` says of the texts of the options, and returns their number}; deploy.py uses it too
WRITERS = {file_names.CLASSIFICATION: classification.write_labels,
           file_names.REGRESSION: classification.write_labels,
           file_names.MULTI_LABEL: classification.write_labels,
           file_names.RANKING: ranking.write_ranking,
           file_names.TOKEN_CLASSIFICATION: write_entities,
           file_names.FILL_MASK: mask_filling.write_words}


def predict_labels(options, explicit):
    """Write one line per text. Returns a `JobResult`. Raises `UserError`."""
    device = pick_device(options.gpu, options.dtype)
    classification.check_output_file(options)
    if is_export(options.model_dir):
        raise UserError('--model_dir %s: it holds an exported model: run it with deploy.py '
                        '--model_dir %s' % (2 * (options.model_dir,)))
    path = find_checkpoint_folder(options.model_dir,
                                  'finetune_classifier.py or finetune_ner.py')
    # with --query a model with one output that says nothing of it gets a sigmoid
    model = ranking.model_for_query(open_pipeline(path, device, is_quiet=options.query is not None),
                                    options)
    kind = kind_of(model.task)
    if kind not in WRITERS:
        raise UserError('--model_dir %s: the model is for %s: use answer.py'
                        % (options.model_dir, kind.replace('_', ' ')))
    refuse_other_kinds(options, explicit, kind)
    classification.apply_threshold(model, options)
    set_compute_dtype(model.network, options.dtype)
    return JobResult({'texts': WRITERS[kind](model, options, explicit)})

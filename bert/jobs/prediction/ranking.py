"""Ranks documents for a query by a cross-encoder: documents from arguments, a file or standard
input."""
import json

from bert import file_names
from bert.data.glue.labels import one_line
from bert.errors import UserError
from bert.flags.options import refuse
from bert.jobs.prediction.classification import (
    open_output,
    read_input_examples,
    warn_of_cut_inputs,
    write_labels,
)
from bert.pipelines.exported import ExportedCrossEncoder, ExportedPipeline
from bert.pipelines.ranking import CrossEncoder, as_cross_encoder
from bert.pipelines.records import TextCounts
from bert.pipelines.task_file import kind_of


def model_for_query(model, options):
    """The open `Pipeline` as --query and --activation want it: with --query as a `CrossEncoder`, if
    it has one output and reads pairs. Raises `UserError`."""
    if options.query is not None:
        model = _as_cross_encoder(model, options)
    if options.activation and isinstance(model, CrossEncoder):
        model.task['activation'] = options.activation
    return model


def _as_cross_encoder(model, options):
    if not options.query.strip():
        raise UserError('--query: it is empty')
    if isinstance(model, CrossEncoder):
        return model
    is_regression = kind_of(model.task) == file_names.REGRESSION
    if not is_regression or model.task['pair'] is False:
        raise UserError('--query: the model in %s is for %s: name a model that scores pairs, such '
                        'as a run of finetune_classifier.py --ranking' % (
                            options.model_dir, 'single texts' if is_regression
                            else kind_of(model.task).replace('_', ' ')))
    return as_cross_encoder(model, ExportedCrossEncoder if isinstance(model, ExportedPipeline)
                            else CrossEncoder)


def write_ranking(model, options, explicit):
    """Write one line per pair, or with --query per document, with an open `CrossEncoder`. Returns
    the number of texts."""
    if options.query is None:
        refuse(explicit, ('top_k',), 'it is for --query')
        return write_labels(model, options, explicit)
    documents = [example.texts[0] for example in read_input_examples(options, pair=False)]
    model.batch_size, counts = options.batch_size, TextCounts()
    ranking = model.rank(options.query, documents, options.top_k, counts)
    with open_output(options.output) as out:
        if options.format == 'tsv':
            out.write('score\tdocument\n')
        for document in ranking:
            out.write(format_document(document, options.format) + '\n')
    warn_of_cut_inputs(counts, model)
    return len(documents)


def format_document(document, output_format):
    """One line of a `RankedDocument`: JSON, or tab-separated with tabs and line ends in the text
    replaced by spaces."""
    if output_format == 'jsonl':
        return json.dumps(document._asdict(), ensure_ascii=False, allow_nan=False)
    return '%.4f\t%s' % (document.score, one_line(document.text))

"""Builds the network that the model options describe."""
import dataclasses
import logging

import mxnet as mx

from bert.data.squad.windows import WindowOptions
from bert.data.text.tokenizer import BertTokenizer
from bert.errors import UserError
from bert.model import zoo
from bert.model.bert import is_fused, set_compute_dtype
from bert.model.qa import BertForQA
from bert.model.static_qa import length_from_environment
from bert.model.weights import checkpoint_reader
from bert.pipelines.question_answering import (
    TASK_DEFAULTS,
    QuestionAnswerer,
    StaticQuestionAnswerer,
    hybridize_network,
    load_qa_network,
    read_saved_task,
    static_network_maker,
)


def build_encoder(options, dataset, device, **arguments):
    """(`BERTModel`, vocabulary) from the model options. With --model_parameters the parameters have
    no values yet: that file brings them.

    arguments: further ones of `zoo.get_model`.
    """
    arguments = dict(dict(use_decoder=False, use_classifier=False), ctx=device,
                     dropout=options.dropout, **arguments)
    if options.bert_checkpoint:
        bert, vocabulary = zoo.load_checkpoint(options.bert_checkpoint, options.bert_model, dataset,
                                               **arguments)
    else:
        has_own_file = options.pretrained_bert_parameters or options.model_parameters
        bert, vocabulary = zoo.get_released_model(options.bert_model, dataset, not has_own_file,
                                                  **arguments)
    if options.pretrained_bert_parameters:
        zoo.load_encoder(bert, options.pretrained_bert_parameters, vocabulary, device)
    return bert, vocabulary


def apply_dtype(network, dtype):
    """Make a network compute in --dtype. For float16 the trainer does that, which then keeps the
    weights in float32."""
    if dtype == 'bfloat16':
        set_compute_dtype(network, dtype)
    elif dtype == 'float32' and is_fused(network, 'bfloat16'):
        logging.info('--dtype bfloat16 would be faster on this CPU')


def initialise_head(block, device):
    """Initialise a new layer as the BERT paper does."""
    block.initialize(mx.init.Normal(0.02), ctx=device)


# Question answering


def build_question_answerer(options, task, device, seq_length=None):
    """The question-answering model of the options: an encoder with a new head, or the parameters of
    --model_parameters, or, with --only_predict, the whole model in --bert_checkpoint.

    task: values of `TASK_DEFAULTS` and max_len. seq_length: length of a static model's windows;
    None for a dynamic model.
    """
    task = dict(TASK_DEFAULTS, **task)
    max_len = task.pop('max_len')
    make_network = BertForQA
    if seq_length is not None:
        make_network = static_network_maker(seq_length, options.input_size)
    if opens_whole_model(options):
        network, checkpoint = load_qa_network(options.bert_checkpoint, device, make_network)
        config, vocabulary = checkpoint.config, checkpoint.vocabulary
    else:
        network, vocabulary = _network_with_new_head(options, device, make_network)
        config = network.bert.config
    config = _with_case(config, vocabulary, options.uncased)
    hybridize_network(network)
    tokenizer = BertTokenizer(vocabulary, lower=not config.cased)
    if seq_length is None:
        return QuestionAnswerer(network, tokenizer, config, task, max_len, device)
    batch_sizes = (options.batch_size, options.test_batch_size)
    return StaticQuestionAnswerer(network, tokenizer, config, task, max_len, device, batch_sizes)


def _network_with_new_head(options, device, make_network):
    bert, vocabulary = build_encoder(options, options.bert_dataset, device, use_pooler=False)
    network = make_network(bert)
    initialise_head(network.span_classifier, device)
    if options.model_parameters:
        zoo.load_model(network, options.model_parameters, vocabulary, device)
    elif options.only_predict:
        logging.warning('no --model_parameters: the head is untrained, so its answers are random; '
                        'the net.params of a run holds a trained head')
    return network, vocabulary


def _with_case(config, vocabulary, uncased):
    """The configuration, without case if --uncased is set."""
    if not uncased or not config.cased:
        return config
    if vocabulary.tokenizer_json is not None:
        raise UserError('--uncased: the tokenizer.json of this model has its own rule about case: '
                        'leave the flag out')
    logging.warning('--uncased: the vocabulary of this model is cased, but text is lower-cased '
                    'because of this flag')
    return dataclasses.replace(config, cased=False)


def apply_saved_task(options, explicit):
    """(options, task): if --bert_checkpoint names a whole model, the options that are not set
    explicitly get the values in its task.json. task: that file's values, {} without one. Raises
    `UserError`."""
    if not opens_whole_model(options):
        return options, {}
    if options.pretrained_bert_parameters:
        raise UserError('--pretrained_bert_parameters: the model in --bert_checkpoint already has '
                        'an encoder; give one of the two')
    content = read_saved_task(checkpoint_reader.find_weights(options.bert_checkpoint))
    if not content:
        return options, {}
    task = {key: content[key] for key in TASK_DEFAULTS}
    values = dict(task, max_seq_length=content['max_len'])
    names = options.as_dict().keys() & values.keys() - explicit.keys() - {'version_2'}
    return options.replace(**{name: values[name] for name in names}), task


def opens_whole_model(options):
    """Whether --bert_checkpoint is opened with its head: only if nothing is trained and
    --model_parameters brings no head."""
    return bool(options.only_predict and options.bert_checkpoint and not options.model_parameters)


def resolve_lengths(options, explicit):
    """The options with the length of static windows in `seq_length`: --seq_length, else SEQLENGTH,
    else --max_seq_length, else 384. `max_seq_length` becomes no more than it, unless it is set
    explicitly. Raises `UserError` when windows don't fit."""
    length = options.seq_length or length_from_environment() or options.max_seq_length or \
        WindowOptions().max_seq_length
    max_length = options.max_seq_length
    if 'max_seq_length' not in explicit:
        max_length = min(max_length or length, length)
    if max_length > length:
        raise UserError('--max_seq_length %d: windows of that size don\'t fit into --seq_length %d'
                        % (max_length, length))
    # a resume uses this length, whatever SEQLENGTH is by then
    return options.replace(seq_length=length, max_seq_length=max_length)

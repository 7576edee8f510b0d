"""Builds the network that the model flags describe."""
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


def check_model_flags(args):
    """Raises `UserError` for sources of weights that contradict each other."""
    if args.pretrained_bert_parameters and args.model_parameters:
        raise UserError('--pretrained_bert_parameters and --model_parameters: the second holds '
                        'the encoder too; give one of the two')


def build_encoder(args, dataset, device, **options):
    """(`BERTModel`, vocabulary) from the model flags. With --model_parameters the parameters have
    no values yet: that file brings them.

    options: further arguments of `zoo.get_model`.
    """
    options = dict(dict(use_decoder=False, use_classifier=False), ctx=device,
                   dropout=args.dropout, **options)
    if args.bert_checkpoint:
        bert, vocabulary = zoo.load_checkpoint(args.bert_checkpoint, args.bert_model, dataset,
                                               **options)
    else:
        has_own_file = args.pretrained_bert_parameters or args.model_parameters
        bert, vocabulary = zoo.get_model(args.bert_model, dataset, pretrained=not has_own_file,
                                         **options)
    if args.pretrained_bert_parameters:
        zoo.load_encoder(bert, args.pretrained_bert_parameters, vocabulary, device)
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


def build_question_answerer(args, task, device, seq_length=None):
    """The question-answering model of the flags: an encoder with a new head, or the parameters of
    --model_parameters, or, with --only_predict, the whole model in --bert_checkpoint.

    task: values of `TASK_DEFAULTS` and max_len. seq_length: length of a static model's windows;
    None for a dynamic model.
    """
    task = dict(TASK_DEFAULTS, **task)
    max_len = task.pop('max_len')
    make_network = BertForQA
    if seq_length is not None:
        make_network = static_network_maker(seq_length, args.input_size)
    if opens_whole_model(args):
        network, checkpoint = load_qa_network(args.bert_checkpoint, device, make_network)
        config, vocabulary = checkpoint.config, checkpoint.vocabulary
    else:
        network, vocabulary = _network_with_new_head(args, device, make_network)
        config = network.bert.config
    config = _with_case(config, args.uncased)
    hybridize_network(network)
    tokenizer = BertTokenizer(vocabulary, lower=not config.cased)
    if seq_length is None:
        return QuestionAnswerer(network, tokenizer, config, task, max_len)
    batch_sizes = (getattr(args, 'batch_size', args.test_batch_size), args.test_batch_size)
    return StaticQuestionAnswerer(network, tokenizer, config, task, max_len, batch_sizes)


def _network_with_new_head(args, device, make_network):
    bert, vocabulary = build_encoder(args, args.bert_dataset, device, use_pooler=False)
    network = make_network(bert)
    initialise_head(network.span_classifier, device)
    if args.model_parameters:
        zoo.load_model(network, args.model_parameters, vocabulary, device)
    elif getattr(args, 'only_predict', True):
        logging.warning('no --model_parameters: the head is untrained, its answers are chance; '
                        'the net.params of a run holds a trained one')
    return network, vocabulary


def _with_case(config, uncased):
    """The configuration, without case if --uncased is set."""
    if not uncased or not config.cased:
        return config
    logging.warning('--uncased: the vocabulary of this model keeps case; text is lower-cased '
                    'because you ask for it')
    return dataclasses.replace(config, cased=False)


def apply_saved_task(args):
    """If --bert_checkpoint names a whole model, set the options that the command line leaves out to
    the values in its task.json. Returns that task, {} without one. Raises `UserError`."""
    if not opens_whole_model(args):
        return {}
    if args.pretrained_bert_parameters:
        raise UserError('--pretrained_bert_parameters: --bert_checkpoint is opened whole here, its '
                        'encoder included; give one of the two')
    content = read_saved_task(checkpoint_reader.find_weights(args.bert_checkpoint))
    if not content:
        return {}
    task = {key: content[key] for key in TASK_DEFAULTS}
    for name, value in dict(task, max_seq_length=content['max_len']).items():
        if name != 'version_2' and hasattr(args, name) and name not in args.explicit_flags:
            setattr(args, name, value)
    return task


def opens_whole_model(args):
    """Whether --bert_checkpoint is opened with its head: only if nothing is trained and
    --model_parameters brings no head."""
    return bool(getattr(args, 'only_predict', True) and args.bert_checkpoint
                and not args.model_parameters)


def resolve_lengths(args):
    """The length of static windows: --seq_length, else SEQLENGTH, else --max_seq_length, else 384.
    Keeps it in `args`; --max_seq_length becomes no more than it, unless the command line sets that.
    Raises `UserError` when windows don't fit."""
    length = args.seq_length or length_from_environment() or args.max_seq_length or \
        WindowOptions().max_seq_length
    args.seq_length = length        # a resume uses it, whatever SEQLENGTH is by then
    if 'max_seq_length' not in args.explicit_flags:
        args.max_seq_length = min(args.max_seq_length or length, length)
    if args.max_seq_length > length:
        raise UserError('--max_seq_length %d: windows of that size don\'t fit into --seq_length %d'
                        % (args.max_seq_length, length))
    return length

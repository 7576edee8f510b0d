"""The network that the model flags ask for."""
import dataclasses
import logging

import mxnet as mx

from bert.data.squad.windows import Options
from bert.data.text.tokenizer import BertTokenizer
from bert.errors import UserError
from bert.model import zoo
from bert.model.bert import compute_in, is_fused
from bert.model.qa import BertForQA
from bert.model.static_qa import length_from_environment
from bert.model.weights import checkpoint_reader
from bert.pipelines.question_answering import (
    TASK,
    QAModel,
    StaticQAModel,
    hybridize,
    load_network,
    saved_task,
    static_maker,
)


def check_model_flags(args):
    """Raises `UserError` for sources of weights that contradict each other."""
    if args.pretrained_bert_parameters and args.model_parameters:
        raise UserError('--pretrained_bert_parameters and --model_parameters: the second holds '
                        'the encoder too; give one of the two')


def build_encoder(args, dataset, device, **parts):
    """(`BERTModel`, vocabulary) of the model flags; without values where --model_parameters
    brings them."""
    parts = dict(dict(use_decoder=False, use_classifier=False), ctx=device, dropout=args.dropout,
                 **parts)
    if args.bert_checkpoint:
        bert, vocabulary = zoo.load_checkpoint(args.bert_checkpoint, args.bert_model, dataset,
                                               **parts)
    else:
        whole_given = args.pretrained_bert_parameters or args.model_parameters
        bert, vocabulary = zoo.get_model(args.bert_model, dataset, pretrained=not whole_given,
                                         **parts)
    if args.pretrained_bert_parameters:
        zoo.load_encoder(bert, args.pretrained_bert_parameters, vocabulary, device)
    return bert, vocabulary


def choose_dtype(network, dtype):
    """Have a network compute in --dtype. float16 comes with the trainer, which then keeps weights
    in float32."""
    if dtype == 'bfloat16':
        compute_in(network, dtype)
    elif dtype == 'float32' and is_fused(network, 'bfloat16'):
        logging.info('--dtype bfloat16 would be faster on this CPU')


def initialise_head(block, device):
    """The initialiser of the BERT paper for a layer that starts from nothing."""
    block.initialize(mx.init.Normal(0.02), ctx=device)


# Question answering


def build_qa_model(args, task, device, seq_length=None):
    """The model of the flags: an encoder with a fresh head, or with --model_parameters or, for
    --only_predict, the --bert_checkpoint of a whole model.

    task: values of `TASK` and max_len. seq_length: of a static model, None for a dynamic one.
    """
    task = dict(TASK, **task)
    max_len = task.pop('max_len')
    make = BertForQA if seq_length is None else static_maker(seq_length, args.input_size)
    if is_whole(args):
        network, found = load_network(args.bert_checkpoint, device, make)
        config, vocabulary = found.config, found.vocabulary
    else:
        network, vocabulary = _fresh_network(args, device, make)
        config = network.bert.config
    config = _with_case(config, args.uncased)
    hybridize(network)
    tokenizer = BertTokenizer(vocabulary, lower=not config.cased)
    if seq_length is None:
        return QAModel(network, tokenizer, config, task, max_len)
    sizes = (getattr(args, 'batch_size', args.test_batch_size), args.test_batch_size)
    return StaticQAModel(network, tokenizer, config, task, max_len, sizes)


def _fresh_network(args, device, make):
    bert, vocabulary = build_encoder(args, args.bert_dataset, device, use_pooler=False)
    network = make(bert)
    initialise_head(network.span_classifier, device)
    if args.model_parameters:
        zoo.load_model(network, args.model_parameters, vocabulary, device)
    elif getattr(args, 'only_predict', True):
        logging.warning('no --model_parameters: the head is untrained, its answers are chance; '
                        'the net.params of a run holds a trained one')
    return network, vocabulary


def _with_case(config, uncased):
    """The configuration with the case that --uncased asks for."""
    if not uncased or not config.cased:
        return config
    logging.warning('--uncased: the vocabulary of this model keeps case; text is lower-cased '
                    'because you ask for it')
    return dataclasses.replace(config, cased=False)


def take_saved(args):
    """Where a whole model is opened by --bert_checkpoint: give the flags that the command line
    leaves out the values that its task.json has. Returns that task, {} without one."""
    if not is_whole(args):
        return {}
    if args.pretrained_bert_parameters:
        raise UserError('--pretrained_bert_parameters: --bert_checkpoint is opened whole here, its '
                        'encoder included; give one of the two')
    saved = saved_task(checkpoint_reader.find_weights(args.bert_checkpoint))
    if not saved:
        return {}
    task = {key: saved[key] for key in TASK}
    for name, value in dict(task, max_seq_length=saved['max_len']).items():
        if name != 'version_2' and hasattr(args, name) and name not in args.given:
            setattr(args, name, value)
    return task


def is_whole(args):
    """Whether --bert_checkpoint is opened with its head: where nothing is trained, and
    --model_parameters doesn't bring one."""
    return bool(getattr(args, 'only_predict', True) and args.bert_checkpoint
                and not args.model_parameters)


def resolve_lengths(args):
    """Length of static windows: --seq_length, else SEQLENGTH, else --max_seq_length, else 384;
    --max_seq_length follows where it isn't given. Raises `UserError` when windows don't fit."""
    length = args.seq_length or length_from_environment() or args.max_seq_length or \
        Options().max_seq_length
    args.seq_length = length        # a resume goes on with it, whatever the environment then says
    if 'max_seq_length' not in args.given:
        args.max_seq_length = min(args.max_seq_length or length, length)
    if args.max_seq_length > length:
        raise UserError('--max_seq_length %d: windows of that size don\'t fit into --seq_length %d'
                        % (args.max_seq_length, length))
    return length

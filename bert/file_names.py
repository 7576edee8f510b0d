"""Names of the files in the folders that runs write, and in transformers' folders.

A run folder holds INDEX, OPTIONS, RESULTS, AUDIT, CURVES, LOG and its checkpoint folders; one of
those MODEL, CONFIG, VOCABULARY and TASK, which describe the model to every command, and
OPTIMIZER and STATE, which a resume needs.
"""
INDEX, OPTIONS = 'checkpoints.json', 'options.json'
RESULTS, AUDIT, CURVES = 'results.json', 'audit.json', 'curves.png'
LOG = 'log_%s.txt'      # with the task's name

MODEL, TASK = 'model.params', 'task.json'
OPTIMIZER, STATE = 'optimizer.params', 'trainer.json'

# of question answering, as the original scripts call them
PREDICTIONS, N_BEST, NULL_ODDS = 'predictions.json', 'nbest_predictions.json', 'null_odds.json'
NET = 'net.params'              # the parameters alone
STATIC_NET = 'static_net'       # prefix of an exported symbol's two files


SYMBOL_INPUTS = ('data0', 'data1', 'data2')     # of token_ids, segment_ids, valid_length: Gluon's


def symbol_names(prefix, epoch=0):
    """File names of an exported symbol and its parameters, as MXNet forms them. epoch: in the
    parameters' name; the original's is 0 but for a network that was trained so many."""
    return ['%s-symbol.json' % prefix, '%s-%04d.params' % (prefix, epoch)]


# What an exported folder can hold, and how its files are called: <kind>-symbol.json, <kind>.onnx …
CLASSIFICATION, REGRESSION, QUESTION_ANSWERING = KINDS = (
    'classification', 'regression', 'question_answering')
SYMBOL_ENDING, ONNX_ENDING = '-symbol.json', '.onnx'
# in the names of INT8 models: the ways of MXNet's operators, and that of the fused kernels
CALIBRATION_MODES = ('customize', 'naive', 'entropy', 'none')
FUSED_MODE, FUSED_OPERATOR = 'fused', 'bert_encoder'
FUSED_NODE = '"op": "%s"' % FUSED_OPERATOR     # in the JSON of a symbol
EXPORT_LOG = 'hybrid_export_bert.log'   # the original's name

# as transformers calls them; ours have the same
CONFIG, VOCABULARY = 'config.json', 'vocab.txt'
TOKENIZER, TOKENIZER_CONFIG = 'tokenizer.json', 'tokenizer_config.json'
WEIGHTS, TORCH_WEIGHTS = 'model.safetensors', 'pytorch_model.bin'
# all names that transformers gives to weights; an index lists several files
ALL_WEIGHTS = (WEIGHTS, WEIGHTS + '.index.json', TORCH_WEIGHTS, TORCH_WEIGHTS + '.index.json')

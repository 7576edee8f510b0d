"""Names of the files in our run, checkpoint and export folders, and in transformers' folders.

A run folder holds checkpoints.json, options.json, results.json, audit.json, curves.png, the log and
the checkpoint folders. A checkpoint folder holds model.params, config.json, vocab.txt and
task.json, which describe the model to every command, and optimizer.params and trainer.json, which a
resume needs. The folders' own names come from train/checkpoint.py (step-0000020) and
jobs/runs/run_folder.py (MRPC-001).
"""
INDEX_FILE, OPTIONS_FILE = 'checkpoints.json', 'options.json'
RESULTS_FILE, AUDIT_FILE, CURVES_FILE = 'results.json', 'audit.json', 'curves.png'
LOG_FILE = 'log_%s.txt'     # with the task's name

MODEL_FILE, TASK_FILE = 'model.params', 'task.json'
OPTIMIZER_FILE, STATE_FILE = 'optimizer.params', 'trainer.json'

# Question answering, with the names of the original scripts
PREDICTIONS_FILE, N_BEST_FILE = 'predictions.json', 'nbest_predictions.json'
NULL_ODDS_FILE = 'null_odds.json'
NET_FILE = 'net.params'             # only the parameters
STATIC_NET_PREFIX = 'static_net'    # prefix of an exported symbol's two files


def symbol_names(prefix, epoch=0):
    """File names of an exported symbol and its parameters, in MXNet's form. epoch: the number in
    the parameters' name; in the original scripts the number of trained epochs, or 0."""
    return ['%s-symbol.json' % prefix, '%s-%04d.params' % (prefix, epoch)]


# Kinds of exported models. Their files are <kind>-symbol.json, <kind>.onnx …
(CLASSIFICATION, REGRESSION, QUESTION_ANSWERING, EMBEDDING, TOKEN_CLASSIFICATION, MULTI_LABEL,
 RANKING, FILL_MASK) = MODEL_KINDS = (
    'classification', 'regression', 'question_answering', 'embedding', 'token_classification',
    'multi_label', 'ranking', 'fill_mask')
# The activation of a reranker's score, in task.json
SCORE_ACTIVATIONS = SIGMOID, IDENTITY = 'sigmoid', 'identity'
SYMBOL_ENDING, ONNX_ENDING = '-symbol.json', '.onnx'
# Calibration modes in the names of INT8 models: those of MXNet's operators, that of our kernels
CALIBRATION_MODES = ('customize', 'naive', 'entropy', 'none')
FUSED_MODE = 'fused'
EXPORT_LOG_FILE = 'hybrid_export_bert.log'  # as in the original

# transformers' names, which our folders use, too
CONFIG_FILE, VOCABULARY_FILE = 'config.json', 'vocab.txt'
TOKENIZER_FILE, TOKENIZER_CONFIG_FILE = 'tokenizer.json', 'tokenizer_config.json'
BYTE_PAIR_FILES = 'vocab.json', 'merges.txt'     # instead of tokenizer.json, by RoBERTa
SPECIAL_TOKENS_FILE, ADDED_TOKENS_FILE = 'special_tokens_map.json', 'added_tokens.json'
WEIGHTS_FILE, TORCH_WEIGHTS_FILE = 'model.safetensors', 'pytorch_model.bin'
# All of transformers' names for weights. An index lists several files.
ALL_WEIGHTS_FILES = (WEIGHTS_FILE, WEIGHTS_FILE + '.index.json',
                     TORCH_WEIGHTS_FILE, TORCH_WEIGHTS_FILE + '.index.json')

# sentence-transformers' names: how the vectors of tokens become the vector of a text
MODULES_FILE, SENTENCE_CONFIG_FILE = 'modules.json', 'config_sentence_transformers.json'
SENTENCE_LENGTH_FILE = 'sentence_bert_config.json'
OLD_SENTENCE_LENGTH_FILES = tuple('sentence_%s_config.json' % name for name in (
    'roberta', 'distilbert', 'camembert', 'albert', 'xlm-roberta', 'xlnet'))

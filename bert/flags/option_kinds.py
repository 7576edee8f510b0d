"""Options that have a meaning for some kinds of models only."""
from bert.file_names import (
    CLASSIFICATION,
    FILL_MASK,
    MODEL_KINDS,
    MULTI_LABEL,
    QUESTION_ANSWERING,
    RANKING,
    REGRESSION,
    TOKEN_CLASSIFICATION,
)
from bert.flags.options import refuse

LABEL_KINDS = tuple(kind for kind in MODEL_KINDS
                    if kind not in (QUESTION_ANSWERING, FILL_MASK))
ANSWER_OPTIONS = 'version_2', 'null_score_diff_threshold', 'max_answer_length'
ENTITY_OPTIONS = 'aggregation', 'words', 'word_column', 'scheme'
# {option: kinds of the models that it has a meaning for}; the other options have one for all
OPTION_KINDS = dict(
    dict.fromkeys(ANSWER_OPTIONS, (QUESTION_ANSWERING,)),
    **dict.fromkeys(ENTITY_OPTIONS, (TOKEN_CLASSIFICATION,)),
    **dict.fromkeys(('label_column', 'task_name'), LABEL_KINDS),
    **dict.fromkeys(('data_dir',), (*LABEL_KINDS, QUESTION_ANSWERING)),
    **dict.fromkeys(('threshold', 'label_columns', 'label_separator'), (MULTI_LABEL,)),
    text_columns=(*LABEL_KINDS, FILL_MASK), targets=(FILL_MASK,), query=(RANKING,),
    activation=(RANKING,),
    pair=(CLASSIFICATION, REGRESSION, MULTI_LABEL, RANKING),
    top_k=(QUESTION_ANSWERING, FILL_MASK, RANKING))


def refuse_other_kinds(options, explicit, kind):
    """Raise `UserError` for an option that has no meaning for a model of this kind. options: with
    `model_dir`; explicit: {option: flag}."""
    names = [name for name, kinds in OPTION_KINDS.items() if kind not in kinds]
    refuse(explicit, names, 'the model in %s is for %s' % (options.model_dir,
                                                           kind.replace('_', ' ')))

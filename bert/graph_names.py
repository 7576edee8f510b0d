"""Names inside an exported symbol: its inputs and our operator. Imports no mxnet."""
# Gluon's names for token_ids, segment_ids and valid_length as inputs of a symbol
SYMBOL_INPUTS = ('data0', 'data1', 'data2')

FUSED_OPERATOR = 'bert_encoder'                # as model/kernels/source registers it
FUSED_NODE = '"op": "%s"' % FUSED_OPERATOR     # a symbol's JSON with this text needs the kernels

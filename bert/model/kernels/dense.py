"""A dense layer computed by the operator `bert_dense`."""
from bert.model.kernels.gluon_hooks import context_arguments, value_of


def fused_dense(F, block, x, dtype):
    """The output of an `nn.Dense` block without activation: x (batch, length, in_units)
    → (batch, length, units). in_units: a multiple of `encoder.SIZE_MULTIPLE`. dtype: type of the
    factors in its matrix product, 'float32' or 'bfloat16'."""
    arguments = context_arguments(F, x)
    rows = F.bert_dense(F.reshape(x, shape=(-3, 0)), value_of(block.weight, arguments),
                        value_of(block.bias, arguments), dtype=dtype)
    return F.reshape_like(rows, x, lhs_begin=0, lhs_end=1, rhs_begin=0, rhs_end=2)

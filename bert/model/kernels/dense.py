"""A dense layer by the operator `bert_dense`."""
from bert.model.kernels.gluon_hooks import device_of, value_of


def fused_dense(F, block, x, dtype):
    """What `block`, an `nn.Dense` without activation whose in_units are a multiple of
    `encoder.WIDTH`, gives for x (batch, number, in_units), its products of `dtype`, 'float32' or
    'bfloat16' → (batch, number, units)."""
    device = device_of(F, x)
    rows = F.bert_dense(F.reshape(x, shape=(-3, 0)), value_of(block.weight, device),
                        value_of(block.bias, device), dtype=dtype)
    return F.reshape_like(rows, x, lhs_begin=0, lhs_end=1, rhs_begin=0, rhs_end=2)

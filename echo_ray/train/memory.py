"""How much device memory training needs: derived, so that a run is sized before a GPU is rented.

Sources: ZeRO (Rajbhandari et al. 2020, section 3) for what is sharded over the workers; Korthikanti et al.
2022 (section 4) for counting activations by the tensors that the backward pass needs, here for a Llama layer
with fused attention and without dropout; DeepSpeed 0.19's source for what it holds beside the textbook's 16
bytes a parameter. That last part decides on one device: stages 0 to 2 make an fp32 copy of all gradients when
they step (22 to 24 bytes a parameter at the peak), stage 3 steps over pieces of 1e9 parameters.

Invariants: never less with fewer workers, a lower stage, or more tokens. Not covered: the allocator's
fragmentation (5 to 10% is usual), the CUDA context (about 0.5 GB), buffers of NCCL, offloading to the host.
"""

from dataclasses import dataclass

from echo_ray.train.flops import Shape

PIECE = 1_000_000_000
"""Parameters that ZeRO-3 steps over at once (DeepSpeed's `sub_group_size`)."""
LIVE = 1_000_000_000
"""Gathered parameters that ZeRO-3 keeps at once at most (`stage3_max_live_parameters`)."""
BUCKET = 500_000_000
"""Gradients that are reduced at once (`reduce_bucket_size`)."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes on one device, by what they are for."""

    weights: float
    """What the forward pass reads (bf16), the part of this worker."""
    gradients: float
    """What the backward pass leaves, the part of this worker."""
    states: float
    """fp32 master weights and Adam's two moments, the part of this worker."""
    communication: float
    """ZeRO's gathered weights and the bucket that is reduced; nothing with one worker."""
    stepping: float
    """Copies of gradients that live only while the optimizer steps."""
    activations: float
    """What the forward pass keeps for the backward pass."""
    logits: float
    """Logits of the target tokens and what their loss keeps."""

    @property
    def resting(self) -> float:
        """What is held all the time; one worker has the 16 bytes a parameter of the literature."""
        return self.weights + self.gradients + self.states

    @property
    def peak(self) -> float:
        """The most at any time: activations and the optimizer's copies never meet."""
        passing = self.communication + self.activations + self.logits
        return self.resting + max(passing, self.stepping)


def layer_activation_bytes(shape: Shape) -> int:
    """Bytes a token that one layer keeps for its backward pass, in bf16, attention fused.

    Two norms: their input in fp32 (the models cast), what they normalized and their output in bf16, in all 8
    bytes a value, and one fp32 scale. Attention: queries, keys, values, its output, and one fp32 sum a head.
    Feed-forward: gated, four tensors of its width (gate, activated gate, up, product), else two.
    """
    norms = 2 * (8 * shape.hidden + 4)
    attention = 2 * shape.head_dim * (2 * shape.heads + 2 * shape.kv_heads) + 4 * shape.heads
    feed_forward = 2 * (4 if shape.gated else 2) * shape.intermediate
    return norms + attention + feed_forward


def memory_bytes(
    shape: Shape,
    *,
    workers: int,
    zero_stage: int,
    micro_tokens: int,
    activation_checkpointing: bool,
    target_tokens: int | None = None,
    gradient_bytes: int = 2,
    adapters: int = 0,
) -> Memory:
    """Device memory of one of `workers` workers, each with forward passes of `micro_tokens` tokens.

    `target_tokens` of these have logits (all of them when not given). `gradient_bytes` is 2 for gradients
    summed in bf16, 4 for fp32. `adapters` are the trained parameters of LoRA; the rest is then frozen.
    """
    trained = adapters or shape.parameters
    frozen = shape.parameters if adapters else 0
    own = trained / workers
    if zero_stage == 0:
        # fp32 weights, gradients and moments, and the bf16 copies that autocast keeps of a pass's weights.
        weights, gradients = (4.0 + 2.0) * (trained + frozen), 4.0 * trained
        states, stepping = 8.0 * trained, 0.0
    else:
        weights = 2.0 * (trained + frozen) / (workers if zero_stage >= 3 else 1)
        gradients = gradient_bytes * (own if zero_stage >= 2 else float(trained))
        states = 12.0 * own
        # Stage 3 flattens a piece at a time and turns it to fp32; the others everything at once.
        stepping = (gradient_bytes + 4) * (min(own, PIECE) if zero_stage >= 3 else own)
    communication = 0.0
    if workers > 1:
        gathered = 2.0 * min(shape.parameters, LIVE) if zero_stage >= 3 else 0.0
        communication = gathered + 2.0 * min(trained, BUCKET)
    layer = layer_activation_bytes(shape)
    # With checkpointing a layer keeps its input, and one layer at a time is computed again.
    kept = 2 * shape.hidden * shape.layers + layer if activation_checkpointing else layer * shape.layers
    logits = micro_tokens if target_tokens is None else target_tokens
    return Memory(
        weights=weights,
        gradients=gradients,
        states=states,
        communication=communication,
        stepping=stepping,
        activations=float(micro_tokens * kept),
        # bf16 logits, their fp32 copy, log-probabilities, and the gradient of one of the two at a time.
        logits=float(logits * shape.vocab * (2 + 4 + 4 + 4)),
    )

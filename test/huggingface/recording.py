"""What is recorded of a model: results of forward passes, gradients, generated tokens."""
import torch

from models import file_names, load, seed_of

FIRST_TOKEN = 3  # below are padding, begin and end
NEW_TOKENS = 12
MARGIN = 0.02  # the best token must win by this much


class Unfit(Exception):
    """These inputs show too little; others are tried."""


def digits(tensor):
    """Nested lists of numbers with nine significant digits, which determine a float32."""
    if tensor.ndim == 0:
        return float(f"{tensor.item():.9g}") if tensor.is_floating_point() else tensor.item()
    return [digits(part) for part in tensor]


def probe_of(tensor):
    """Weights that tell every entry from every other: sin(1), sin(2), ... in C order."""
    return torch.arange(1, tensor.numel() + 1, dtype=torch.float64).sin().reshape(tensor.shape)


def gradients(model, loss, path):
    """For each parameter the norm of its gradient, and the gradient's product with the probe."""
    model.zero_grad()
    loss.backward()
    names = file_names(model, path)
    found = {}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            grad = parameter.grad.double()
            found[names[name]] = digits(torch.stack([grad.norm(), (grad * probe_of(grad)).sum()]))
    return dict(sorted(found.items()))


def tokens(generator, rows, length, vocab):
    return torch.randint(FIRST_TOKEN, vocab, (rows, length), generator=generator)


def padded(generator, lengths, vocab, *, left, pad=0):
    """Token ids of several lengths in one batch, and their mask."""
    width = max(lengths)
    ids = tokens(generator, len(lengths), width, vocab)
    at = torch.arange(width)[None, :]
    lengths = torch.tensor(lengths)[:, None]
    mask = at >= width - lengths if left else at < lengths
    return ids.masked_fill(~mask, pad), mask.long()


def generate(case, path, inputs):
    """Greedy tokens, as ids that follow the prompt, with and without a cache."""
    found = []
    for use_cache in (True, False):
        model = load(case, path)
        model.generation_config.eos_token_id = None
        result = model.generate(**inputs, max_new_tokens=NEW_TOKENS, do_sample=False,
                                use_cache=use_cache, pad_token_id=0, output_logits=True,
                                return_dict_in_generate=True)
        logits = torch.stack(result.logits, 1)
        best = logits.topk(2).values
        if (best[..., 0] - best[..., 1]).min() < MARGIN:
            raise Unfit
        ids = result.sequences[:, -NEW_TOKENS:]
        if min(len(set(row.tolist())) for row in ids) < 3:
            raise Unfit
        found.append((ids, logits))
    (cached, scores), (plain, plain_scores) = found
    if case.cache_differs:
        return dict(tokens=digits(cached), tokens_without_cache=digits(plain))
    assert torch.equal(cached, plain) and torch.allclose(scores, plain_scores, atol=2e-5)
    return dict(tokens=digits(cached))


def lists(inputs):
    return {key: digits(value) for key, value in inputs.items()}


def record_decoder(case, path, generator):
    vocab = case.published["vocab_size"]
    model = load(case, path)
    ids = tokens(generator, 2, case.length, vocab)
    result = model(input_ids=ids, labels=ids)
    found = {"forward": {"input_ids": digits(ids), "logits": digits(result.logits),
                         "loss": digits(result.loss),
                         "gradients": gradients(model, result.loss, path)}}
    if case.long:
        ids = tokens(generator, 1, case.long, vocab)
        with torch.no_grad():
            logits = load(case, path)(input_ids=ids).logits
        found["forward_long"] = {"input_ids": digits(ids), "logits": digits(logits)}
    ids, mask = padded(generator, (3, 7), vocab, left=True)
    batch = dict(input_ids=ids, attention_mask=mask)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    with torch.no_grad():
        logits = load(case, path)(**batch, position_ids=positions).logits[:, -1]
    found["forward_padded"] = {**lists(batch), "position_ids": digits(positions),
                               "last_logits": digits(logits)}
    prompt = dict(input_ids=tokens(generator, 1, 5, vocab))
    prompt["attention_mask"] = torch.ones_like(prompt["input_ids"])
    found["generate"] = {"input_ids": digits(prompt["input_ids"]), **generate(case, path, prompt)}
    found["generate_padded"] = {**lists(batch), **generate(case, path, batch)}
    return found


def masked_labels(ids, mask, generator):
    """Labels at about a third of the places that are not padding, -100 elsewhere."""
    chosen = (torch.rand(ids.shape, generator=generator) < 0.35) & mask.bool()
    chosen[:, 1] = True
    return torch.where(chosen, torch.randint(FIRST_TOKEN, 48, ids.shape, generator=generator),
                       torch.full_like(ids, -100))


def hidden_loss(result, mask=None):
    """For models without a head: the hidden states that are not padding, and what the pooler
    makes, times the probe."""
    hidden = result.last_hidden_state
    weights = probe_of(hidden).float()
    if mask is not None:
        weights = weights * mask[..., None]
    return (hidden * weights).sum() + (result.pooler_output * probe_of(result.pooler_output)).sum()


def record_encoder(case, path, generator):
    ids, mask = padded(generator, (9, 6), case.published["vocab_size"], left=False)
    kinds = (torch.arange(9)[None, :] >= torch.tensor([[4], [2]])).long() * mask
    inputs = dict(input_ids=ids, attention_mask=mask, token_type_ids=kinds)
    model = load(case, path)
    base = getattr(model, model.base_model_prefix, model)
    outputs = base(**inputs)
    found = {**lists(inputs), "last_hidden_state": digits(outputs.last_hidden_state),
             "pooler_output": digits(outputs.pooler_output)}
    if case.model_class.endswith("ForPreTraining"):
        labels, order = masked_labels(ids, mask, generator), torch.tensor([1, 0])
        named = {"Bert": "next_sentence_label", "Albert": "sentence_order_label"}
        kind = named[case.model_class.removesuffix("ForPreTraining")]
        result = model(**inputs, labels=labels, **{kind: order})
        second = result.get("seq_relationship_logits", result.get("sop_logits"))
        found.update({"prediction_logits": digits(result.prediction_logits),
                      "sentence_logits": digits(second), "labels": digits(labels),
                      kind: digits(order)})
        loss = result.loss
    else:
        loss = hidden_loss(outputs, mask)
    return {"forward": {**found, "loss": digits(loss), "gradients": gradients(model, loss, path)}}


def record_vision(case, path, generator):
    size, channels = case.config["image_size"], case.config["num_channels"]
    pixels = torch.randn(2, channels, size, size, generator=generator)
    pixels = (pixels * 100).round() / 100
    model = load(case, path)
    outputs = getattr(model, model.base_model_prefix, model)(pixel_values=pixels)
    shown = (pixels * 100).round().double() / 100  # two decimals, not nine digits
    found = {"pixel_values": digits(shown), "last_hidden_state": digits(outputs.last_hidden_state)}
    if outputs.pooler_output is None:
        labels = torch.tensor([3, 1])
        result = model(pixel_values=pixels, labels=labels)
        found.update(logits=digits(result.logits), labels=digits(labels))
        loss = result.loss
    else:
        found["pooler_output"] = digits(outputs.pooler_output)
        loss = hidden_loss(outputs)
    return {"forward": {**found, "loss": digits(loss), "gradients": gradients(model, loss, path)}}


def record_seq2seq(case, path, generator):
    vocab = case.published["vocab_size"]
    ids, mask = padded(generator, (15, 8), vocab, left=False)
    inputs = dict(input_ids=ids, attention_mask=mask)
    labels = tokens(generator, 2, 14, vocab)
    model = load(case, path)
    result = model(**inputs, labels=labels)
    start = torch.full((2, 1), case.published["decoder_start_token_id"])
    shifted = torch.cat((start, labels[:, :-1]), 1)
    with torch.no_grad():
        logits = load(case, path)(**inputs, decoder_input_ids=shifted).logits
    assert torch.equal(logits, result.logits)
    found = {**lists(inputs), "decoder_input_ids": digits(shifted), "labels": digits(labels),
             "encoder_last_hidden_state": digits(result.encoder_last_hidden_state),
             "logits": digits(result.logits), "loss": digits(result.loss),
             "gradients": gradients(model, result.loss, path)}
    return {"forward": found, "generate": {**lists(inputs), **generate(case, path, inputs)}}


RECORDERS = dict(decoder=record_decoder, encoder=record_encoder, vision=record_vision,
                 seq2seq=record_seq2seq)


def record(case, path):
    """The recording of `case`, with the first inputs that show enough."""
    for attempt in range(400):
        generator = torch.Generator().manual_seed(seed_of(f"inputs of {case.name}") + attempt)
        try:
            return RECORDERS[case.kind](case, path, generator)
        except Unfit:
            pass
    raise AssertionError(f"{case.name}: no inputs fit")

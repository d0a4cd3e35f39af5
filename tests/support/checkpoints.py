"""Small random checkpoints, written in the exact public layouts.

Their weights are drawn far wider than a real model's first ones, so that a missing marker, mask
or bias shows in the vectors.
"""

import json
import string
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    ModernBertConfig,
    ModernBertModel,
    XLMRobertaConfig,
    XLMRobertaModel,
    XmodConfig,
    XmodModel,
)

WORDS = [
    "the",
    "of",
    "and",
    "wing",
    "flow",
    "lift",
    "drag",
    "weave",
    "weft",
    "thread",
    "cloth",
    "loom",
    "search",
    "late",
    "inter",
    "action",
    "token",
    "model",
    "over",
    "fox",
    "jumps",
    "lazy",
    "dog",
    "quick",
    "brown",
    "shear",
    "plate",
    "boundary",
    "layer",
    "heat",
    "high",
    "speed",
]
TEXTS = [
    "The weft, woven over the loom: late interaction!",
    "wing",
    "Lift and drag of a plate in shear flow; the boundary layer, at high speed, is heated.",
    "quick brown fox (lazy dog) jumps over " * 3,
    "",
    "!?!",
]
SPECIAL = ["[PAD]", "[unused0]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@dataclass
class Made:
    """A checkpoint on disk, with the model that was written there."""

    folder: Path
    model: torch.nn.Module
    linear: torch.Tensor | None = None
    dense: list | None = None


def wordpiece():
    """A lower-casing BERT tokenizer that can spell any ASCII word."""
    letters = string.ascii_lowercase + string.digits
    pieces = [*SPECIAL, *string.punctuation, *letters, *(f"##{c}" for c in letters), *WORDS]
    pieces += ["##s", "##ing", "##action", "é", "日", "本", "ש", "##ל", "🙂"]
    vocabulary = {piece: n for n, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")],
    )
    return tokenizer


def byte_level():
    """A byte-level BPE tokenizer with BERT's special tokens, as ModernBERT has."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {piece: n for n, piece in enumerate(["[UNK]", "[PAD]", *alphabet])}
    merges = []
    for word in WORDS:
        spelled = ["Ġ" + word[0], *word[1:]]
        vocabulary.setdefault(spelled[0], len(vocabulary))
        merges += [("Ġ", word[0])] if ("Ġ", word[0]) not in merges else []
        left = spelled[0]
        for right in spelled[1:]:
            if (left, right) not in merges:
                merges.append((left, right))
            left += right
            vocabulary.setdefault(left, len(vocabulary))
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]"])
    tokenizer.add_tokens(["[Q] ", "[D] "])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    return tokenizer


def unigram():
    """A unigram tokenizer with `<s>` and `</s>` around, as XLM-R and X-MOD have."""
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    pieces = [(name, 0.0) for name in special] + [("▁", -3.0)]
    pieces += [(c, -4.0) for c in string.printable.strip()] + [(f"▁{w}", -2.0) for w in WORDS]
    pieces += [(c, -4.0) for c in "日本語の文章ש"]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=3, byte_fallback=False))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(special)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


NAMES = {
    "bert": {"tokenizer_class": "BertTokenizer", "do_lower_case": True},
    "other": {"tokenizer_class": "PreTrainedTokenizerFast"},
}
ROLES = {
    "[MASK]": {
        "unk_token": "[UNK]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "cls_token": "[CLS]",
        "mask_token": "[MASK]",
    },
    "<mask>": {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "mask_token": "<mask>",
    },
}


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def write_tokenizer(folder, tokenizer, kind="other"):
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    mask = "[MASK]" if tokenizer.token_to_id("[MASK]") is not None else "<mask>"
    write_json(folder / "tokenizer_config.json", {**NAMES[kind], **ROLES[mask]})
    if kind == "bert":
        vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
        (folder / "vocab.txt").write_text("\n".join(piece for piece, _ in vocabulary) + "\n")


def common(tokenizer, **more):
    return {
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "initializer_range": 0.4,
        **more,
    }


def random_model(kind, seed=0):
    """A model of two layers and its tokenizer."""
    torch.manual_seed(seed)
    if kind == "bert":
        tokenizer = wordpiece()
        config = BertConfig(**common(tokenizer, max_position_embeddings=96, pad_token_id=0))
        return BertModel(config).eval(), tokenizer
    if kind == "modernbert":
        tokenizer = byte_level()
        sizes = common(tokenizer, max_position_embeddings=256, pad_token_id=1)
        tokens = {"cls_token_id": tokenizer.token_to_id("[CLS]"), "bos_token_id": None}
        tokens |= {"sep_token_id": tokenizer.token_to_id("[SEP]"), "eos_token_id": None}
        config = ModernBertConfig(**sizes, **tokens, local_attention=16)
        return ModernBertModel(config).eval(), tokenizer
    tokenizer = unigram()
    sizes = common(tokenizer, max_position_embeddings=90, type_vocab_size=1, pad_token_id=1)
    if kind == "xlm-roberta":
        return XLMRobertaModel(XLMRobertaConfig(**sizes)).eval(), tokenizer
    config = XmodConfig(**sizes, languages=["en_XX", "de_DE", "zh_CN"], default_language="en_XX")
    return XmodModel(config).eval(), tokenizer


def randomise(model, seed=1):
    """Draw biases and norms too: models begin with zeros and ones, which hide mistakes."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


def plain(folder, kind="bert", *, pooling=False):
    """A plain transformer; with `pooling`, a sentence encoder around it."""
    model, tokenizer = random_model(kind)
    randomise(model).save_pretrained(folder)
    write_tokenizer(folder, tokenizer, kind if kind == "bert" else "other")
    if pooling:
        path = "sentence_transformers.models."
        modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Dense", "Dense")]
        listed = [
            {"idx": n, "name": str(n), "path": where, "type": f"{path}{name}"}
            for n, (where, name) in enumerate(modules)
        ]
        write_json(folder / "modules.json", listed)
    return Made(folder, model)


def hf_colbert(folder, *, weights="safetensors", dim=12, kind="bert", **metadata):
    """The layout of the public ColBERTv2 checkpoint: `bert.*` and `linear.weight` in one file."""
    model, tokenizer = random_model(kind)
    randomise(model)
    write_tokenizer(folder, tokenizer, "bert" if kind == "bert" else "other")
    config = model.config.to_dict() | {"architectures": ["HF_ColBERT"]}
    write_json(folder / "config.json", config)
    linear = torch.randn(dim, 32, generator=torch.Generator().manual_seed(5))
    prefix = "bert" if kind == "bert" else "roberta"
    tensors = {f"{prefix}.{name}": value.clone() for name, value in model.state_dict().items()}
    tensors["linear.weight"] = linear
    if weights == "safetensors":
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    else:
        torch.save(tensors, folder / "pytorch_model.bin")
    settings = {
        "query_token_id": "[unused0]",
        "doc_token_id": "[unused1]",
        "query_token": "[Q]",
        "doc_token": "[D]",
        "dim": dim,
        "query_maxlen": 16,
        "doc_maxlen": 40,
        "mask_punctuation": True,
        "attend_to_mask_tokens": False,
        "similarity": "cosine",
        "checkpoint": "bert",
    }
    write_json(folder / "artifact.metadata", settings | metadata)
    return Made(folder, model, linear)


def pylate(folder, modules, *, kind="modernbert", settings=None, weights="safetensors"):
    """The layout that PyLate saves: a transformer, `N_Dense` folders and their settings.

    `modules` are dicts of Dense settings: out_features, bias, activation_function, use_residual.
    """
    model, tokenizer = random_model(kind)
    randomise(model).save_pretrained(folder)
    write_tokenizer(folder, tokenizer, "bert" if kind == "bert" else "other")
    listed = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}
    ]
    generator = torch.Generator().manual_seed(7)
    width, dense = 32, []
    for number, given in enumerate(modules, start=1):
        config = {
            "in_features": width,
            "bias": False,
            "activation_function": "torch.nn.modules.linear.Identity",
            **given,
        }
        out = config["out_features"]
        tensors = {"linear.weight": torch.randn(out, width, generator=generator)}
        if config["bias"]:
            tensors["linear.bias"] = torch.randn(out, generator=generator)
        if config.get("use_residual") and out != width:
            tensors["residual.weight"] = torch.randn(out, width, generator=generator)
        where = folder / f"{number}_Dense"
        write_json(where / "config.json", config)
        if weights == "safetensors":
            save_file(tensors, where / "model.safetensors")
        else:
            torch.save(tensors, where / "pytorch_model.bin")
        dense.append((config, tensors))
        width = out
        listed.append(
            {
                "idx": number,
                "name": str(number),
                "path": where.name,
                "type": "pylate.models.Dense.Dense",
            }
        )
    write_json(folder / "modules.json", listed)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 39, "do_lower_case": False})
    defaults = {
        "query_prefix": "[Q] ",
        "document_prefix": "[D] ",
        "query_length": 16,
        "document_length": 40,
        "do_query_expansion": True,
        "attend_to_expansion_tokens": False,
        "skiplist_words": list(string.punctuation),
    }
    write_json(folder / "config_sentence_transformers.json", defaults | (settings or {}))
    return Made(folder, model, dense=dense)

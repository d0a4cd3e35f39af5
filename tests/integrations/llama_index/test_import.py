"""LlamaIndex is loaded by its adapter alone, and its absence is told with the remedy."""

import subprocess
import sys


def run(code, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    return done.stdout.strip()


def test_weft_loads_no_llama_index(tmp_path):
    code = (
        "import sys, weft, weft.integrations; weft.Index; import weft.integrations.writing; "
        "print([m for m in sys.modules if m.startswith('llama_index')])"
    )
    assert run(code, tmp_path) == "[]"


def test_the_adapter_loads_neither_a_model_library_nor_celery_nor_langchain(tmp_path):
    code = (
        "import sys, weft.integrations.llama_index; print([m for m in ('torch', 'transformers', "
        "'celery', 'redis', 'langchain_core') if m in sys.modules])"
    )
    assert run(code, tmp_path) == "[]"


def test_a_missing_llama_index_is_told(tmp_path):
    code = (
        "import sys; sys.modules['llama_index.core'] = None\n"
        "import weft\n"
        "try:\n"
        "    from weft.integrations.llama_index import WeftRetriever\n"
        "except weft.errors.MissingDependencyError as error:\n"
        "    print(isinstance(error, ImportError), error)"
    )
    assert run(code, tmp_path).startswith("True ")
    assert "pip install 'weft[llama-index]'" in run(code, tmp_path)

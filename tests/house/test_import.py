"""`import weft` is light, its public names exist, and nothing leaks to the top level."""

import importlib.metadata
import json
import subprocess
import sys

HEAVY = ("torch", "transformers", "faiss", "typer", "rich", "sqlite3", "safetensors")


def run(code, tmp_path):
    # An empty folder, so that the repository's own folders are not importable.
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    ).stdout


def test_import_weft_loads_nothing_heavy(tmp_path):
    code = f"import json, sys, weft; print(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    assert json.loads(run(code, tmp_path)) == []


def test_importing_the_index_loads_no_model_library(tmp_path):
    code = (
        "import json, sys, weft; weft.Index; "
        "print(json.dumps([m for m in ('torch', 'transformers', 'faiss') if m in sys.modules]))"
    )
    assert json.loads(run(code, tmp_path)) == []


def test_public_names_exist(tmp_path):
    code = "import weft; print([getattr(weft, n) for n in weft.__all__] and weft.__version__)"
    assert run(code, tmp_path).strip() == importlib.metadata.version("weft")


def test_unknown_name_is_an_attribute_error(tmp_path):
    code = "import weft\ntry:\n    weft.nothing\nexcept AttributeError as error:\n    print(error)"
    assert "nothing" in run(code, tmp_path)


def test_rooms_are_not_top_level_modules(tmp_path):
    code = (
        "import importlib.util as u; "
        "print([n for n in ('engine', 'kernels', 'workers', 'integrations') if u.find_spec(n)])"
    )
    assert run(code, tmp_path).strip() == "[]"


def test_the_package_is_typed_and_carries_no_sources():
    files = {str(f) for f in importlib.metadata.files("weft") or []}
    assert any(name.endswith("py.typed") for name in files)
    assert any(name.endswith("_core.pyi") for name in files)
    sources = (".cpp", ".h", ".inc", "CMakeLists.txt")
    assert not [name for name in files if name.endswith(sources)]

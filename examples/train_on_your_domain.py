"""Train a late-interaction model from a few judged queries: mine, score, distil, search."""

import tempfile
from pathlib import Path

import weft
from weft.engine.training.data import TrainingData
from weft.engine.training.distillation import Distillation
from weft.engine.training.mining import MiningSettings, mine
from weft.engine.training.nway import NWayFile
from weft.engine.training.rounds import EXAMPLES, PASSAGES, keep_mined
from weft.engine.training.settings import TrainingSettings
from weft.engine.training.starting import prepare
from weft.engine.training.teachers import PooledTeacher
from weft.engine.training.texts import TextMapping, Texts
from weft.engine.training.trainable import TrainableEncoder

DOCUMENTS = {
    "ferry": "The ferry to the island leaves at nine and comes back at six.",
    "storm": "In a storm all crossings are cancelled until the wind has dropped.",
    "bread": "Bread dough must rest for an hour before it is baked.",
    "violin": "A violin has four strings, tuned in fifths.",
}
QUERIES = {"q1": "when does the boat go?", "q2": "how long must dough wait?"}
JUDGED = {"q1": {"ferry": 1}, "q2": {"bread": 1}}

folder = Path(tempfile.mkdtemp())
# weft-mini, trained on as it is; a plain checkpoint would get a projection fitted to the sample.
start = prepare(None, folder / "start", sample=list(DOCUMENTS.values()))
with weft.Index.create(folder / "index", encoder=start) as index:
    index.add(list(DOCUMENTS.values()), ids=list(DOCUMENTS))
    mining = MiningSettings(negatives=3)
    # Any object with score(query, texts) can teach; a cross-encoder does it best.
    keep_mined(folder, mine(index, QUERIES, JUDGED, settings=mining, teacher=PooledTeacher()))

data = TrainingData(NWayFile(folder / EXAMPLES), TextMapping(QUERIES), Texts(folder / PASSAGES))
settings = TrainingSettings(steps=4, batch=2, ways=3, learning_rate=2e-5, warmup=1)
model = Distillation(TrainableEncoder.load(start), data, settings, folder / "run").run()

with weft.Index.create(folder / "tuned", encoder=model) as index:
    index.add(list(DOCUMENTS.values()), ids=list(DOCUMENTS))
    hit = index.search("how long must dough wait?", k=1)[0]
    print(f"{model.name}: {hit.id}, {hit.score:.2f}")
